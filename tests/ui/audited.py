"""Engagements to look at in the real Temporal UI, on the whole product, sealed as in production."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from pydantic import SecretStr
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.calls import Command
from domain.contacts import Candidate, Consent
from domain.engagements import EngagementRequest, Timing
from domain.ids import engagement_workflow_id
from domain.outcomes import EngagementResult
from domain.plans import Plan
from domain.topology import AccessToken, Role
from runtime.codec_desk import CodecDesk
from runtime.codec_server import DevelopmentEntrance, Entrance, create_codec_app
from starter.codec_access import CodecEntrance
from starter.engine import Engine
from starter.erasure import ErasureService
from starter.tokens import AccessTokens, ServiceTokens
from store.candidate_keys import DataKeys
from tests.e2e.sides import SIDES, Side
from tests.e2e.town import Town, open_town

TENANTS = {"acme": "reader-of-acme-0123456789", "globex": "reader-of-globex-0123456789"}
"""Who may read, and by which token; the engagements are acme's."""

HELD, WAITING, UNKNOWN, FINISHED, STOPPED, ERASED = (f"app-100{n}" for n in range(1, 7))
JOB = "REQ-2026-014"
NAME, CITY, QUESTION = "Wilhelmina", "Schoonrewoerd", "Is there parking at the depot?"
PHONES = {
    HELD: "+31610000011",
    WAITING: "+31600000095",
    UNKNOWN: "+31610000033",
    FINISHED: "+31600000001",
    STOPPED: "+31600000099",
    ERASED: "+31600000092",
}
OPERATOR, PAUSED_FOR, RESUMED_FOR, STOPPED_FOR = "olga", "the depot is closed", "the depot is open", "the job is filled"
A_MINUTE = timedelta(minutes=1)
_LOOK_S = 0.05


class Door:
    """The codec server's address, at which a test may put another entrance."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self.asked = 0

    def lead_to(self, app: ASGIApp | None) -> None:
        """Let this application answer; with None nobody does."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += scope["type"] == "http" and scope["method"] == "POST"
        if self._app is None:
            await PlainTextResponse("nobody is here", 503)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@dataclass
