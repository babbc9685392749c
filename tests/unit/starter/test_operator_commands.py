"""What operators type and what their systems post: pauses, commands for many, answers that came by another way."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from domain import ids, names
from domain.calls import Command
from domain.errors import BadInput
from starter.bulk import AT_ONCE, BulkResult, BulkService, which_of
from starter.cli import app
from starter.cli.session import Session
from starter.engine import Engine
from starter.gates import GateService
from starter.pauses import PauseService
from tests.unit.starter.test_cli import one, working
from tests.unit.starter.test_files import GOOD_PLAN
from tests.unit.starter.test_rest import OPERATOR, READER, app_on, body, client_of, is_problem
from tests.unit.starter.world import NOWHERE, TOPOLOGY, World, open_world, worker

pytestmark = pytest.mark.server
WHY = ("--reason", "audit", "--actor", "kim")
ACME = ("--tenant", "acme")


class Desk:
    """The command line on one store and one server."""

    def __init__(self, url: str, address: str) -> None:
        self._url, self._address = url, address

    def __call__(self, *words: str, env: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(app, list(words), obj=self._session, env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with open_world(self._url, self._address) as world:
            gates = GateService(world.client, world.stores.holds)
            pauses = PauseService(world.stores.holds, gates, TOPOLOGY)
            bulk = BulkService(Engine(world.client))
            yield Session(world.service, TOPOLOGY, gates, pauses=pauses, bulk=bulk)


@pytest.fixture
def rapport(url: str, temporal: str) -> Desk:
    return Desk(url, temporal)


@pytest.fixture
def plan(tmp_path: Path) -> str:
    file = tmp_path / "plan.yaml"
    file.write_text(GOOD_PLAN)
    return str(file)


def test_a_line_is_paused_listed_and_resumed(rapport: Desk) -> None:
    assert rapport("pauses").output.strip() == "no tenant and no line is paused"
    assert "line recruiting is paused" in rapport("pause", "--line", "recruiting", *WHY).output
    (listed,) = json.loads(rapport("pauses", "--json").stdout)
    assert (listed["scope"], listed["scope_value"], listed["actor"], listed["reason"]) == (
        *("line", "recruiting", "kim"),
        "audit",
    )
    assert "resumed; nobody waited" in rapport("resume", "--line", "recruiting", *WHY).output
    assert "it was not paused" in rapport("resume", "--line", "recruiting", *WHY).output


def test_a_whole_tenant_is_paused_only_when_it_is_named(rapport: Desk) -> None:
    unnamed = rapport("pause", *WHY, env={"RAPPORT_TENANT": "acme"})
    assert (unnamed.exit_code, "say who is meant" in unnamed.stderr) == (2, True)
    assert "tenant acme is paused" in rapport("pause", *ACME, *WHY).output
    assert "acme" in rapport("pauses").output


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (("pause", "app-1", "--line", "recruiting"), "--line: not together with the others"),
        (("stop",), "say who is meant: one of REFERENCE, --where"),
        (("stop", "app-1", "--where", "stage=held"), "--where: not together with the others"),
        (("pause", "app-1", "--bulk-id", "b"), "--bulk-id: belongs to --where"),
        (("pause", "--where", "stage=held", "--command-id", "b"), "--command-id: with --where it is --bulk-id"),
        (("pause", "--line", "nowhere"), "--line: no such line; there are recruiting, globex-line"),
        (("mark-answered", "app-1", "--answer", "city"), "--answer: must be FIELD=VALUE"),
        (("mark-answered", "app-1"), "say what the candidate answered"),
    ],
)
def test_what_is_not_meant_so_is_refused_before_anything_is_done(
    rapport: Desk, words: tuple[str, ...], mistake: str
) -> None:
    result = rapport(*words, *ACME, *WHY)
    assert (result.exit_code, mistake in result.stderr) == (2, True), result.stderr


def test_one_engagement_is_paused_and_a_refusal_has_its_exit_code(
    rapport: Desk, plan: str, temporal: str, ref: str
) -> None:
    rapport(*one(plan, ref))
    with working(temporal):
        paused = rapport("pause", ref, *ACME, *WHY)
        refused = rapport("resume", ref, *ACME, *WHY)
        foreign = rapport("pause", ref, "--tenant", "globex", *WHY)
    assert (paused.exit_code, "pause: audit" in paused.output) == (0, True)
    assert (refused.exit_code, refused.stderr.strip()) == (4, "it is not paused")
    assert foreign.exit_code == 3


def test_an_answer_by_another_way_is_taken_and_not_repeated_to_the_screen(
    rapport: Desk, plan: str, temporal: str, ref: str
) -> None:
    rapport(*one(plan, ref))
    with working(temporal):
        given = ("--answer", "city=Utrecht", "--answer", "shift=night", "--text", "by telephone")
        marked = rapport("mark-answered", ref, *given, *ACME, *WHY)
    assert (marked.exit_code, "2 answers" in marked.output, "Utrecht" in marked.output) == (0, True, False)


def test_many_are_shown_first_and_then_reached_one_by_one(rapport: Desk, plan: str, temporal: str, ref: str) -> None:
    for n in range(3):
        rapport(*one(plan, f"{ref}.{n}"))
    found = " OR ".join(f"WorkflowId = '{ids.engagement_workflow_id('acme', f'{ref}.{n}')}'" for n in range(3))
    many = ("--where", found, *ACME, *WHY)
    shown = json.loads(_until_listed(rapport, many).stdout)
    assert shown["references"] == [f"{ref}.{n}" for n in range(3)]
    with working(temporal):
        done = rapport("stop", *many, "--yes", "--bulk-id", "bulk-7")
    assert (done.exit_code, "3 done" in done.output) == (0, True)


def _until_listed(rapport: Desk, many: tuple[str, ...]) -> Result:
    """Temporal's list is a moment behind."""
    for _ in range(100):
        result = rapport("stop", *many, "--json")
        if len(json.loads(result.stdout)["references"]) == 3:
            return result
    raise AssertionError("they never appeared in the list")


