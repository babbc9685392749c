"""One engagement on its way: its input and state, how it waits, and how it shows where it stands."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate
from temporalio.workflow import ActivityHandle

from domain.audit import AuditLine, summary
from domain.engagements import Engagement
from domain.following import Following
from domain.going_over import GoingOver
from domain.migration import Migration
from domain.outcomes import EngagementOutcome
from domain.plans import Plan, TemplateRef
from domain.reading import Reader
from domain.state import EngagementState, Stage, until
from workflows import search_attributes as attributes
from workflows.alarm import Alarm
from workflows.calls import Calls
from workflows.story import current_details, why_waiting

Answer = TypeVar("Answer")
Updates = list[SearchAttributeUpdate[str] | SearchAttributeUpdate[bool] | SearchAttributeUpdate[datetime]]

MARKETING_APART = "marketing-apart"
"""Engagements that ended by an opt-out from marketing under the release before it stay ended."""

WAITS = (Stage.HELD, Stage.RECONCILING, Stage.AWAITING_ANSWER, Stage.PAUSED, Stage.CLOSED)
"""Stages that last, so that people look for them."""


class Progress:
    """What every step of an engagement works with. The workflow owns the only one."""

    def __init__(self, engagement: Engagement, state: EngagementState) -> None:
        self._engagement, self.state = engagement, state
        self.calls = Calls(engagement.timing)
        self.waiting_for = ""
        self.until: datetime | None = None
        self.acting_on = 0
        """Place of the follow-up that is being prepared or sent; not carried, since no run ends in the midst of one."""
        self._alarm = Alarm()
        self._asked: tuple[Stage, str, datetime | None] | None = None
        """What was last to be shown; while an operator's pause is in force that is shown in its place."""

    @property
    def engagement(self) -> Engagement:
        """The engagement as it goes on now: its input, with what it has moved to since."""
        return self.state.applied_to(self._engagement)

    @property
    def following(self) -> Following:
        """The follow-ups of the plan as it is now."""
        return Following(self.engagement, self.state)

    @property
    def now(self) -> datetime:
        """The workflow's clock."""
        return workflow.now()

    def with_id(self, template: TemplateRef) -> TemplateRef:
        """The template as its provider sends it: where it sends by id and the plan names none, by the one found."""
        found = self.state.template_ids.get(f"{template.name}:{template.language}", "")
        if template.id or not found or not self.engagement.route.capabilities.reads_templates_by_id:
            return template
        return template.model_copy(update={"id": found})

    def is_settled(self) -> bool:
        """Whether there is nothing more to do on this line: the outcome is decided, or it goes on on another."""
        return self.state.settlement is not None or self.state.leaving is not None

    @property
    def ends_at(self) -> datetime:
        """The instant by which the engagement ends whatever happens."""
        return self.state.started_at + self.engagement.plan.longest

    def reader(self) -> Reader:
        """A reader for this instant."""
        return Reader(self.engagement, self.state, self.now, lambda: workflow.patched(MARKETING_APART))

    def migration(self, plan: Plan, from_version: int | None) -> Migration:
        """What going on by this plan would mean now."""
        engagement, acting_on = self.engagement, self.acting_on
        return Migration(engagement, self.state, plan, self.now, from_version=from_version, acting_on=acting_on)

    def log(self, rule: str, text: str) -> None:
        """Add a line to the decision log."""
        self.state.log(self.now, rule, text)

    def settle(self, outcome: EngagementOutcome, rule: str, reason: str) -> None:
        """Decide the outcome, unless it is decided."""
        self.state.settle(outcome=outcome, rule=rule, reason=reason, at=self.now)

    @property
    def going_over(self) -> GoingOver:
        """The way to the fallback line of the plan as it is now."""
        return GoingOver(self.engagement, self.state)

    def leave_or_settle(self, outcome: EngagementOutcome, rule: str, reason: str) -> None:
        """Nothing reached the candidate: go on on the fallback line where the plan has one, else end so."""
        if not self.going_over.leave(outcome, rule, reason, self.now):
            self.settle(outcome, rule, reason)

    async def wait(
        self, stage: Stage, waiting_for: str, end: datetime, also: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait for news until ``end``; news that arrived by then is read, so a reply that ties with a deadline wins.

        ``also`` ends the wait too.
        """
        self.reader().read_news()
        if self.is_settled() or end <= self.now or also():
            return
        self.show(stage, waiting_for, end)
        why = summary(waiting_for, why_waiting(self.state))
        try:
            if self.state.fewer_steps:
                await self._wait_for_alarm(end, why, also)
            else:
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self.state.has_news() or also(), timeout=until(end, self.now), timeout_summary=why
                    )
        except asyncio.CancelledError:
            self._cancelled()
        if stage is not Stage.AWAITING_ANSWER:  # what comes next is no wait for the same
            self._alarm.stop()
        self.reader().read_news()

    def stop_waiting(self) -> None:
        """No timer is left of a wait that is over, where something may still take long."""
        self._alarm.stop()

    async def _wait_for_alarm(self, end: datetime, why: AuditLine, also: Callable[[], bool]) -> None:
        self._alarm.set(end, why)
        await workflow.wait_condition(lambda: self.state.has_news() or also() or self._alarm.rings())

    async def finish(
        self,
        handle: ActivityHandle[Answer],
        *,
        recall: bool = True,
        leaves_us: bool = False,
        unwanted: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Await an activity while listening. With ``recall`` it is cancelled as soon as the outcome is decided.

        What ``leaves_us`` is cancelled when the engagement is paused as well, and everything when it is ``unwanted``.

        Raises ActivityError as the activity ended.
        """
        recalled = False
        while not handle.done():
            try:
                await workflow.wait_condition(lambda: handle.done() or self.state.has_news())
            except asyncio.CancelledError:
                self._cancelled()
                # An activity whose ending came in this very task must not be cancelled any more: that would lose it.
                # Conditions are looked at when all that is ready has run, its handle included.
                await workflow.wait_condition(lambda: True)
            self.reader().read_news()
            self._show_again_if_paused_or_resumed()
            to_recall = (recall and self.is_settled()) or (leaves_us and self.state.pause is not None) or unwanted()
            if to_recall and not recalled and not handle.done():
                handle.cancel()
                recalled = True
        return await handle

    def show(self, stage: Stage, waiting_for: str, end: datetime | None = None) -> None:
        """Show where the engagement stands: current details always, search attributes when a wait starts and at close.

        An upsert is a billed action and a history event, and a step that takes a second is nobody's query.
        """
        self._asked = (stage, waiting_for, end)
        if self.state.pause is not None:
            stage = Stage.PAUSED
        self.state.stage, self.waiting_for, self.until = stage, waiting_for, end
        if stage in WAITS or workflow.info().typed_search_attributes.get(attributes.STAGE) == Stage.PAUSED.value:
            self._make_findable(stage, end)
        since = workflow.info().typed_search_attributes.get(attributes.WAITING_SINCE) if stage in WAITS else None
        workflow.set_current_details(current_details(self.engagement, self.state, waiting_for, end, since))

    def show_line(self) -> None:
        """Make it findable by the line that it goes on by."""
        route = self.engagement.route
        line, provider = attributes.LINE.value_set(route.line), attributes.PROVIDER.value_set(route.provider)
        workflow.upsert_search_attributes([line, provider])

    def _show_again_if_paused_or_resumed(self) -> None:
        is_shown = self.state.stage is Stage.PAUSED
        if self._asked is not None and not self.is_settled() and is_shown is not (self.state.pause is not None):
            self.show(*self._asked)

    def _make_findable(self, stage: Stage, end: datetime | None) -> None:
        known = workflow.info().typed_search_attributes
        changes: Updates = []
        if known.get(attributes.STAGE) != stage.value:
            changes.append(attributes.STAGE.value_set(stage.value))
        gate = self.state.hold.gate if self.state.hold else ""
        if known.get(attributes.HELD_BY, default="") != gate:
            changes.append(attributes.HELD_BY.value_set(gate) if gate else attributes.HELD_BY.value_unset())
        if known.get(attributes.NEEDS_HUMAN, default=False) != self.state.needs_human:
            changes.append(attributes.NEEDS_HUMAN.value_set(self.state.needs_human))
        if end is not None and known.get(attributes.NEXT_ACTION_AT) != end:
            changes.append(attributes.NEXT_ACTION_AT.value_set(end))
        if stage is Stage.CLOSED and self.state.settlement is not None:
            changes += [
                attributes.OUTCOME.value_set(self.state.settlement.outcome.value),
                attributes.NEXT_ACTION_AT.value_unset(),
            ]
        if changes:
            workflow.upsert_search_attributes([*changes, *self._riding_along(stage)])

    def _riding_along(self, stage: Stage) -> Updates:
        """What is upserted only together with something else, so that it never is an action of its own."""
        known, hold = workflow.info().typed_search_attributes, self.state.hold
        is_unknown = self.state.unknown_send() is not None
        changes: Updates = []
        if stage is Stage.CLOSED:
            changes.append(attributes.WAITING_SINCE.value_unset())
        elif known.get(attributes.STAGE) != stage.value:
            changes.append(attributes.WAITING_SINCE.value_set(self.now))
        if known.get(attributes.HOLD_RULE, default="") != (hold.rule if hold else ""):
            changes.append(attributes.HOLD_RULE.value_set(hold.rule) if hold else attributes.HOLD_RULE.value_unset())
        if known.get(attributes.SEND_UNKNOWN, default=False) != is_unknown:
            changes.append(attributes.SEND_UNKNOWN.value_set(is_unknown))
        return changes

    def _cancelled(self) -> None:
        """Cancelled in Temporal itself: that is a stop, and the candidate and the ATS still get a proper end."""
        self.settle(EngagementOutcome.STOPPED, "cancelled", "cancelled in Temporal")
