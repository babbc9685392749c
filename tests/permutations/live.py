"""One engagement on the stage: its workflow reduced to the state, and the row of its send in the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.engagements import Engagement
from domain.events import MessageStatus, ProviderEvents
from domain.ids import send_key
from domain.outcomes import EngagementOutcome
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import FlowRun, LedgerState, SendReceipt
from domain.state import EngagementState
from tests.permutations.scenes import Carry, Claim, Close, Settle, Trouble
from tests.permutations.wires import FLOW, TEMPLATE, Named

START = datetime(2026, 3, 2, 9, tzinfo=UTC)

_RANKS = {"": 0, "sent": 1, "failed": 2, "delivered": 3, "read": 4}


@dataclass
class Live:
    """An engagement as its workflow has it, and the row of its send in the ledger."""

    engagement: Engagement
    workflow_id: str
    named: Named
    truth: FlowRun
    state: EngagementState
    ledger_state: LedgerState = LedgerState.FREE
    ledger: dict[str, str | datetime | None] = field(
        default_factory=lambda: {"claimed_at": None, "run_id": "", "message_id": "", "session_id": ""}
    )
    is_changed: bool = False
    closed: bool = False
    troubles: list[bool] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def send_key(self) -> str:
        """The key of its only send."""
        return send_key(self.workflow_id, "opening", 1)

    def do(self, action: Claim | Settle | Close | Trouble | Carry, at: datetime) -> None:
        """Something happens to it."""
        match action:
            case Claim():
                self.ledger_state, self.ledger["claimed_at"] = LedgerState.CALLING, at
                self.state.sends.append(
                    SendRecord(key=self.send_key, step="opening", template="hello", with_flow=True, since=at)
                )
            case Settle(lost=lost):
                self._settle(at, lost=lost)
            case Close():
                self._close(at)
            case Trouble(taken=taken):
                self.troubles.append(taken)
            case Carry():
                self.state = EngagementState.model_validate_json(self.state.carried().model_dump_json())
        self.is_changed = True
        self.record_send()

    def _settle(self, at: datetime, *, lost: bool) -> None:
        ids = self.named.ids(self.engagement.route.provider)
        if not lost:
            self._write(LedgerState.SENT, ids)
        elif self.ledger_state is LedgerState.CALLING:
            self.ledger_state = LedgerState.UNKNOWN
        if self.closed:
            return
        record = self.state.sends[0]
        if not lost:
            self.state.mark_sent(
                record, SendReceipt.model_validate({"reference": self.named.names.reference, **ids}), at
            )
        elif record.is_known_to_provider:
            self.state.mark_sent(record, record.receipt.model_copy(update={"recorded": False}), at)
        else:
            record.state = LedgerState.UNKNOWN

    def record_send(self) -> None:
        """What an event taught the workflow about its send, it has written to the ledger."""
        if self.closed or not self.state.sends or not self.state.sends[0].needs_record:
            return
        record = self.state.sends[0]
        self._write(LedgerState.SENT, record.receipt.model_dump(include={"run_id", "message_id", "session_id"}))
        record.needs_record, self.is_changed = False, True

    def _write(self, state: LedgerState, ids: Mapping[str, str]) -> None:
        self.ledger_state = state
        self.ledger |= {name: ids[name] for name in ids.keys() & self.ledger.keys() if not self.ledger[name]}

    def _close(self, at: datetime) -> None:
        if self.state.settlement is None:
            self.state.settle(outcome=EngagementOutcome.NO_REPLY, rule="silence", reason="no answer", at=at)
        self.closed = True

    def registered(self) -> dict[str, object]:
        """Its row in the registry."""
        route = self.engagement.route
        return {
            "tenant": "acme",
            "reference": self.engagement.reference,
            "workflow_id": self.workflow_id,
            "contact_id": self.engagement.contact_id,
            "line": route.line,
            "account": route.account,
            "provider": route.provider,
            "plan": "intake",
            "fingerprints": {"candidate": "f"},
            "key_id": "k",
            "created_at": START,
        }

    def intended(self) -> dict[str, object]:
        """The row of its send before that left."""
        return {
            "key": self.send_key,
            "workflow_id": self.workflow_id,
            "tenant": "acme",
            "account": self.engagement.route.account,
            "line": self.named.line,
            "step": "opening",
            "n": 1,
            "contact_id": self.engagement.contact_id,
            "state": LedgerState.FREE.value,
            "attempt": 1,
            "reference": self.named.names.reference,
            "flow_token": self.named.names.flow_token,
            "flow_id": FLOW,
            "template_id": TEMPLATE,
            "thread_id": self.named.thread,
            "suppress": False,
        }

    def hear(self, events: ProviderEvents, at: datetime) -> None:
        """A signal arrived."""
        before = self.message
        fresh = [event.key for event in events.events if event.key not in self.state.seen]
        settled = self.state.settlement
        self.heard += fresh
        self.state.receive(events)
        Reader(self.engagement, self.state, at).read_news()
        if self.state.unconfirmed_run and self.state.settlement is None:
            assert self.state.unconfirmed_run == self.truth.run_id, "asks about a run that is not its own"
            Reader(self.engagement, self.state, at).take_run(self.truth)
        self.state.unconfirmed_run = ""
        Reader(self.engagement, self.state, at).read_news()
        self.record_send()
        if _RANKS[self.message] < _RANKS[before]:
            self.complaints.append(f"the message went back from {before} to {self.message}")
        if settled is not None and self.state.settlement != settled:
            self.complaints.append("the outcome changed after it was decided")

    @property
    def message(self) -> str:
        """The status of its message, empty while none was told."""
        status = self.state.sends[0].message_status if self.state.sends else None
        return status.value if status is not None and status is not MessageStatus.UNKNOWN else ""
