"""Tells the tenant's system how far an engagement is, beside everything else: only the end waits for it.

A fresh run tells again what the run before it had not seen taken: at least once, under the same id.
"""

import asyncio
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain.ats import AtsEvent
from domain.calls import AtsNotice, EngagementProgress
from workflows.progress import Progress


class Notices:
    """Notices of one engagement's progress, for tenants that asked for them."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._state = progress, progress.state
        self._under_way: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Go on with what an earlier run began to tell."""
        for notice in self._state.notices:
            self._begin(notice)

    def make(self, event: AtsEvent) -> None:
        """Begin to tell ``event``, once, where the tenant asked for it."""
        engagement, state = self._progress.engagement, self._state
        if event.value not in engagement.ats_events or event.value in state.notices_made:
            return
        notice = AtsNotice(
            event_id=f"{workflow.info().workflow_id}:{event.name.lower()}",
            event_type=event.value,
            progress=EngagementProgress(
                tenant=engagement.tenant,
                reference=engagement.reference,
                job=engagement.job,
                plan=engagement.plan.name,
                stage=state.stage.value,
            ),
            at=self._progress.now,
        )
        state.notices_made.append(event.value)
        state.notices.append(notice)
        self._begin(notice)

    async def finish(self) -> None:
        """Wait until each was taken or given up; a cancel of the workflow does not hurry them."""
        while self._state.notices:
            with suppress(asyncio.CancelledError):
                await workflow.wait_condition(lambda: not self._state.notices)

    def _begin(self, notice: AtsNotice) -> None:
        task = asyncio.create_task(self._tell(notice))
        self._under_way.add(task)  # a loop holds its tasks weakly
        task.add_done_callback(self._under_way.discard)

    async def _tell(self, notice: AtsNotice) -> None:
        try:
            await self._progress.calls.notify_ats(notice)
        except ActivityError:
            self._progress.log("ats-not-told", f"the tenant's system did not take {notice.event_type}")
        self._state.notices = [one for one in self._state.notices if one.event_id != notice.event_id]
