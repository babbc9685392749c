"""What a gate looks at and when, and what it concludes."""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain.errors import Scope
from domain.gates import (
    Gate,
    GateDecision,
    GateState,
    GateVerdict,
    ReleasePage,
    Ruling,
    TemplateLook,
    TemplateSubmission,
)
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from workflows.endings import failure_in, is_rejected
from workflows.gate_calls import GateCalls

DEBOUNCE = timedelta(seconds=2)
"""Least time between two looks, however often the provider tells that something happened."""


class Looking:
    """The eyes of one gate."""

    def __init__(self, gate: Gate, state: GateState, calls: GateCalls) -> None:
        self._gate, self._state, self._calls = gate, state, calls

    @property
    def now(self) -> datetime:
        """The workflow's clock, never behind the clocks of those who wait: they compare what we tell with theirs."""
        return workflow.now() + self._state.ahead

    def due_at(self) -> datetime:
        """When the gate looks again by itself."""
        state = self._state
        if state.trial_until is not None:
            return state.trial_until
        if state.recheck_wanted:
            return state.looked_at + DEBOUNCE if state.looked_at else self.now
        if state.refusal is not None and state.refusal.until is not None:
            return state.refusal.until
        return state.next_look or self._first_look()

    def is_due(self) -> bool:
        """Whether there is something to look at now."""
        return self._state.trial_passed or self.due_at() <= self.now

    def _first_look(self) -> datetime:
        """The first waiter has just looked itself, or was just refused: no need to do the same at once."""
        state = self._state
        if state.reading is not None and state.reading.can_submit:
            return self.now
        seen = state.read_at or (state.refusal.at if state.refusal else None)
        return seen + self._gate.timing.poll if seen else self.now

    async def look(self) -> None:
        """Look, and conclude what follows."""
        state = self._state
        if state.trial_passed:
            state.trial_passed = False
            self._open("the trial message went through")
        elif state.trial:
            state.end_trial(put_back=True)
            self._pause("the trial message showed nothing in time", self._gate.timing.trial_ceiling)
        elif self._gate.scope is Scope.TEMPLATE:
            await self._look_at_template()
        elif state.refusal is not None and state.refusal.until is not None and state.refusal.until <= self.now:
            self._open("the provider's own waiting time is over")
        else:
            await self._try_one()

    async def submit(self, *, again: bool) -> None:
        """Submit the specification. What cannot be known of its end is looked for, never submitted again."""
        state = self._state
        state.resubmit_wanted = False
        request = TemplateSubmission(account=self._gate.account, template=self._template(), again=again, at=self.now)
        state.looked_at = self.now
        try:
            reading = await self._calls.submit_template(request)
        except ActivityError as error:
            self._submission_failed(error)
            return
        state.submitted_at, state.needs_human = self.now, False
        state.log(self.now, "submitted", f"the provider says {reading.raw_status or reading.template_status}")
        self._take(reading, self.now)
        if reading.template_status.is_refusal or reading.template_status.sends:
            await self._judge(reading)
        else:
            self._pause("")

    def _submission_failed(self, error: ActivityError) -> None:
        state, failure = self._state, failure_in(error)
        if is_rejected(error):
            self._refuse(f"the provider refused the submission: {failure.reason}")
        elif failure.code == "held":
            self._pause(f"the submission waits: {failure.reason}")
        else:
            state.submission_unknown_since = self.now
            state.log(self.now, "submission-unknown", "the answer to the submission was lost")
            self._pause("the answer to the submission was lost; looking whether it arrived")

    def _template(self) -> TemplateRef:
        if self._gate.template is None:
            raise ValueError(f"{self._gate.workflow_id} holds no template")
        return self._gate.template

    async def _look_at_template(self) -> None:
        state, now = self._state, self.now
        state.recheck_wanted = False
        state.looked_at, state.looks = now, state.looks + 1
        look = TemplateLook(account=self._gate.account, template=self._template(), flow=self._gate.flow, at=now)
        try:
            reading = await self._calls.read_template(look)
        except ActivityError as error:
            self._pause(f"the last look brought nothing: {failure_in(error).reason}")
            return
        self._take(reading, now)
        await self._judge(reading)

    def _take(self, reading: TemplateReading, at: datetime) -> None:
        state = self._state
        before = state.reading.template_status if state.reading else None
        if state.read_at is None or at >= state.read_at:
            state.reading, state.read_at = reading, at
        if reading.template_status is not before:
            why = f": {reading.reason}" if reading.reason else ""
            state.log(at, "status", f"the provider says {reading.raw_status or reading.template_status}{why}")
            state.pause = None  # something moves, so look closely again

    async def _judge(self, reading: TemplateReading) -> None:
        state, status = self._state, reading.template_status
        if status is not TemplateStatus.MISSING:
            state.submission_unknown_since = None
        if status.is_refusal:
            why = f" ({reading.reason})" if reading.reason else ""
            self._refuse(f"the provider says {reading.raw_status or status}{why}")
        elif status is TemplateStatus.MISSING:
            await self._judge_missing(reading)
        elif not status.sends:
            self._pause("")
        elif state.refusal is None:
            self._open("the provider says APPROVED")
        elif state.refusal.needs_human:
            self._ask_person(state.refusal.reason)
        else:
            await self._try_one()

    async def _judge_missing(self, reading: TemplateReading) -> None:
        state = self._state
        if state.submission_unknown_since is not None:
            if self.now - state.submission_unknown_since < self._gate.timing.settle:
                self._pause("the answer to the submission was lost; the provider does not show the template yet")
            else:
                self._ask_person("the answer to the submission was lost and the template never appeared: resubmit it")
        elif state.submitted_at is not None:
            self._pause("submitted; the provider does not show it yet")
        elif reading.can_submit:
            await self.submit(again=False)
        else:
            self._refuse("the provider has no such template, and there is no specification of it")

    async def _try_one(self) -> None:
        """Let the first who waits go alone; how that ends shows whether the hold is over."""
        state = self._state
        page = state.taken(1)
        if not page:
            self._pause("", self._gate.timing.trial_ceiling)
            return
        state.recheck_wanted = False
        state.looked_at, state.looks = self.now, state.looks + 1
        state.trial, state.trial_until = page[0], self.now + self._gate.timing.trial
        ruling = Ruling(verdict=GateVerdict.OPEN, reason="one goes first, to see whether the hold is over")
        self._pause("", self._gate.timing.trial_ceiling)
        state.log(self.now, "trial", ruling.reason)
        released = await self._calls.release(self.page(page, ruling, trial=True))
        if released.gone and state.trial == page[0]:
            state.end_trial()
            state.gone, state.next_look = state.gone + 1, self.now  # the next one goes

    def page(self, waiters: tuple[str, ...], ruling: Ruling, *, trial: bool = False) -> ReleasePage:
        """What is told to these waiters."""
        gate, state = self._gate, self._state
        decision = GateDecision(
            gate=gate.workflow_id,
            verdict=ruling.verdict,
            reason=ruling.reason,
            at=self.now,
            reading=state.reading if gate.scope is Scope.TEMPLATE else None,
            trial=trial,
            actor=ruling.actor,
        )
        return ReleasePage(
            scope_key=gate.scope_key,
            account=gate.account,
            template=gate.template,
            workflow_ids=waiters,
            decision=decision,
            lift=ruling.lift,
            override=ruling.override,
        )

    def _open(self, reason: str) -> None:
        self._state.rule(
            Ruling(verdict=GateVerdict.OPEN, reason=reason, lift=self._state.refusal is not None), self.now
        )

    def _refuse(self, reason: str) -> None:
        self._state.rule(Ruling(verdict=GateVerdict.REFUSED, reason=reason), self.now)

    def _ask_person(self, why: str) -> None:
        if not self._state.needs_human:
            self._state.log(self.now, "needs-human", why)
        self._state.needs_human = True
        self._pause(why)

    def _pause(self, problem: str, longest: timedelta | None = None) -> None:
        """The next look: later each time, and not at the same instant as every other gate's."""
        state, timing = self._state, self._gate.timing
        state.problem = problem
        state.pause = min(state.pause * 2, longest or timing.ceiling) if state.pause else timing.poll
        state.next_look = self.now + state.pause * workflow.random().uniform(0.9, 1.1)
