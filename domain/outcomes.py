"""How an engagement ends. Outcomes are values; only a defect of ours makes a workflow fail."""

from enum import StrEnum

from domain.model import Instant, JsonValue, Model, Reference, Slug


class EngagementOutcome(StrEnum):
    """Why an engagement ended."""

    COMPLETED = "COMPLETED"
    DECLINED = "DECLINED"
    OPTED_OUT = "OPTED_OUT"
    NO_REPLY = "NO_REPLY"
    UNREACHABLE = "UNREACHABLE"
    MISCONFIGURED = "MISCONFIGURED"
    TEMPLATE_REJECTED = "TEMPLATE_REJECTED"
    EXPIRED = "EXPIRED"
    STOPPED = "STOPPED"
    HANDED_OVER = "HANDED_OVER"
    WITHDRAWN = "WITHDRAWN"
    REFUSED = "REFUSED"


class Settlement(Model):
    """The outcome with the rule that decided it and the reason in words. No personal data but ``answers``."""

    outcome: EngagementOutcome
    rule: str
    reason: str
    at: Instant
    answers: dict[str, JsonValue] = {}
    text: str = ""
    """The text that counted as answer, when the plan lets a text count."""


class Decision(Model):
    """One line of the decision log: what was decided, by which rule, why and when. No personal data."""

    at: Instant
    rule: str
    text: str
    actor: str = ""


class EngagementResult(Model):
    """What an engagement returns and what the ATS hears."""

    tenant: Slug
    reference: Reference
    settlement: Settlement
    sends: int
