"""The command ``rapport demo``."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.rule import Rule

from domain.engagements import EngagementRequest, Timing
from domain.errors import NotFound, SetupError
from domain.ids import engagement_workflow_id
from domain.model import E164
from runtime.dev_server import DevServer
from runtime.metrics import temporal_runtime
from runtime.processes import open_process
from runtime.settings import LogLevel, Settings, load_settings
from starter.batch import Asked, check_batch, read_batch, start_batch
from starter.cli.demo.pace import paced
from starter.cli.demo.phones import Phones
from starter.cli.demo.processes import Child, free_port, wait_for_port, wait_for_words
from starter.cli.demo.story import CASTS, GATE, Addresses, Script
from starter.cli.demo.table import TENANT, Row, closing_table, gate_line, live_table
from starter.cli.stories import print_story
from starter.gates import GateService, OpenGate
from starter.parts import service_of
from starter.service import EngagementService
from workflows import search_attributes

LOOK_S = 0.4
LOG_WIDTH = 140
"""Columns where nobody's terminal sets them: the closing table fits on lines of its own."""
SHORT = Timing(
    send_start_to_close=timedelta(seconds=9),
    lookup_start_to_close=timedelta(seconds=9),
    reconcile_settle=timedelta(seconds=6),
    provider_pause=timedelta(seconds=5),
    failure_settle=timedelta(seconds=3),
    ats_budget=timedelta(minutes=5),
)
"""Technical waits of the demo; the defaults are minutes."""


