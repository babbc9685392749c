"""One send as its engagement knows it: what was intended, and what became known of it since."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from domain.events import FlowRunStatus, MessageStatus
from domain.model import Instant
from domain.sends import LedgerState, SendReceipt


class SendRecord(BaseModel):
    """One intended send as the engagement knows it. Changed as its ending, its run and its message become known."""

    model_config = ConfigDict(extra="ignore")

    key: str
    step: str
    n: int = 1
    template: str
    with_flow: bool
    state: LedgerState = LedgerState.FREE
    since: Instant
    receipt: SendReceipt = SendReceipt()
    run_status: FlowRunStatus | None = None
    message_status: MessageStatus | None = None
    cancelled_by_us: bool = False
    needs_record: bool = False
    price: Decimal | None = None
    """What it costs by the plan's price table; None where that does not say."""
    free_form_offered: bool = False
    """It could leave without a template."""
    free_form_failed: bool = False
    """It left without a template and is known not to have arrived for that reason: the template follows, once."""

    @property
    def is_known_to_provider(self) -> bool:
        """Whether an id of the provider's proves that it took the send."""
        return bool(self.receipt.run_id or self.receipt.message_id or self.receipt.session_id)

    @property
    def may_have_arrived(self) -> bool:
        """Whether it may have reached the phone, and so has its price: it may have left, and nobody told that it
        failed.
        """
        may_have_left = self.state in (LedgerState.SENT, LedgerState.UNKNOWN)
        return may_have_left and self.message_status is not MessageStatus.FAILED

    @property
    def is_open(self) -> bool:
        """Whether its flow run may still bring an answer."""
        return self.with_flow and self.state is LedgerState.SENT and not (self.run_status and self.run_status.is_end)

    def advance_run(self, status: FlowRunStatus) -> bool:
        """Take a run status that ranks higher; the first end wins, but an answer outlives silence and error.

        True when it changed anything.
        """
        known = self.run_status
        if known is not None and status.rank <= known.rank and not status.outlives(known):
            return False
        self.run_status = status
        return True

    def advance_message(self, status: MessageStatus) -> bool:
        """Take a message status that ranks higher; delivered or read outlive a failure."""
        known = self.message_status
        if (
            known is not None
            and status.rank <= known.rank
            and not (
                status is MessageStatus.FAILED
                and known.rank <= MessageStatus.SENT.rank
                and known is not MessageStatus.FAILED
            )
        ):
            return False
        self.message_status = status
        return True
