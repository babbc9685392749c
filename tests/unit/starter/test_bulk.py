"""A command for many reaches all who can be reached, whatever becomes of one of them, and says whom it did not."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from typer.testing import CliRunner

from domain import ids, names
from domain.calls import Command, CommandResult
from domain.errors import BadInput, EngineUnavailable, NotAnswered
from domain.state import Stage
from starter.bulk import AT_ONCE, PAGE, BulkResult, BulkRow, BulkService, Which, which_of
from starter.cli import app
from starter.cli.session import Session
from starter.engine import Engine
from starter.service import EngagementService
from tests.unit.starter.world import TOPOLOGY

COMMAND = Command(command_id="bulk-1", actor="kim", reason="audit")
Deed = Callable[[str], None]


def id_of(reference: str) -> str:
    return ids.engagement_workflow_id("acme", reference)


class ScriptedEngine(Engine):
    """Temporal by a script: whom a query finds, look by look, and what becomes of each command."""

    def __init__(self, *looks: tuple[str, ...], deed: Deed = lambda reference: None) -> None:
        self._looks, self._deed = list(looks), deed
        self.given: list[str] = []

    async def matching(self, query: str) -> tuple[str, ...]:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return tuple(id_of(reference) for reference in look)

    async def command(self, workflow_id: str, update: str, command: Command) -> CommandResult:
        await asyncio.sleep(0)
        reference = workflow_id.removeprefix(id_of(""))
        self._deed(reference)
        self.given.append(reference)
        return CommandResult(
            command_id=command.command_id, command=update, accepted=True, text="done", at=datetime.now(UTC)
        )


def numbered(count: int) -> tuple[str, ...]:
    return tuple(f"app-{n:04d}" for n in range(count))


async def given_to(engine: ScriptedEngine, who: tuple[str, ...]) -> tuple[dict[str, BulkResult], list[BulkRow]]:
    seen: list[BulkRow] = []
    report = await BulkService(engine).carry_out(names.PAUSE, "acme", who, COMMAND, seen.append)
    return {row.reference: row.result for row in report.rows}, seen


async def test_one_that_never_answers_does_not_keep_the_command_from_the_others() -> None:
    who, stuck = numbered(PAGE * 2 + 50), {"app-0003", "app-0110"}

    def deed(reference: str) -> None:
        if reference in stuck:
            raise NotAnswered("its workflow task fails")

    rows, seen = await given_to(ScriptedEngine(deed=deed), who)
    assert {reference for reference, result in rows.items() if result is BulkResult.UNAVAILABLE} == stuck
    assert sum(result is BulkResult.DONE for result in rows.values()) == len(who) - 2
    assert len(seen) == len(who)


async def test_when_nobody_answers_any_more_it_is_not_tried_with_all_of_them() -> None:
    def deed(reference: str) -> None:
        if reference >= "app-0050":
            raise NotAnswered("no worker")

    rows, _ = await given_to(ScriptedEngine(deed=deed), numbered(500))
    counted = list(rows.values())
    assert counted.count(BulkResult.DONE) == 50
    assert counted.count(BulkResult.UNAVAILABLE) < 2 * AT_ONCE
    assert counted.count(BulkResult.NOT_TRIED) > 400


async def test_an_outage_of_temporal_ends_it_at_once() -> None:
    def deed(reference: str) -> None:
        raise EngineUnavailable("no connection")

    rows, _ = await given_to(ScriptedEngine(deed=deed), numbered(100))
    assert list(rows.values()).count(BulkResult.UNAVAILABLE) <= AT_ONCE


async def test_who_is_listed_twice_while_the_list_is_read_is_found_once() -> None:
    engine = ScriptedEngine(("app-2", "app-1", "app-2"))
    assert await BulkService(engine).find(Which(tenant="acme")) == ("app-1", "app-2")


@pytest.mark.parametrize("stage", [Stage.OPENING, Stage.CLOSING, Stage.CLOSED])
def test_a_stage_by_which_nobody_is_ever_found_is_refused(stage: Stage) -> None:
    with pytest.raises(BadInput, match="nobody is listed under that stage"):
        which_of("acme", f"stage={stage}")


async def test_an_engagement_that_cannot_carry_out_a_command_is_told_as_one_that_did_not_answer() -> None:
    async def execute_update(*args: object, **more: object) -> None:
        raise WorkflowUpdateFailedError(ApplicationError("closed", type="AcceptedUpdateCompletedWorkflow"))

    handle = SimpleNamespace(execute_update=execute_update)
    client = cast("Client", SimpleNamespace(get_workflow_handle=lambda workflow_id: handle))
    with pytest.raises(NotAnswered, match="AcceptedUpdateCompletedWorkflow"):
        await Engine(client).command("engagement:acme:1", names.STOP, COMMAND)


async def test_a_command_that_is_broken_off_by_hand_is_not_asked_again() -> None:
    asked = asyncio.Event()

    async def execute_update(*args: object, **more: object) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:  # as the SDK does
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error

    handle = SimpleNamespace(execute_update=execute_update)
    client = cast("Client", SimpleNamespace(get_workflow_handle=lambda workflow_id: handle))
    seen = list[BulkRow]()
    bulk = asyncio.create_task(
        BulkService(Engine(client)).carry_out(names.STOP, "acme", ("app-1",), COMMAND, seen.append)
    )
    await asked.wait()
    bulk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(bulk, 5)
    assert [(row.reference, row.result, row.text) for row in seen] == [
        ("app-1", BulkResult.UNAVAILABLE, "broken off under way")
    ]


def rapport(engine: ScriptedEngine, *words: str) -> tuple[int, str, str]:
    """One command line on this engine: exit code, output and what it says on the side."""

    @asynccontextmanager
    async def session() -> AsyncIterator[Session]:
        yield Session(cast("EngagementService", None), TOPOLOGY, bulk=BulkService(engine))

    result = CliRunner().invoke(app, [*words, "--tenant", "acme", "--reason", "audit"], obj=session)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


MANY = ("pause", "--where", "line=recruiting", "--yes", "--json")


def test_broken_off_by_hand_it_says_what_was_done_and_how_to_go_on() -> None:
    who, begun = numbered(300), list[str]()

    def deed(reference: str) -> None:
        begun.append(reference)
        if len(begun) == 150:
            signal.raise_signal(signal.SIGINT)

    engine = ScriptedEngine(who, deed=deed)
    code, out, told = rapport(engine, *MANY)
    assert code == 1
    report = json.loads(out)
    assert f"--bulk-id {report['bulk_id']}" in told
    results = {row["reference"]: row["result"] for row in report["rows"]}
    assert set(results) == set(who)
    assert {r for r, result in results.items() if result == "done"} == set(engine.given)
    assert 100 <= len(engine.given) < 200
    again = ScriptedEngine(who)
    code, out, _ = rapport(again, *MANY, "--bulk-id", report["bulk_id"])
    assert (code, sorted(again.given), json.loads(out)["bulk_id"]) == (0, list(who), report["bulk_id"])


def test_who_is_found_only_afterwards_is_told_of() -> None:
    code, _, told = rapport(ScriptedEngine(numbered(3), numbered(5)), *MANY)
    assert code == 0
    assert "2 more are found by now" in told
    assert "--bulk-id bulk-" in told


def test_when_nobody_more_is_found_nothing_is_said_of_it() -> None:
    _, _, told = rapport(ScriptedEngine(numbered(3), numbered(2)), *MANY)
    assert "more" not in told
