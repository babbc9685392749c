"""What providers tell us, in our words. One fact per event, each with a stable key."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from domain.contacts import Alias
from domain.model import Instant, JsonValue, Model


class Ties(Model):
    """Everything in an event that can name the send it belongs to. Empty text means not given."""

    reference: str = ""
    flow_token: str = ""
    run_id: str = ""
    message_id: str = ""
    replied_to: str = ""
    session_id: str = ""
    thread_id: str = ""
    flow_id: str = ""
    template_id: str = ""
    line_sender: str = ""
    """The provider's own id of our line, where it tells: no tie by itself, but no other line can be meant."""


class FlowRunStatus(StrEnum):
    """Where one execution of a provider flow stands. Higher ranks never fall; the first end wins, see ``outlives``."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    FINISHED = "finished"
    TIMED_OUT = "timed-out"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_end(self) -> bool:
        """Whether the run is over."""
        return self in (FlowRunStatus.FINISHED, FlowRunStatus.TIMED_OUT, FlowRunStatus.FAILED, FlowRunStatus.CANCELLED)

    def outlives(self, earlier: "FlowRunStatus") -> bool:
        """Whether this end stands although ``earlier`` was told first.

        Webhooks come in any order, and what the candidate answered must not be lost to a word that overtook it.
        """
        return self is FlowRunStatus.FINISHED and earlier in (FlowRunStatus.TIMED_OUT, FlowRunStatus.FAILED)

    @property
    def rank(self) -> int:
        """Position in the life of a run; an unknown word never moves it."""
        if self is FlowRunStatus.UNKNOWN:
            return -1
        return 2 if self.is_end else int(self is FlowRunStatus.RUNNING)


class MessageStatus(StrEnum):
    """How far a message got. Steps may be skipped; ``failed`` is final unless delivered or read is known."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Position on the way to the reader; ``failed`` stands beside it, below ``delivered``."""
        return {"unknown": -1, "accepted": 0, "sent": 1, "failed": 1, "delivered": 2, "read": 3}[self.value]


class FlowRunChanged(Model):
    """A flow run reached a status. ``answers`` is what it has collected, our own variables taken out."""

    kind: Literal["flow-run"] = "flow-run"
    flow_run_status: FlowRunStatus
    raw_status: str = ""
    answers: dict[str, JsonValue] = {}
    cost: str = ""
    cancelled_by_candidate: bool = False
    """The candidate tapped Cancel before or during the flow."""


class FormAnswered(Model):
    """A WhatsApp Flow came back. ``answers`` is None when the form's text was not a JSON object; ``raw`` keeps it."""

    kind: Literal["form-answer"] = "form-answer"
    answers: dict[str, JsonValue] | None
    raw: str = ""


class TextReceived(Model):
    """A free text or a tapped button. ``payload`` is the button's own value, empty for a text."""

    kind: Literal["text"] = "text"
    text: str
    payload: str = ""


class MessageStatusChanged(Model):
    """A message of ours got further, or failed with the provider's ``codes``."""

    kind: Literal["message-status"] = "message-status"
    message_status: MessageStatus
    raw_status: str = ""
    codes: tuple[str, ...] = ()
    recipient_fault: bool = True
    """False when the failure is not the recipient's: throttles, policy, our parameters."""
    window_closed: bool = False
    """It failed because it has no template and the candidate's 24 hours are over."""


class OptOutReceived(Model):
    """The candidate withdrew consent by a word, a button or a preference."""

    kind: Literal["opt-out"] = "opt-out"
    scope: Literal["line", "marketing", "engagement"]
    text: str = ""


class OptInReceived(Model):
    """The candidate restored consent by a word or a preference."""

    kind: Literal["opt-in"] = "opt-in"
    scope: Literal["line", "marketing"]
    text: str = ""


class TemplateChanged(Model):
    """Something happened to a template. The event word is not its status: the template is read again."""

    kind: Literal["template-status"] = "template-status"
    template_id: str
    name: str = ""
    language: str = ""
    event: str
    reason: str = ""
    detail: str = ""
    """The provider's explanation for people, where it gives one."""


class FlowChanged(Model):
    """A WhatsApp Flow changed its publication status."""

    kind: Literal["flow-status"] = "flow-status"
    flow_id: str
    old: str = ""
    new: str


class NotUnderstood(Model):
    """Authentic, but of a kind or with a word that we do not know: kept and counted, without effect."""

    kind: Literal["not-understood"] = "not-understood"
    what: str


EventBody = Annotated[
    FlowRunChanged
    | FormAnswered
    | TextReceived
    | MessageStatusChanged
    | OptOutReceived
    | OptInReceived
    | TemplateChanged
    | FlowChanged
    | NotUnderstood,
    Field(discriminator="kind"),
]


class ProviderEvent(Model):
    """One fact out of a webhook delivery. ``key`` is stable over repeats and orders of delivery.

    ``sender`` recognises the person who acted or was written to, where the event tells; ``occurred_at`` is the
    provider's own instant.
    """

    key: str
    occurred_at: Instant
    ties: Ties = Ties()
    sender: tuple[Alias, ...] = ()
    send_key: str = ""
    """The send that correlation tied it to; empty while unknown, and for what only names the engagement."""
    message_at: Instant | None = None
    """When the message of ours that it is about was made, where the provider tells: no later send made it."""
    body: EventBody

    @property
    def may_fall_back(self) -> bool:
        """Whether (line, contact) may attribute it: only free text and opt-outs."""
        return isinstance(self.body, TextReceived | OptOutReceived | OptInReceived)

    @property
    def is_urgent(self) -> bool:
        """Whether it may change a decision at once; mere progress of a message may share a later signal."""
        if isinstance(self.body, MessageStatusChanged):
            return self.body.message_status is MessageStatus.FAILED
        return not (isinstance(self.body, FlowRunChanged) and self.body.flow_run_status is FlowRunStatus.RUNNING)


class ProviderEvents(Model):
    """A batch for one engagement, in order of arrival."""

    events: tuple[ProviderEvent, ...]


class ParsedDelivery(Model):
    """What an authentic delivery held. ``quarantine`` tells why its bytes could not be read at all, else empty."""

    events: tuple[ProviderEvent, ...] = ()
    quarantine: str = ""
