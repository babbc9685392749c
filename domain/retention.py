"""How long what is kept: one table for the jobs that run by themselves and for ``rapport retention run``."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import AfterValidator, model_validator

from domain.model import Duration, Findings, Written, refuse


def _at_least(days: int) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < timedelta(days=days):
            raise ValueError(f"must be at least {days}d")
        return value

    return AfterValidator(check)


_Days = Annotated[Duration, _at_least(1)]
_LongerThanRepeats = Annotated[Duration, _at_least(8)]
"""Providers repeat a delivery for up to 7 days: an event that is forgotten before would be taken for a new one."""


class RetentionTerms(Written):
    """How long each kind is kept. What is open, or waits to be carried out, is kept whatever these say."""

    contacts: _Days = timedelta(days=180)
    """A person, from the last that was heard of them and the end of their last engagement; then they are erased."""
    contents: _Days = timedelta(days=180)
    """What an engagement was started with, its answers and its snapshot, from its end."""
    handles: _Days = timedelta(days=90)
    """Ids of the provider's in the send ledger, which lead to a conversation there, from the engagement's end."""
    decisions: _Days = timedelta(days=1095)
    """The decision log of an engagement, from its end; it outlives the person."""
    inbox: _LongerThanRepeats = timedelta(days=9)
    """Events that were taken, came late or had no effect, and that a delivery came at all, from when it came."""
    unmatched: _Days = timedelta(days=30)
    """Events that found no engagement, from when they came."""
    unreadable: _LongerThanRepeats = timedelta(days=8)
    """Deliveries that could not be read, from when they came."""
    told: _Days = timedelta(days=30)
    """What a tenant's system told, from when it came."""
    notices: _Days = timedelta(days=30)
    """Notices that a tenant's system took at a later try, from when they were made."""
    requests: _Days = timedelta(days=30)
    """What REST requests with an idempotency key were answered, from then on."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Findings:
        if self.decisions < max(self.contents, self.contacts):
            yield ("decisions",), "must be at least as long as contents and contacts: it is what is left of them"


class KeptKind(StrEnum):
    """A kind of thing whose time may be over."""

    EVENTS = "inbox events"
    DELIVERIES = "deliveries"
    TOLD = "told by the ATS"
    NOTICES = "notices"
    REQUESTS = "idempotency answers"
    SENDS = "sends"
    CONTENTS = "engagements"
    DECISIONS = "decision logs"
    PEOPLE = "people"


BY_THEMSELVES: Final = (KeptKind.EVENTS, KeptKind.DELIVERIES, KeptKind.TOLD, KeptKind.NOTICES, KeptKind.REQUESTS)
"""What a gateway drops by itself, every hour; the rest waits for ``rapport retention run``."""

WHAT_IS_LOST: Final[Mapping[KeptKind, str]] = MappingProxyType(
    {
        KeptKind.EVENTS: "events of the inbox",
        KeptKind.DELIVERIES: "that a delivery came",
        KeptKind.TOLD: "what tenants' systems told",
        KeptKind.NOTICES: "notices to tenants' systems",
        KeptKind.REQUESTS: "answers to REST requests",
        KeptKind.SENDS: "the provider's ids of sends",
        KeptKind.CONTENTS: "input and answers of engagements",
        KeptKind.DECISIONS: "decision logs",
        KeptKind.PEOPLE: "people, with all that is kept of them",
    }
)
"""What goes of each kind, for people."""