def run_demo(
    *,
    stay: Annotated[
        bool | None, typer.Option("--stay/--leave", help="Stay up at the end; default: on a terminal.")
    ] = None,
    limit: Annotated[float, typer.Option(help="Seconds after which an engagement without an end is a failure.")] = 180,
) -> None:
    """Carry engagements through every end, on this machine alone: Temporal, gateway, worker, a simulated provider."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=LOG_WIDTH)
    stays = console.is_terminal and sys.stdin.isatty() if stay is None else stay
    directory = load_settings().state_dir.absolute() / "demo"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        all_right = asyncio.run(_until_told(Demo(console, directory, limit, stays=stays)))
    except asyncio.CancelledError:
        console.print("ended")
        raise typer.Exit(130) from None
    raise typer.Exit(0 if all_right else 1)


async def _until_told(demo: "Demo") -> bool:
    """Run the demo; SIGINT and SIGTERM end it in order, also where a shell lets background jobs ignore the first."""
    running = asyncio.create_task(demo.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    return await running


class Demo:
    """One run of the demo."""

    def __init__(self, console: Console, directory: Path, limit: float, *, stays: bool) -> None:
        self._console, self._directory, self._limit, self._stays = console, directory, limit, stays
        self._addresses = Addresses(
            sandbox=free_port(9400),
            webhooks=free_port(8080),
            rest=free_port(8081),
            codec=free_port(8082),
            ui=free_port(8233),
        )
        self._script = Script(directory, self._addresses)
        self._rows = {reference: Row(expected) for reference, expected in self._script.story.items()}
        self._children: dict[str, Child] = {}

    async def run(self) -> bool:
        """Start everything, carry the engagements through, show it. True when all ended as expected."""
        temporal_runtime()  # before the first client of this process, whoever makes it
        async with AsyncExitStack() as stack:
            server = await self._start_temporal(stack)
            self._script.write()
            environment = self._script.environment(server.address)
            self._script.keep(environment)
            await self._start_children(stack, environment)
            os.environ.update(environment)  # what the processes were told is what the service below goes by
            phones = await stack.enter_async_context(Phones(self._addresses.sandbox))
            parts = await stack.enter_async_context(open_process(_quiet(load_settings())))
            service, gates = service_of(parts), GateService(parts.client, parts.stores.holds)
            numbers = await self._start_engagements(service, phones)
            async with self._kept_up():
                await self._watch(service, gates, phones, numbers)
                all_right = self._report(server.ui_url or "", await gates.look(GATE))
                await self._point_to_stories(service)
                if self._stays:
                    self._console.print("Everything stays up for you to look at; Ctrl-C ends it.")
                    await asyncio.Event().wait()
        return all_right

    async def _start_temporal(self, stack: AsyncExitStack) -> DevServer:
        self._say("Temporal dev server")
        server = await DevServer.start(
            data=self._directory / "temporal.sqlite3",
            ui=True,
            ui_port=self._addresses.ui,
            codec_endpoint=f"http://127.0.0.1:{self._addresses.codec}",
            search_attributes=search_attributes.ALL,
            progress=self._console.print,
        )
        return await stack.enter_async_context(server)

    async def _start_children(self, stack: AsyncExitStack, environment: Mapping[str, str]) -> None:
        wanted = {
            "sandbox": (["sandbox", "--config", str(self._script.sandbox)], self._addresses.sandbox),
            "gateway": (["gateway"], self._addresses.rest),
            "codec server": (["codec-server", "--dev"], self._addresses.codec),
            "worker": (["worker"], None),
        }
        for name, (words, _) in wanted.items():
            child = Child(name, words, environment, self._directory / f"{name.replace(' ', '-')}.log")
            self._children[name] = child
            await child.start()
            stack.push_async_callback(child.stop)
        for name, (_, port) in wanted.items():
            if port is None:
                await wait_for_words(self._children[name], "worker_ready")
            else:
                await wait_for_port(self._children[name], port)
            self._say(f"{name} (pid {self._children[name].pid})")

    async def _start_engagements(self, service: EngagementService, phones: Phones) -> dict[str, E164]:
        now = datetime.now(UTC)
        everybody: list[Asked] = []
        numbers: dict[str, E164] = {}
        for cast in CASTS:
            asked, mistakes = read_batch(cast.plan, cast.candidates, tenant=TENANT, line=cast.line, region=None)
            asked = [Asked(request=_hurried(one.request), line=one.line) for one in asked]
            check_batch(service, asked, mistakes, file=str(cast.candidates), now=now)
            theirs = {one.request.reference: one.request.candidate.phone for one in asked}
            if strangers := set(theirs) - set(self._rows):
                raise SetupError(f"examples/demo/story.yaml does not know {', '.join(sorted(strangers))}")
            await phones.arm(cast, theirs, self._script.story)
            everybody += asked
            numbers |= theirs
        if missing := set(self._rows) - set(numbers):
            raise SetupError(f"examples/demo/story.yaml names nobody's {', '.join(sorted(missing))}")
        await start_batch(service, everybody, now, lambda _: None)
        self._say(f"{len(everybody)} engagements started")
        return numbers

    async def _watch(
        self, service: EngagementService, gates: GateService, phones: Phones, numbers: Mapping[str, E164]
    ) -> None:
        until = asyncio.get_running_loop().time() + self._limit
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while asyncio.get_running_loop().time() < until:
                looks = (self._look(service, phones, reference, number) for reference, number in numbers.items())
                await asyncio.gather(*looks)
                gate = gate_line(await gates.look(GATE))
                live.update(live_table(self._rows, f"{gate}\n{self._worker_line()}"))
                if all(row.is_over for row in self._rows.values()):
                    return
                await asyncio.sleep(LOOK_S)

    async def _look(self, service: EngagementService, phones: Phones, reference: str, number: E164) -> None:
        row = self._rows[reference]
        row.messages = await phones.received(number)
        if row.is_over:
            return
        try:
            row.view = await service.get(TENANT, reference)
        except NotFound:  # not registered yet
            row.view = None

    @asynccontextmanager
    async def _kept_up(self) -> AsyncIterator[None]:
        """Start again what dies. Not between two looks: without a worker, each engagement is long in answering."""
        over = asyncio.Event()

        async def keep() -> None:
            while not over.is_set():
                for name, child in self._children.items():
                    if await child.revive():
                        self._console.print(f"[yellow]the {name} died and was started again (pid {child.pid})[/]")
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), LOOK_S)

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            over.set()
            await keeping

    def _worker_line(self) -> str:
        worker = self._children["worker"]
        return f"try it: kill -9 {worker.pid} ends the worker; it is started again and nothing is lost or sent twice"

    def _report(self, ui: str, gate: OpenGate) -> bool:
        self._console.print(closing_table(self._rows, ui))
        self._console.print(f"the template gate, {gate_line(gate)}  (…/workflows/{gate.gate})")
        one = engagement_workflow_id(TENANT, next(iter(self._rows)))
        self._console.print(f"Temporal UI: {ui}/namespaces/default/workflows  (one engagement: …/workflows/{one})")
        self._console.print(f"REST and its documentation: http://127.0.0.1:{self._addresses.rest}/docs")
        self._console.print(f"logs: {self._directory}/*.log")
        wrong = [reference for reference, row in self._rows.items() if not row.is_right]
        if wrong:
            self._console.print(f"[bold red]not as expected: {', '.join(wrong)}[/]")
        return not wrong

    async def _point_to_stories(self, service: EngagementService) -> None:
        """Tell one story whole, and how to read the others."""
        first, *others = [reference for reference, row in self._rows.items() if row.expected.worth_reading]
        told = (await service.trace(TENANT, first)).story
        if told is not None:
            self._console.print(Rule("why each message was sent or not", align="left"))
            print_story(told, self._console)
            self._console.print(Rule())
        self._console.print(f"more stories worth reading: {', '.join(others)}. For any of them:")
        command = f"(set -a; . {self._script.variables}; .venv/bin/rapport trace {others[0]})"
        self._console.print(f"  {command}", soft_wrap=True)

    def _say(self, what: str) -> None:
        self._console.print(f"[green]up[/]  {what}")


def _hurried(request: EngagementRequest) -> EngagementRequest:
    return request.model_copy(update={"plan": paced(request.plan), "timing": SHORT})


def _quiet(settings: Settings) -> Settings:
    return settings.model_copy(update={"log": settings.log.model_copy(update={"level": LogLevel.ERROR})})