def test_a_filter_is_read_and_what_is_none_is_a_query() -> None:
    which = which_of("acme", "line=recruiting, stage=held")
    assert (which.line, which.stage, which.query) == ("recruiting", "held", "")
    assert which_of("acme", "NextActionAt < '2026-01-01'").query == "NextActionAt < '2026-01-01'"


@pytest.mark.parametrize(
    "where", ["", "  ", "stage=helt", "line=a line=b", "line=a and more", "stage=held OR Tenant='globex'"]
)
def test_a_filter_that_cannot_be_meant_is_refused(where: str) -> None:
    with pytest.raises(BadInput):
        which_of("acme", where)


async def test_an_outage_ends_a_bulk_early_and_says_whom_it_did_not_reach(url: str) -> None:
    async with open_world(url, NOWHERE) as dark:
        command = Command(command_id="bulk-1", actor="kim", reason="audit")
        who = tuple(f"app-{n}" for n in range(AT_ONCE + 5))
        seen: list[str] = []
        bulk = BulkService(Engine(dark.client))
        report = await bulk.carry_out(names.STOP, "acme", who, command, lambda row: seen.append(row.reference))
    assert (report.is_finished, report.count(BulkResult.DONE)) == (False, 0)
    assert report.count(BulkResult.NOT_TRIED) >= 5
    assert sorted(seen) == sorted(who), "each is told of, so that progress reaches its end"


async def test_rest_pauses_resumes_and_marks_as_answered(world: World, temporal: str, ref: str) -> None:
    def command(command_id: str) -> dict[str, str]:
        return {"command_id": command_id, "actor": "ops", "reason": "the job waits"}

    async with worker(temporal), client_of(app_on(world), OPERATOR) as operator:
        await operator.post("/v1/engagements", json=body(ref))
        paused = await operator.post(f"/v1/engagements/{ref}/pause", json=command("p"))
        refused = await operator.post(f"/v1/engagements/{ref}/resume", json=command("r"))
        empty = await operator.post(f"/v1/engagements/{ref}/mark-answered", json=command("m"))
        marked = await operator.post(
            f"/v1/engagements/{ref}/mark-answered", json={**command("m"), "answers": {"city": "Utrecht"}}
        )
        async with client_of(app_on(world), READER) as reader:
            is_problem(await reader.post(f"/v1/engagements/{ref}/pause", json=command("p")), 403)
    assert (paused.status_code, paused.json()["command"]) == (200, "pause")
    assert is_problem(refused, 409)["type"] == "urn:rapport:problem:not-allowed"
    is_problem(empty, 422)
    assert (marked.status_code, "Utrecht" in marked.text) == (200, False)
