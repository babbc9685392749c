"""Waiting at a gate, with everybody else who is held by the same thing."""

from contextlib import suppress
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain.calls import RunQuestion
from domain.errors import Scope
from domain.gates import (
    Gate,
    GateDecision,
    GateJoin,
    GateLeave,
    GateTiming,
    GateVerdict,
    JoinRequest,
    LeaveRequest,
    Refusal,
)
from domain.ids import engagement_workflow_id
from domain.outcomes import EngagementOutcome
from domain.sends import TemplateReading
from domain.state import Stage, earliest
from workflows.progress import Progress
from workflows.steps import Step

PATCH = "wait-at-gates"
"""Engagements that were held before gates existed go on looking one by one."""


class AtGates:
    """The waits of one engagement at gates."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._state = progress, progress.state

    @staticmethod
    def exist() -> bool:
        """Whether this engagement waits at gates: not when it was held under the release before them."""
        return workflow.patched(PATCH)

    async def wait(
        self,
        step: Step,
        scope: Scope,
        *,
        rule: str,
        reason: str,
        reading: TemplateReading | None = None,
        refusal: Refusal | None = None,
    ) -> GateDecision | None:
        """Wait until the gate of this scope opens, the step expires or the outcome is decided.

        Returns the decision that let us go on; None when the outcome is decided, or when it is time to look again.
        """
        gate = self._gate(step, scope)
        return await self._wait_at(gate, step, rule=rule, reason=reason, reading=reading, refusal=refusal)

    async def wait_for_resume(self, step: Step, paused: str, reason: str) -> GateDecision | None:
        """Wait, with everybody else whom it keeps back, until an operator resumes a tenant or a line; as ``wait``."""
        route, timing = self._progress.engagement.route, self._progress.engagement.timing
        gate = Gate(scope=Scope.LINE, account=route.account, paused=paused, timing=GateTiming.of(timing))
        return await self._wait_at(gate, step, rule="paused", reason=reason)

    async def _wait_at(
        self,
        gate: Gate,
        step: Step,
        *,
        rule: str,
        reason: str,
        reading: TemplateReading | None = None,
        refusal: Refusal | None = None,
    ) -> GateDecision | None:
        progress, state = self._progress, self._state
        if state.trial_of == gate.workflow_id:
            state.trial_of = ""  # joining again is how the gate hears that the trial failed
        if state.trial_of or state.gate not in ("", gate.workflow_id):
            await self.leave()
        state.gate, state.gate_decision = gate.workflow_id, None
        state.put_on_hold(progress.now, rule, reason, gate.workflow_id)
        if not await self._join(gate, reading, refusal):
            return None
        trust = progress.now + progress.engagement.timing.gate_rejoin
        stop = earliest(trust, step.expires, progress.ends_at) or trust
        await self._listen(gate, stop)
        return await self._take_decision(gate, step)

    async def leave(self) -> None:
        """Tell every gate that still knows of us that we wait there no longer."""
        state = self._state
        gates = [gate for gate in (state.trial_of, state.gate) if gate]
        state.trial_of, state.gate, state.gate_decision = "", "", None
        for gate in gates:
            await self._tell(gate, trial_passed=False)

    async def passed(self) -> None:
        """The provider took what was refused before: if we went first, the others may follow."""
        gate, self._state.trial_of = self._state.trial_of, ""
        if gate:
            await self._tell(gate, trial_passed=True)

    async def _tell(self, gate: str, *, trial_passed: bool) -> None:
        progress = self._progress
        leave = GateLeave(workflow_id=self._me, at=progress.now, trial_passed=trial_passed)
        await progress.finish(progress.calls.leave_gate(LeaveRequest(gate=gate, leave=leave)), recall=False)

    async def confirm_end(self) -> None:
        """Ask about the end of a run that a webhook told while we are held: an answer waits for no gate.

        Where the provider does not answer, the end stays to be confirmed, at the next news or after the hold.
        """
        progress, state = self._progress, self._state
        run_id = state.unconfirmed_run
        if not run_id or progress.is_settled() or not self.exist():
            return
        account = state.route_of_run(run_id, progress.engagement).account
        question = RunQuestion(account=account, run_id=run_id, at=progress.now)
        why = "confirm the end that a webhook reported while held"
        with suppress(ActivityError):
            run = await progress.finish(progress.calls.check_flow_run(question, why))
            progress.reader().take_run(run)
            if state.unconfirmed_run == run_id:
                state.unconfirmed_run = ""

    @property
    def _me(self) -> str:
        return engagement_workflow_id(self._progress.engagement.tenant, self._progress.engagement.reference)

    def _gate(self, step: Step, scope: Scope) -> Gate:
        route, timing = self._progress.engagement.route, self._progress.engagement.timing
        return Gate(
            scope=scope,
            account=route.account,
            line=route.line if scope is Scope.LINE else "",
            template=step.template if scope is Scope.TEMPLATE else None,
            flow=step.flow if scope in (Scope.TEMPLATE, Scope.FLOW) else None,
            timing=GateTiming.of(timing),
        )

    async def _join(self, gate: Gate, reading: TemplateReading | None, refusal: Refusal | None) -> bool:
        """False when there is nothing to wait for any more, or the outcome was decided meanwhile."""
        progress = self._progress
        join = GateJoin(
            workflow_id=self._me,
            at=progress.now,
            reading=reading,
            read_at=reading.read_at if reading else None,
            refusal=refusal,
        )
        answer = await progress.finish(progress.calls.join_gate(JoinRequest(gate=gate, join=join)), recall=False)
        if answer.open:
            self._state.gate = ""
            self._state.release(progress.now, "it was lifted meanwhile")
        return not answer.open

    async def _listen(self, gate: Gate, stop: datetime) -> None:
        progress, state = self._progress, self._state

        def decided() -> bool:
            return state.gate_decision is not None

        await self.confirm_end()
        while not progress.is_settled() and not decided() and state.pause is None and progress.now < stop:
            await progress.wait(Stage.HELD, f"{gate.workflow_id} to open", stop, decided)
            await self.confirm_end()

    async def _take_decision(self, gate: Gate, step: Step) -> GateDecision | None:
        progress, state = self._progress, self._state
        decision = state.gate_decision
        if decision is None or progress.is_settled():
            return None  # the close leaves; when only our trust has run out we join the same gate again
        state.gate, state.gate_decision = "", None
        if decision.verdict is GateVerdict.OPEN:
            state.release(progress.now, decision.reason + (f" ({decision.actor})" if decision.actor else ""))
            state.trial_of = gate.workflow_id if decision.trial else ""
            return decision
        template = gate.scope is Scope.TEMPLATE
        outcome = EngagementOutcome.TEMPLATE_REJECTED if template else EngagementOutcome.STOPPED
        held = f"{step.template.name} ({step.template.language})" if template else gate.scope_key
        state.settle(
            outcome=outcome,
            rule="gate-refused",
            reason=f"{held}: {decision.reason}",
            at=progress.now,
            actor=decision.actor,
        )
        return None
