"""What a Truora account of the sandbox is made of, and how the unknowns are settled."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from sandbox.values import Frozen, JsonObject

Seconds = Annotated[float, Field(ge=0)]
Line = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{6,14}$")]
"""A sending number: digits with the country code, no plus sign."""
HeaderText = Annotated[str, Field(min_length=1)]


def _answers(value: object) -> object:
    """Let a flow name what it collects as a list; each then has the answer ``yes``."""
    return dict.fromkeys(value, "yes") if isinstance(value, list | tuple) else value


class TruoraFlow(Frozen):
    """A chat script that starts when a candidate accepts an outbound."""

    id: str
    session_hours: Annotated[float, Field(gt=0)] = 24.0
    """Hours from the sending until the conversation expires (dashboard: normally 24 h)."""
    collects: Annotated[JsonObject, BeforeValidator(_answers)] = {}
    """What the flow collects, with the answer of a candidate who has no other."""


class Button(Frozen):
    """A reply button of an outbound: its label and what a tap does."""

    message: str
    action: str
    """``continue_process`` or ``cancel_process``; another word does nothing here."""


class OutboundSettings(Frozen):
    """An outbound message. There is no call that makes one: it exists from the beginning."""

    id: str
    name: str
    body: str
    """Variables are written ``{{.name}}``."""
    line: Line
    status: str = "APPROVED"
    is_notification: bool = False
    default_flow_id: str | None = None
    answers: tuple[Button, ...] | None = None
    """None: Continue and Cancel, for a notification no buttons."""
    media_url: str | None = None
    """None: every other outbound shows the text ``undefined``, as in the guide; the others lack the member."""
    outbound_type: str = "text"


class TruoraAccount(Frozen):
    """One Truora account: its key, its lines, flows and outbounds, and the one hook that it has."""

    name: str = "truora"
    api_key: SecretStr
    client_id: str | None = None
    """None derives one from the seed."""
    lines: tuple[Line, ...] = ()
    flows: tuple[TruoraFlow, ...] = ()
    outbounds: tuple[OutboundSettings, ...] = ()
    webhook_url: str | None = None
    signing_key: SecretStr | None = None
    """Signs the hooks, used as UTF-8 text whatever it looks like (A-T4)."""
    webhook_content_type: HeaderText = "application/jwt"

    strict: bool = True
    """Refuse fields and parameters that no page shows."""
    success_status: Literal[200, 201, 202] = 200
    """HTTP status of a send that was taken (A-T10)."""
    takes_account_id: bool = True
    """Whether a send may carry ``account_id``, which the guide does not show (A-T5)."""
    send_account_id: bool = True
    """Whether hooks carry the ``account_id`` of a send that had one (A-T5)."""
    reads_processes: bool = True
    """Whether ``GET /processes/{id}/result`` exists (A-T12)."""
    requests_per_second: Annotated[int, Field(ge=1)] | None = None
    """More are answered 429; None takes all (limits are unpublished)."""
    session_hours: Annotated[float, Field(gt=0)] = 24.0
    """Hours until the conversation of a notification expires; flows have their own."""
    expires_canceled: bool = True
    """Whether a conversation still expires after Cancel was tapped."""
    undeliverable: Literal["failed", "silent"] = "failed"
    """What is told of a number that is not on WhatsApp: its process failed, or nothing until it expires (unknown)."""
    start_delay: Seconds = 1.0
    """From the answer of a send to the message on the phone."""
    retry_delays: tuple[Seconds, ...] = (60, 600, 3600, 4 * 3600, 12 * 3600)
    """Seconds before each further attempt of a hook that was not answered 2xx (unknown, A-T6)."""
    batch_seconds: Seconds | None = None
    """What happens within so many seconds after a first event goes out with it in one delivery; 0 joins what happens
    at the same instant, None gives every event a delivery of its own."""
    strange_elements: bool = False
    """Whether every delivery also carries an event of another product and an element that is none."""
    alias_names: bool = False
    """Whether hooks use the other observed words and member names (``success``, ``identity_process_id`` and so on)."""
    names_session: bool = True
    """Whether hooks carry ``session_id``; a sample from a client has none (A-T3)."""
    tells_variables: bool = True
    """Whether the end of a process carries what was collected (A-T3)."""
    tells_reviews: bool = False
    """Whether *Outbound approved* is also told of Meta's review, then without a conversation: the ambiguous hook."""
    tells_everything: bool = False
    """Whether *Session started* and *Inbound started* are told too, whose words nobody knows."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TruoraAccount":
        flows = {flow.id for flow in self.flows}
        wrong = [] if self.webhook_url is None or self.signing_key is not None else ["webhook_url needs signing_key"]
        if self.signing_key is not None and not self.signing_key.get_secret_value():
            wrong.append("signing_key must not be empty")
        for outbound in self.outbounds:
            if outbound.line not in self.lines:
                wrong.append(f"outbound {outbound.id}: its line is not among the lines of the account")
            if outbound.default_flow_id is not None and outbound.default_flow_id not in flows:
                wrong.append(f"outbound {outbound.id}: default_flow_id names no flow of the account")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self
