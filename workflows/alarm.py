"""The one timer of a wait. News that change nothing of what is waited for leave it as it is.

A timer that is set anew for each delivery status costs an Action and two events a time.
"""

import asyncio
from datetime import datetime

from temporalio import workflow

from domain.audit import AuditLine
from domain.state import until


class Alarm:
    """Rings at an instant. It is set anew only for another one, or where something else is waited for."""

    def __init__(self) -> None:
        self._set_for: tuple[datetime, AuditLine] | None = None
        self._timer: asyncio.Task[None] | None = None

    def set(self, at: datetime, why: AuditLine) -> None:
        """Ring at ``at``; ``why`` is what people read of the timer."""
        if self._set_for == (at, why) and not self.rings():
            return
        self.stop()
        self._set_for = (at, why)
        self._timer = asyncio.create_task(workflow.sleep(until(at, workflow.now()), summary=why))

    def rings(self) -> bool:
        """Whether the instant has come."""
        return self._timer is not None and self._timer.done()

    def stop(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._set_for, self._timer = None, None
