"""Settings of a Meta account: everything assumed about the Cloud API that a setting can put right, each with its id."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from domain.model import Duration, Written
from domain.stop_words import StopWords
from domain.topology import HttpUrl, SecretRef

BASE_URL = "https://graph.facebook.com"
"""Meta: Sending a Flow. The version stands behind it in the path."""

LIST_FIELDS = ("id", "name", "language", "status", "category", "components", "quality_score", "rejected_reason")
"""What is asked of a template. Meta: Message templates."""


class FlowSource(StrEnum):
    """How a template's button names its WhatsApp Flow; exactly one of them. Meta: Sending a Flow."""

    ID = "flow_id"
    NAME = "flow_name"
    JSON = "flow_json"


def _as_text(value: object) -> object:
    """Ids are digits, and YAML reads digits as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


GraphId = Annotated[str, BeforeValidator(_as_text), StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class MetaSettings(Written):
    """The ``options`` of an account whose provider is ``meta``. The defaults are the assumptions as registered.

    The account's credential is the access token, its webhook secrets are the app secret, and each of its lines has the
    phone number id, never the number, as ``sender``.
    """

    waba_id: GraphId
    """The WhatsApp Business Account that owns templates and numbers."""
    verify_token: SecretRef
    """Where the token of the subscription handshake is: ``env:NAME`` or ``file:PATH``, never the token."""
    base_url: HttpUrl = BASE_URL
    """Used where the account names none; without the version."""
    api_version: Annotated[str, StringConstraints(pattern=r"^v\d{1,3}\.\d{1,2}$")] = "v23.0"
    """The guide shows v16.0 and v18.0; the current description is v23.0."""
    flow_sources: Annotated[frozenset[FlowSource], Field(min_length=1)] = frozenset(FlowSource)
    """How a template to create may name its Flow; name and JSON work on the Cloud API only."""
    allow_data_exchange: bool = False
    """Whether Flows whose screens come from an encrypted endpoint may be used; that endpoint is not ours."""
    require_screen: bool = True
    """A button with ``navigate`` must name its first screen, as in the guide; newer pages make it optional (A-M3)."""
    unsent_codes: frozenset[Annotated[str, StringConstraints(pattern=r"^\d{1,7}$")]] = frozenset(
        {"131016", "133004", "131057"}
    )
    """Codes of an unavailable service that prove that nothing was sent; any other is outcome unknown (A-M4)."""
    pair_pause: Duration = timedelta(seconds=6)
    """Least wait after the rate of one line with one person was exceeded, where Meta names none (A-M5)."""
    reconcile_wait: Duration = timedelta(minutes=15)
    """How long webhooks may take to show what became of a send whose answer was lost (A-M5)."""
    list_fields: Annotated[tuple[str, ...], Field(min_length=1)] = LIST_FIELDS
    """What is asked of a template; name, language, status and components are needed."""
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    most_pages: Annotated[int, Field(ge=1)] = 100
    """A list longer than this many pages is given up."""
    stop_words: StopWords = StopWords()
    """Words that withdraw or restore consent, whole messages and tapped buttons only (A-C2)."""