class Audited:
    """The town and its UI."""

    town: Town
    door: Door
    ui_url: str
    runs: dict[str, str] = field(default_factory=dict)

    def admit(self, entrance: Entrance) -> None:
        """Put this entrance before the codec server."""
        keys = DataKeys(self.town.stores.database, self.town.keys)  # not those that somebody else has at hand still
        desk = CodecDesk(keys, self.town.keys)
        self.door.lead_to(create_codec_app(desk, [self.ui_url], entrance))

    def admit_development(self) -> None:
        """Nobody is asked for a token, as on a developer's machine."""
        self.admit(DevelopmentEntrance())

    def admit_tenants(self) -> None:
        """Tenants' readers come in by their tokens; nobody has failed yet."""
        may, known = frozenset({Role.READ}), []
        for tenant, token in TENANTS.items():
            entry = AccessToken(name=f"{tenant}-audit", tenant=tenant, token="env:UNUSED", roles=may)
            known.append((entry, SecretStr(token)))
        self.admit(CodecEntrance(AccessTokens(known), ServiceTokens([])))

    def page_of(self, reference: str, tab: str) -> str:
        """The address of one engagement's page in the UI."""
        workflow_id = engagement_workflow_id("acme", reference)
        return f"{self.ui_url}/namespaces/default/workflows/{workflow_id}/{self.runs[reference]}/{tab}"

    async def found_by(self, query: str) -> set[str]:
        """Ids of what a query finds, as the list of the UI asks Temporal."""
        client = self.town.skipper.client
        return {found.id async for found in client.list_workflows(query)}

    async def engage(self, side: Side, reference: str, its: Plan | None = None, **timing: timedelta) -> None:
        """Start an engagement of the job."""
        await self.it_is_now()
        consent = Consent(source="careers page", obtained_at=datetime.now(UTC) - timedelta(days=1))
        candidate = Candidate(phone=PHONES[reference], variables={"first_name": NAME}, consent=consent)
        request = EngagementRequest(
            tenant="acme",
            reference=reference,
            line=side.line,
            candidate=candidate,
            plan=its or side.plan(name="warehouse-intake"),
            job=JOB,
            timing=Timing.model_validate(timing),
        )
        started = await self.town.service.start(request, datetime.now(UTC))
        handle = self.town.skipper.client.get_workflow_handle(started.workflow_id, result_type=EngagementResult)
        self.town.handles[reference] = handle
        described = await handle.describe()
        self.runs[reference] = described.run_id

    async def until(self, reference: str, stage: str) -> None:
        """Wait until it stands in this stage."""
        await until(lambda: self._stands(reference, stage))

    async def _stands(self, reference: str, stage: str) -> bool:
        view = await self.town.service.get("acme", reference)
        return view.snapshot is not None and view.snapshot.stage == stage

    async def it_is_now(self, later: timedelta = timedelta(0)) -> None:
        """For those who sit at the phones; the workflows' own clocks are real, and on a slow machine far ahead.

        What a provider tells of an instant long before a send is not taken to be about it.
        """
        self.town.calendar.now = max(self.town.calendar.now, datetime.now(UTC)) + later
        to = self.town.calendar.now.isoformat()
        (await self.town.sandbox.post("/control/clock/advance", json={"to": to})).raise_for_status()

    async def a_minute_passes(self) -> None:
        """At the phones."""
        await self.it_is_now(A_MINUTE)
        await self.town.settled()

    async def play(self) -> None:
        """Bring everybody where they are to be looked at."""
        recrubo, meta = SIDES["recrubo"], SIDES["meta"]
        await self.town.seat(PHONES[WAITING], "texts", text=QUESTION)
        await self.town.seat(PHONES[FINISHED], "answers", answers={"city": CITY})
        await self.town.fault(meta, "cut-before", number=PHONES[UNKNOWN][1:])
        await self.engage(meta, UNKNOWN, reconcile_settle=timedelta(milliseconds=100))
        await self.until(UNKNOWN, "reconciling")
        await self.engage(recrubo, WAITING)
        await self.engage(recrubo, FINISHED)
        await self.engage(recrubo, STOPPED)
        await self.engage(recrubo, ERASED)
        await self.until(WAITING, "awaiting-answer")
        await self.until(STOPPED, "awaiting-answer")
        pause = Command(command_id="pause-1", actor=OPERATOR, reason=PAUSED_FOR)
        await self.town.service.pause("acme", WAITING, pause)
        resume = Command(command_id="resume-1", actor=OPERATOR, reason=RESUMED_FOR)
        await self.town.service.resume("acme", WAITING, resume)
        await self.a_minute_passes()
        await self.town.result(FINISHED)
        await self.town.service.stop("acme", STOPPED, Command(command_id="s-1", actor=OPERATOR, reason=STOPPED_FOR))
        await self.town.result(STOPPED)
        await self.erase(ERASED)
        under_review = {"status": "PENDING"}
        (await self.town.sandbox.post("/control/meta/templates/11", json=under_review)).raise_for_status()
        await self.engage(meta, HELD)
        await self.until(HELD, "held")
        await self.town.settled()
        await until(self._is_listed)

    async def erase(self, reference: str) -> None:
        """Erase the person behind an engagement, as ``rapport erase`` does."""
        stores = self.town.stores
        engine = Engine(self.town.skipper.client)
        service = ErasureService(stores.erasures, stores.contacts, stores.registry, engine)
        await self.town.result(reference)
        command = Command(command_id=f"erase-{reference}", actor=OPERATOR, reason="asked by letter")
        assert (await service.erase(await service.find(reference, "acme"), command)).is_done

    async def _is_listed(self) -> bool:
        """Temporal's list is a moment behind."""
        running = await self.found_by("ExecutionStatus = 'Running' AND EngagementStage IN ('held', 'reconciling')")
        closed = await self.found_by("EngagementStage = 'closed' AND ExecutionStatus = 'Completed'")
        waiting = await self.found_by("EngagementStage = 'awaiting-answer' AND NextActionAt IS NOT NULL")
        return (len(running), len(closed), len(waiting)) == (2, 3, 1)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it."""
    for _ in range(int(60 / _LOOK_S)):
        if await is_so():
            return
        await asyncio.sleep(_LOOK_S)
    raise AssertionError(f"never came to be: {is_so}")


class _Served(uvicorn.Server):
    """A server within the tests, which leaves signals alone.

    uvicorn puts back, when it ends, the handlers that it found when it began: one of a run of the loop that is over by
    then, which tears whoever is interrupted next out of what they do.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


@asynccontextmanager
async def open_audited(directory: Path) -> AsyncIterator[Audited]:
    """Start everything, the UI and its codec server included, and bring everybody where they are to be looked at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with open_town(directory, codec_endpoint=endpoint) as town:
            door = Door()
            assert town.ui_url is not None
            server = _Served(uvicorn.Config(door, lifespan="off", log_config=None, access_log=False))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                audited = Audited(town, door, town.ui_url)
                audited.admit_tenants()
                await audited.play()
                yield audited
            finally:
                server.should_exit = True
                await serving
