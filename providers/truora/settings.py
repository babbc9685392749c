"""Settings of a Truora account: everything assumed about Truora that a setting can put right, each with its id."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from domain.model import Duration, Written
from domain.plans import VariableName
from domain.sends import TemplateStatus
from domain.topology import HttpUrl

BASE_URL = "https://api.connect.truora.com/v1/whatsapp"
"""Truora: Start Conversations via API."""

Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, to_lower=True)]
Member = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Members = Annotated[tuple[Member, ...], Field(min_length=1)]


class CountryCodeFormat(StrEnum):
    """How ``country_code`` is written; the guide only says that it is chosen from a list (A-T1)."""

    PLUS_AND_DIGITS = "+57"
    DIGITS = "57"
    REGION = "CO"


class Happening(StrEnum):
    """What an event of Truora's tells, in the order of a conversation."""

    SENT = "sent"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    """The candidate tapped Cancel."""
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    LEFT = "left"
    """The candidate typed EXIT."""


class EventMembers(Written):
    """Names of the members of an event's ``object``, the best first (A-T3)."""

    session_id: Members = ("session_id",)
    process_id: Members = ("process_id", "identity_process_id")
    flow_id: Members = ("flow_id",)
    outbound_id: Members = ("outbound_id",)
    account_id: Members = ("account_id",)
    phone: Members = ("phone_number", "user_phone_number")
    answers: Members = ("variables",)
    failure: Members = ("failure_status", "declined_reason")
    changed_at: Members = ("update_date", "creation_date")
    """Instants that date an event without ``timestamp``."""


class TruoraSettings(Written):
    """The ``options`` of an account whose provider is ``truora``. The defaults are the assumptions as registered.

    The account's credential is the API key, its webhook secrets are the signing keys of hooks, and each of its lines
    has the sending number with country code and without plus as ``sender``.
    """

    base_url: HttpUrl = BASE_URL
    """Used where the account names none."""
    country_code: CountryCodeFormat = CountryCodeFormat.PLUS_AND_DIGITS
    """How ``country_code`` is written (A-T1)."""
    event_words: dict[Word, dict[Word, Happening]] = {
        "whatsapp_outbound": {
            "started": Happening.SENT,
            "approved": Happening.ACCEPTED,
            "accepted": Happening.ACCEPTED,
            "canceled": Happening.DECLINED,
            "cancelled": Happening.DECLINED,
        },
        "whatsapp_process": {
            "started": Happening.STARTED,
            "succeeded": Happening.SUCCEEDED,
            "success": Happening.SUCCEEDED,
            "failed": Happening.FAILED,
            "failure": Happening.FAILED,
        },
        "whatsapp_session": {
            "expired": Happening.EXPIRED,
            "canceled": Happening.LEFT,
            "cancelled": Happening.LEFT,
        },
    }
    """``event_type``, then ``event_action``, compared without case; any other word has no effect (A-T2)."""
    members: EventMembers = EventMembers()
    """Where an event's facts are (A-T3)."""
    issuer: str = "Truora"
    """``iss`` of a delivery. Truora: hook description."""
    send_reference: bool = False
    """Send our reference as ``account_id``, so that events can name a send whose answer was lost (A-T5)."""
    status_words: dict[Word, TemplateStatus] = {
        "approved": TemplateStatus.APPROVED,
        "pending": TemplateStatus.PENDING,
        "rejected": TemplateStatus.REJECTED,
    }
    """``outbound_status``, compared without case; any other word is not sendable (A-T7)."""
    read_variables: bool = True
    """Read an outbound's variables from its ``outbound_message`` (A-T11)."""
    variables: dict[Member, tuple[VariableName, ...]] = {}
    """Variables of outbounds by their id, in place of what their text shows (A-T11)."""
    check_sender: bool = True
    """Refuse an outbound that leaves from another number than the line's, where Truora tells the number in full."""
    process_url: HttpUrl | None = None
    """Base of the process API, as in ``https://api.identity.truora.com/v1``; None keeps reading off (A-T12)."""
    reconcile_wait: Duration = timedelta(minutes=15)
    """How long events may take to show what became of a lost answer; only with ``send_reference`` can they (A-T6)."""
