"""A process of ours that breaks with all that it knows of a person: ``python -m tests.markers.troubled worker``.

Whom it breaks for is told by the reference of the engagement. Each place breaks once for each of them.
"""

import asyncio
import sys
from datetime import datetime

from domain.calls import Admission, AdmissionRequest
from domain.engagements import Engagement, EngagementRequest
from domain.events import ProviderEvent
from domain.model import E164
from domain.reading import Reader
from domain.sends import MessageThread, Send, SendNames, SendReceipt
from providers.meta.client import MetaClient
from providers.recrubo.client import RecruboClient
from starter.cli import main
from starter.service import EngagementService
from starter.views import Started
from store.contacts import Contacts
from store.registry import EngagementRegistry, EngagementRow, Registered

ADMISSION, REQUEST, READING, START, THREAD = "admission", "request", "reading", "start", "thread"
"""What breaks: these words end the references of those for whom it does."""
THREAD_DIGITS = "77"
"""The end of the numbers for which opening a thread breaks: a reference is not known there."""

_broken: set[tuple[str, str]] = set()


def _break(where: str, whom: str, knows: object) -> None:
    """Raise what a defect would: an error whose text has everything, with a cause that has it too."""
    if whom.endswith(where) and (where, whom) not in _broken:
        _broken.add((where, whom))
        try:
            raise KeyError(f"no row for {knows}")
        except KeyError as cause:
            raise ValueError(f"cannot go on with {knows}") from cause


async def _breaks_alone(knows: object) -> None:
    """A task that nobody waits for: asyncio itself tells of it."""
    raise ValueError(f"left alone with {knows}")


def _make_trouble() -> None:
    admit, trigger, thread = Contacts.admit, MetaClient.trigger_flow, RecruboClient.open_thread
    read, start, register = Reader.read_event, EngagementService.start, EngagementRegistry.register

    async def broken_admit(self: Contacts, request: AdmissionRequest) -> Admission:
        if request.workflow_id.endswith(ADMISSION):
            asyncio.get_running_loop().create_task(_breaks_alone(request))
        _break(ADMISSION, request.workflow_id, request)
        return await admit(self, request)

    async def undecided(
        self: EngagementRegistry,
        row: EngagementRow,
        engagement: Engagement | None = None,
        asked: AdmissionRequest | None = None,
    ) -> Registered:
        """Leave it to the engagement to ask, which is where it breaks."""
        return await register(self, row, engagement, None if row.reference.endswith(ADMISSION) else asked)

    async def broken_trigger(self: MetaClient, send: Send, names: SendNames) -> SendReceipt:
        receipt = await trigger(self, send, names)
        _break(REQUEST, send.workflow_id, send)
        return receipt

    async def broken_thread(self: RecruboClient, address: E164) -> MessageThread:
        if address.endswith(THREAD_DIGITS):
            _break(THREAD, THREAD, address)
        return await thread(self, address)

    def broken_read(self: Reader, event: ProviderEvent) -> None:
        _break(READING, self._engagement.reference, event)
        read(self, event)

    async def broken_start(self: EngagementService, request: EngagementRequest, now: datetime) -> Started:
        _break(START, request.reference, request)
        return await start(self, request, now)

    Contacts.admit = broken_admit  # type: ignore[method-assign]  # broken on purpose
    EngagementRegistry.register = undecided  # type: ignore[method-assign]  # broken on purpose
    MetaClient.trigger_flow = broken_trigger  # type: ignore[method-assign]  # broken on purpose
    RecruboClient.open_thread = broken_thread  # type: ignore[method-assign]  # broken on purpose
    Reader.read_event = broken_read  # type: ignore[method-assign]  # broken on purpose
    EngagementService.start = broken_start  # type: ignore[method-assign]  # broken on purpose


if __name__ == "__main__":
    _make_trouble()
    sys.argv = ["rapport", *sys.argv[1:]]
    main()
