"""Settings of a Recrubo account: everything assumed about Recrubo that a setting can put right, each with its id."""

from typing import Annotated

from pydantic import Field, StringConstraints

from domain.events import MessageStatus
from domain.model import JsonValue, Written
from domain.sends import TemplateStatus
from domain.stop_words import StopWords
from domain.topology import HttpUrl

BASE_URL = "https://api.recrubo.com/public/v2"
"""Recrubo: Triggering flows. Other pages have the same path on ``api.recrubo.app``."""

_NEVER_A_STATUS = (TemplateStatus.MISSING, TemplateStatus.UNKNOWN)

Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, to_lower=True)]


class RecruboSettings(Written):
    """The ``options`` of an account whose provider is ``recrubo``. The defaults are the assumptions as registered."""

    base_url: HttpUrl = BASE_URL
    """Used where the account names none."""
    send_reference: bool = True
    """Put our reference into the run's session variables; off sends ``{}`` as the guide does (A-R9)."""
    reference_variable: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")] = "clientReference"
    """Name of that session variable (A-R9)."""
    find_threads: bool = True
    """Look a thread up by channel and identifier before opening one (A-R2, A-R4)."""
    full_page: Annotated[int, Field(ge=1)] = 10
    """A list of at least this many that tells neither total nor next page may have another page (A-R4)."""
    most_pages: Annotated[int, Field(ge=1)] = 50
    """A list longer than this many pages is given up (A-R4)."""
    inbound_origin: Word = "inbound"
    """``origin`` of a message that the candidate wrote (A-R5)."""
    delivery_words: dict[Word, MessageStatus] = {
        "accepted": MessageStatus.ACCEPTED,
        "sent": MessageStatus.SENT,
        "delivered": MessageStatus.DELIVERED,
        "read": MessageStatus.READ,
        "failed": MessageStatus.FAILED,
    }
    """``deliveryStatus`` of a message that we wrote (A-R5)."""
    template_words: dict[Word, TemplateStatus] = {
        status.value.lower(): status for status in TemplateStatus if status not in _NEVER_A_STATUS
    }
    """``status`` of a template, compared without case; only APPROVED sends (A-R6)."""
    sent_by: str = "Recruiter"
    """``sendBy`` of a message outside a flow. Recrubo: Messages."""
    organization_id: str = ""
    """Sent with ``PATCH /organizations`` where it is given; the page shows none (A-R8)."""
    webhook_bodies: tuple[dict[str, JsonValue], ...] = ()
    """Bodies of ``POST /webhooks`` to send as they stand, in place of the assumed ones (A-R8)."""
    stop_words: StopWords = StopWords()
    """Words that withdraw or restore consent, whole messages only (A-C2)."""
