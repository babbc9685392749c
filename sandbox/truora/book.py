"""What one account has at Truora: outbounds and conversations, and how each is shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from sandbox.clock import Due
from sandbox.ids import Mint
from sandbox.truora.settings import Button, OutboundSettings, TruoraAccount, TruoraFlow
from sandbox.values import JsonObject

ENDS = frozenset({"succeeded", "failed", "canceled", "expired", "exited"})
CONTINUE, CANCEL = "continue_process", "cancel_process"
_VARIABLE = re.compile(r"\{\{\.([A-Za-z_][A-Za-z0-9_]*)\}\}")
_BUTTONS = (Button(message="Continue", action=CONTINUE), Button(message="Cancel", action=CANCEL))


def written(instant: datetime, nanoseconds: int = 0) -> str:
    """An instant as Truora writes it, with nanoseconds; a clock has only microseconds, so the rest is given."""
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond:06d}{nanoseconds % 1000:03d}Z"


@dataclass
class Outbound:
    """An outbound message."""

    id: str
    name: str
    body: str
    line: str
    status: str
    is_notification: bool
    default_flow_id: str | None
    buttons: tuple[Button, ...]
    media_url: str | None
    outbound_type: str
    failure_reason: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of its variables, each once, in the order of their first use."""
        return tuple(dict.fromkeys(_VARIABLE.findall(self.body)))

    def filled(self, values: Mapping[str, str]) -> str:
        """What the candidate reads above the buttons."""
        return _VARIABLE.sub(lambda found: values.get(found.group(1), ""), self.body)

    def button(self, label: str | None, action: str) -> Button | None:
        """The button with a label, else the first one that does ``action``."""
        named = [button for button in self.buttons if button.message == label]
        return next(iter([*named, *(button for button in self.buttons if button.action == action)]), None)

    def shown(self, client_id: str) -> JsonObject:
        """As the API shows it, variables not filled in (A-T11)."""
        answers: list[JsonValue] = [button.model_dump() for button in self.buttons]
        shown: JsonObject = {"client_id": client_id, "outbound_id": self.id}
        if self.default_flow_id is not None:
            shown["default_flow_id"] = self.default_flow_id
        shown |= {
            "outbound_name": self.name,
            "outbound_status": self.status,
            "failure_reason": self.failure_reason,
            "is_notification": self.is_notification,
            "outbound_message": " | ".join([self.body, *(f"[{button.message}]" for button in self.buttons)]),
            "outbound_answers": answers,
            "waba_phone_number": f"+{self.line}",
        }
        if self.media_url is not None:
            shown["media_url"] = self.media_url
        return shown | {"outbound_type": self.outbound_type, "media_id": ""}


@dataclass
class Session:
    """One conversation: a send, and what the candidate made of it."""

    id: str
    number: str
    outbound: Outbound
    flow: TruoraFlow | None
    """The flow that starts on acceptance; a notification starts none."""
    process_id: str | None
    account_id: str | None
    values: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    status: str = "queued"
    """queued, sent, accepted, started, or one of ``ENDS``."""
    closed: bool = False
    """Whether nothing can happen any more: a canceled outbound may leave its conversation open until it expires."""
    collected: JsonObject = field(default_factory=dict)
    failure_status: str = ""
    declined_reason: str = ""
    told: int = 0
    """How many events it has had."""
    expiry: Due | None = None

    def result(self) -> JsonObject:
        """The process as its read endpoint shows it (A-T12)."""
        status = {"succeeded": "success"}.get(self.status, "failure" if self.status in ENDS else "pending")
        shown: JsonObject = {
            "process_id": self.process_id,
            "flow_id": self.flow.id if self.flow is not None else None,
            "status": status,
            "creation_date": written(self.created_at),
            "update_date": written(self.updated_at, self.told),
        }
        if self.account_id is not None:
            shown["account_id"] = self.account_id
        if self.failure_status:
            shown["failure_status"] = self.failure_status
        return shown


class Book:
    """Everything of one account, in the order of its creation."""

    def __init__(self, account: TruoraAccount, mint: Mint) -> None:
        self._account = account
        self._mint = mint
        self.client_id = account.client_id or self.mint("TCI", "client")
        self.flows = {flow.id: flow for flow in account.flows}
        self.outbounds = {made.id: _from_settings(made, place) for place, made in enumerate(account.outbounds)}
        self.sessions: dict[str, Session] = {}
        self.processes: dict[str, Session] = {}
        self._sessions_of: dict[str, list[Session]] = {}

    def mint(self, prefix: str, kind: str, *parts: str | int) -> str:
        """An id for something of this account, with the prefix of its kind."""
        return prefix + self._mint.id("truora", self._account.name, kind, *parts).replace("-", "")

    def open_session(
        self,
        number: str,
        outbound: Outbound,
        flow: TruoraFlow | None,
        values: Mapping[str, str],
        account_id: str | None,
        *,
        now: datetime,
    ) -> Session:
        """Add a conversation; a notification starts no flow, whatever the send named."""
        earlier = len(self.sessions_of(number))
        started = None if outbound.is_notification else flow
        session = Session(
            id=self.mint("WDIS", "session", number, earlier),
            number=number,
            outbound=outbound,
            flow=started,
            process_id=self.mint("IDP", "process", number, earlier) if started is not None else None,
            account_id=account_id,
            values=values,
            created_at=now,
            updated_at=now,
        )
        self.sessions[session.id] = session
        if session.process_id is not None:
            self.processes[session.process_id] = session
        self._sessions_of.setdefault(number, []).append(session)
        return session

    def sessions_of(self, number: str) -> list[Session]:
        """The conversations with a number, oldest first."""
        return self._sessions_of.get(number, [])


def _from_settings(outbound: OutboundSettings, place: int) -> Outbound:
    buttons = outbound.answers if outbound.answers is not None else () if outbound.is_notification else _BUTTONS
    by_turns = "undefined" if place % 2 == 0 and outbound.default_flow_id is None else None
    return Outbound(
        id=outbound.id,
        name=outbound.name,
        body=outbound.body,
        line=outbound.line,
        status=outbound.status,
        is_notification=outbound.is_notification,
        default_flow_id=outbound.default_flow_id,
        buttons=buttons,
        media_url=outbound.media_url or by_turns,
        outbound_type=outbound.outbound_type,
    )
