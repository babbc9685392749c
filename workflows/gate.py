"""Everybody who waits for one template, flow, line or account waits here, and goes on together."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from domain import names
from domain.audit import summary
from domain.calls import Command, CommandResult
from domain.errors import Scope
from domain.events import ProviderEvents
from domain.gates import (
    Gate,
    GateJoin,
    GateLeave,
    GateResult,
    GateSnapshot,
    GateState,
    GateVerdict,
    Ruling,
)
from domain.state import until
from workflows import search_attributes as attributes
from workflows.gate_calls import GateCalls
from workflows.gate_looking import Looking
from workflows.gate_story import gate_details, gate_reason, gate_snapshot

FIRST_JOIN = timedelta(minutes=1)
PAGE = 500
"""Waiters that one activity tells: its payload stays small, and news is heard between two pages."""


@workflow.defn(name=names.GATE)
class GateWorkflow:
    """One gate, open as a workflow for as long as somebody waits or a submission is undecided."""

    @workflow.init  # before any signal; takes up what continue-as-new carried over
    def __init__(self, gate: Gate, state: GateState | None = None) -> None:
        self._gate = gate
        self._state = state or GateState(since=workflow.now())
        self._calls = GateCalls(gate)
        self._looking = Looking(gate, self._state, self._calls)

    @workflow.run
    async def run(self, gate: Gate, state: GateState | None = None) -> GateResult:
        """Hear, look, decide, tell, until nobody waits."""
        await self._hear_the_first()
        while not self._is_over():
            self._obey()
            if self._state.ruling is not None:
                await self._tell_next_page(self._state.ruling)
            elif self._state.resubmit_wanted:
                await self._looking.submit(again=True)
            elif self._looking.is_due():
                await self._looking.look()
            else:
                await self._rest()
            self._show()
            await self._continue_if_due()
        self._state.closed = True
        self._show()
        return self._result()

    @workflow.signal(name=names.JOIN, description="An engagement waits here")
    def join(self, join: GateJoin) -> None:
        """Appends, decides nothing, never raises."""
        self._state.join(join, workflow.now())

    @workflow.signal(name=names.LEAVE, description="An engagement waits no longer")
    def leave(self, leave: GateLeave) -> None:
        """Takes out, decides nothing, never raises."""
        self._state.leave(leave)

    @workflow.signal(name=names.TEMPLATE_STATUS, description="The provider told that something happened to it")
    def template_status(self, batch: ProviderEvents) -> None:
        """Asks for a look, decides nothing, never raises."""
        self._state.told(batch)

    @workflow.update(name=names.RELEASE, description="Let everybody go on, whatever the provider says")
    def release(self, command: Command) -> CommandResult:
        """Open on a person's word."""
        return self._accept(names.RELEASE, command, "opening; everybody who waits goes on")

    @workflow.update(name=names.REJECT, description="End everybody who waits")
    def reject(self, command: Command) -> CommandResult:
        """Refuse on a person's word."""
        return self._accept(names.REJECT, command, "refusing; everybody who waits ends")

    @workflow.update(name=names.RECHECK, description="Look again now")
    def recheck(self, command: Command) -> CommandResult:
        """Look again."""
        return self._accept(names.RECHECK, command, "looking again")

    @workflow.update(name=names.RESUBMIT, description="Submit the template's specification once more")
    def resubmit(self, command: Command) -> CommandResult:
        """Submit once more, after a person looked."""
        return self._accept(names.RESUBMIT, command, "submitting once more")

    @resubmit.validator
    def _may_resubmit(self, command: Command) -> None:
        if self._gate.scope is not Scope.TEMPLATE:
            text = "only a template can be submitted, and this gate holds something else"
            raise ApplicationError(text, type=names.NOT_ALLOWED, non_retryable=True)

    @workflow.query(name=names.SNAPSHOT, description="Where the gate stands")
    def snapshot(self) -> GateSnapshot:
        """Where the gate stands."""
        return gate_snapshot(self._gate, self._state, self._looking.due_at())

    def _accept(self, name: str, command: Command, text: str) -> CommandResult:
        return self._state.accept(name, command, text, workflow.now())

    async def _hear_the_first(self) -> None:
        """Whoever starts a gate joins it in the same request; nobody waits before that is heard."""
        if not (self._state.joined or self._gate.watch):
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: bool(self._state.joined or self._state.unread_commands),
                    timeout=FIRST_JOIN,
                    timeout_summary=summary("the first to join"),
                )
        self._show()

    def _is_over(self) -> bool:
        state = self._state
        busy = state.waiting or state.trial or state.trial_passed or state.unread_commands or state.ruling
        return not busy and not (self._gate.watch and state.decided is None) and not state.resubmit_wanted

    def _obey(self) -> None:
        """Act on what people asked for, in order."""
        state, now = self._state, self._looking.now
        while state.unread_commands:
            name, command = state.unread_commands.pop(0)
            match name:
                case names.RELEASE:
                    said = Ruling(
                        verdict=GateVerdict.OPEN,
                        reason=command.reason,
                        actor=command.actor,
                        override=self._gate.scope is Scope.TEMPLATE,
                        lift=True,
                    )
                    state.rule(said, now)
                case names.REJECT:
                    state.rule(Ruling(verdict=GateVerdict.REFUSED, reason=command.reason, actor=command.actor), now)
                case _:
                    state.log(now, name, command.reason, command.actor)
                    state.recheck_wanted = state.recheck_wanted or name == names.RECHECK
                    state.resubmit_wanted = state.resubmit_wanted or name == names.RESUBMIT

    async def _tell_next_page(self, ruling: Ruling) -> None:
        """One page of those who wait; a template that was shut meanwhile keeps the rest."""
        state = self._state
        told = state.waiting or ruling.lift or ruling.override  # a person's word counts where nobody waits as well
        if told and not self._was_shut_again(ruling):
            page = state.taken(PAGE)
            released = await self._calls.release(self._looking.page(page, ruling))
            state.released += released.told
            state.gone += released.gone
            # what is lifted and overridden once is not taken back for the next page
            state.ruling = ruling.model_copy(update={"lift": False, "override": False})
        if not state.waiting or self._was_shut_again(ruling):
            state.ruling = None

    def _was_shut_again(self, ruling: Ruling) -> bool:
        state = self._state
        opening = ruling.verdict is GateVerdict.OPEN and not ruling.actor and self._gate.scope is Scope.TEMPLATE
        return opening and (state.recheck_wanted or bool(state.reading and not state.reading.template_status.sends))

    async def _rest(self) -> None:
        """Wait until something is due or somebody says something that matters; who joins is only written down."""
        looking, state = self._looking, self._state
        alone, trial, wants, due = not state.waiting, state.trial, state.recheck_wanted, looking.due_at()

        def news() -> bool:
            moved = state.trial != trial or state.recheck_wanted != wants or state.trial_passed
            sooner = looking.due_at() < due
            left = not alone and not state.waiting
            return bool(state.unread_commands or moved or sooner or left or self._carries_too_much())

        try:
            look = summary("the next look", gate_reason(state))
            await workflow.wait_condition(news, timeout=until(due, looking.now), timeout_summary=look)
        except TimeoutError:
            return

    def _carries_too_much(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.is_target_worker_deployment_version_changed()

    async def _continue_if_due(self) -> None:
        if self._carries_too_much() and not self._is_over():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(args=[self._gate, self._state])

    def _show(self) -> None:
        """Current details always; a search attribute only when a person is wanted or no longer so."""
        state = self._state
        workflow.set_current_details(gate_details(self._gate, state, self._looking.due_at()))
        known = workflow.info().typed_search_attributes.get(attributes.NEEDS_HUMAN, default=False)
        if known != state.needs_human:
            workflow.upsert_search_attributes([attributes.NEEDS_HUMAN.value_set(state.needs_human)])

    def _result(self) -> GateResult:
        state = self._state
        return GateResult(
            gate=self._gate.workflow_id,
            verdict=state.decided,
            joined=state.joined,
            left=state.left,
            released=state.released,
            looks=state.looks,
            decisions=tuple(state.decisions),
        )
