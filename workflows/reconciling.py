"""Finds out what became of a send whose answer was lost: the provider is asked, then events, then a person."""

from functools import partial

from domain import names
from domain.calls import ReconcileRequest, RecordSend
from domain.outcomes import EngagementOutcome
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import Stage
from workflows.holding import Holding
from workflows.progress import Progress
from workflows.steps import Step

OPENING, FALLBACK_OPENING = "opening", "fallback-opening"
OPENINGS = (OPENING, FALLBACK_OPENING)
"""Steps without which there is nothing to wait for."""


class Reconciling:
    """Reconciliation of one engagement's sends."""

    def __init__(self, progress: Progress, holding: Holding) -> None:
        self._progress, self._holding, self._state = progress, holding, progress.state

    async def settle_unknown(self, record: SendRecord, step: Step) -> bool:
        """Ask the provider, then a person. False when a follow-up's outcome stayed unknown past its expiry."""
        if self._progress.engagement.route.capabilities.can_read_runs and record.with_flow:
            await self._ask_provider(record, step)
        else:
            settle = self._progress.now + self._progress.engagement.timing.reconcile_settle
            while self._is_open(record) and self._progress.now < settle:
                await self._progress.wait(Stage.RECONCILING, "an event that shows whether it was sent", settle)
        if self._is_open(record):
            return await self._ask_person(record, step)
        return True

    async def ask_ledger(self, record: SendRecord, step: Step) -> None:
        """Ask our own ledger about a send whose worker did not live to tell how it ended.

        It may never have been claimed, or have ended and only not been reported. Else its row becomes ``unknown``:
        while it says that an answer is still to come the gateway waits with events, and no person finds it.
        """
        progress = self._progress
        if progress.is_settled():  # nothing is sent any more, but what comes late must find its send
            record.needs_record = True
            await self.record(record, LedgerState.UNKNOWN)
            return
        request = self._reconcile_request(record, step, final=False, ledger_only=True)
        found = await self._holding.persist(partial(progress.calls.reconcile_send, request), step)
        if found is None or not self._is_open(record):
            return
        if found.state is LedgerState.SENT and found.receipt is not None:
            self._state.mark_sent(record, found.receipt, progress.now)
            progress.log("reconciled", f"{step.name}: the ledger has the provider's answer")
        elif found.state is not LedgerState.UNKNOWN:
            record.state = LedgerState.NOT_SENT
            progress.log("reconciled", f"{step.name}: the ledger shows that it never left")

    def _is_open(self, record: SendRecord) -> bool:
        return record.state is LedgerState.UNKNOWN and not self._progress.is_settled()

    async def _ask_provider(self, record: SendRecord, step: Step) -> None:
        progress, timing = self._progress, self._progress.engagement.timing
        started = progress.now
        for read in range(1, timing.reconcile_reads + 1):
            look_at = started + timing.reconcile_settle * read / timing.reconcile_reads
            while self._is_open(record) and progress.now < look_at:
                await progress.wait(Stage.RECONCILING, "the provider to show whether it was sent", look_at)
            if not self._is_open(record):
                return
            request = self._reconcile_request(record, step, final=read == timing.reconcile_reads)
            found = await self._holding.persist(partial(progress.calls.reconcile_send, request), step)
            if found is None or not self._is_open(record):
                return
            if found.state is LedgerState.SENT and found.receipt is not None:
                self._state.mark_sent(record, found.receipt, progress.now)
                progress.log("reconciled", f"{step.name}: the provider has it; nothing is sent again")
                if found.run is not None:
                    progress.reader().take_run(found.run)
                return
            if found.state in (LedgerState.NOT_SENT, LedgerState.REJECTED):
                record.state = LedgerState.NOT_SENT
                progress.log("reconciled", f"{step.name}: the provider has nothing; it is sent again")
                return
            if found.ambiguous:
                progress.log("ambiguous", f"{step.name}: several flow runs fit; a person decides")
                return

    def _reconcile_request(
        self, record: SendRecord, step: Step, *, final: bool, ledger_only: bool = False
    ) -> ReconcileRequest:
        route = self._progress.engagement.route
        return ReconcileRequest(
            account=route.account,
            line=route.line,
            send_key=record.key,
            thread_id=self._state.thread.thread_id if self._state.thread else "",
            flow_id=step.flow.id if step.flow else "",
            template_id=self._progress.with_id(step.template).id,
            final=final,
            ledger_only=ledger_only,
            at=self._progress.now,
        )

    async def _ask_person(self, record: SendRecord, step: Step) -> bool:
        progress, state = self._progress, self._state
        state.needs_human = True
        end = min(step.expires, progress.ends_at) if step.name not in OPENINGS else progress.ends_at
        while self._is_open(record) and not state.resend_wanted:
            await progress.wait(Stage.RECONCILING, f"a person to say whether {step.name} was sent", end)
            for resolution in [r for r in state.resolutions if r.send_key == record.key]:
                await self._resolve(record, was_sent=resolution.was_sent, message_id=resolution.message_id)
            state.resolutions = [r for r in state.resolutions if r.send_key != record.key]
            if self._is_open(record) and progress.now >= end:
                if step.name in OPENINGS:
                    reason = "nobody could say whether the opening was sent, and nothing came back"
                    progress.settle(EngagementOutcome.EXPIRED, "outcome-unknown", reason)
                progress.log("outcome-unknown", f"{step.name}: stays unknown")
                break
        state.needs_human = False
        return record.state is not LedgerState.UNKNOWN or state.resend_wanted

    async def _resolve(self, record: SendRecord, *, was_sent: bool, message_id: str) -> None:
        if was_sent:
            receipt = record.receipt.model_copy(update={"message_id": message_id, "recorded": False})
            self._state.mark_sent(record, receipt, self._progress.now)
        else:
            record.needs_record = True
            await self.record(record, LedgerState.NOT_SENT)
            if record.state is LedgerState.UNKNOWN:  # else an event has shown meanwhile that the person was wrong
                record.state = LedgerState.NOT_SENT

    async def record(self, record: SendRecord, state: LedgerState) -> None:
        """Write to the ledger what the activity itself could not write."""
        if not record.needs_record:
            return
        receipt = record.receipt if state is LedgerState.SENT else None
        request = RecordSend(send_key=record.key, state=state, receipt=receipt, at=self._progress.now)
        record.needs_record = False  # before the wait: an event that is read in it may have more to record
        said = self._state.last_decision(names.RESOLVE_SEND)
        why = f"{said.text} ({said.actor})" if said is not None and said.text.startswith(f"{record.step}: ") else ""
        await self._progress.finish(self._progress.calls.record_send(request, why), recall=False)
