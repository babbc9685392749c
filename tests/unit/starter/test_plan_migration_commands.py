"""``plan migrate`` and its route: shown first, carried out once, refused engagement by engagement."""

import json
from pathlib import Path

import pytest
from typer.testing import Result

from domain.model import JsonValue
from starter.migrations import migration_id
from starter.plans_file import load_plan
from tests.unit.starter.test_cli import one, working
from tests.unit.starter.test_files import GOOD_PLAN
from tests.unit.starter.test_operator_commands import ACME, WHY, Desk
from tests.unit.starter.test_rest import OPERATOR, READER, app_on, body, client_of, is_problem
from tests.unit.starter.world import PLAN, World, worker

pytestmark = pytest.mark.server

NEW = GOOD_PLAN.replace("name: intake", "name: intake\nversion: 2", 1).replace("after: 2d", "after: 5d")
MIGRATE = (*ACME, *WHY)


@pytest.fixture
def rapport(url: str, temporal: str) -> Desk:
    return Desk(url, temporal)


@pytest.fixture
def old(tmp_path: Path) -> str:
    file = tmp_path / "old.yaml"
    file.write_text(GOOD_PLAN)
    return str(file)


@pytest.fixture
def new(tmp_path: Path) -> str:
    file = tmp_path / "new.yaml"
    file.write_text(NEW)
    return str(file)


def rows(result: Result) -> list[dict[str, JsonValue]]:
    found: list[dict[str, JsonValue]] = json.loads(result.stdout)["rows"]
    return found


def test_shown_first_then_moved_and_a_repeat_is_harmless(
    rapport: Desk, old: str, new: str, temporal: str, ref: str
) -> None:
    both = (f"{ref}.1", f"{ref}.2")
    for reference in both:
        rapport(*one(old, reference))
    with working(temporal):
        shown = rapport("plan", "migrate", new, *both, *MIGRATE)
        asked = rows(rapport("plan", "migrate", new, *both, *MIGRATE, "--json"))
        moved = rapport("plan", "migrate", new, *both, *MIGRATE, "--yes")
        again = rapport("plan", "migrate", new, *both, *MIGRATE, "--yes")
        after = rapport("plan", "migrate", new, *both, *MIGRATE)
        looked = rapport("show", both[0], "--tenant", "acme")
    assert "2 may move; nothing was done" in shown.output
    assert "v1 → v2: silence: after" in shown.output
    assert [(row["reference"], row["prospect"]) for row in asked] == [(reference, "may move") for reference in both]
    for done in (moved, again):
        assert (done.exit_code, "2 done" in done.output) == (0, True), done.output
    assert (after.exit_code, "2 may not; nothing was done" in after.output) == (0, True)
    assert "it goes by version 2 already: version 2 is not a later one" in after.output
    assert "intake, version 2" in looked.output


def test_who_may_not_move_is_named_with_every_reason_and_it_is_no_failure(
    rapport: Desk, old: str, new: str, temporal: str, ref: str
) -> None:
    rapport(*one(old, ref))
    with working(temporal):
        shown = rapport("plan", "migrate", new, ref, "--from", "7", *MIGRATE)
        refused = rapport("plan", "migrate", new, ref, "--from", "7", *MIGRATE, "--yes")
    for result in (shown, refused):
        assert (result.exit_code, "it goes by version 1, not by 7" in result.output) == (0, True), result.output
    assert "1 refused" in refused.output


def test_those_that_a_query_finds_are_meant(rapport: Desk, old: str, new: str, temporal: str, ref: str) -> None:
    rapport(*one(old, ref))
    mine = f"WorkflowId = 'engagement:acme:{ref}'"
    with working(temporal):
        for _ in range(100):  # Temporal's list is a moment behind
            found = rows(rapport("plan", "migrate", new, "--where", mine, *MIGRATE, "--json"))
            if found:
                break
        done = rapport("plan", "migrate", new, "--where", mine, *MIGRATE, "--yes")
    assert [row["reference"] for row in found] == [ref]
    assert "1 done" in done.output


def test_nobody_is_asked_where_something_is_wrong(rapport: Desk, new: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(NEW.replace("silence", "silense"))
    wrong: dict[tuple[str, ...], tuple[int, str]] = {
        (str(broken), "app-1"): (2, "broken.yaml:6: silense: unknown name"),
        (new,): (2, "say who is meant: REFERENCE…, or --where"),
        (new, "app-1", "--where", "stage=held"): (2, "say who is meant"),
        (new, "--where", "plan=other"): (2, "plan=other, but the file is a version of intake"),
        (new, "nobody-1", "nobody-2"): (3, "tenant acme has no engagement nobody-1, nobody-2"),
    }
    for words, (code, text) in wrong.items():
        result = rapport("plan", "migrate", *words, *MIGRATE)
        assert (result.exit_code, text in result.stderr) == (code, True), result.stderr


def test_where_nobody_answers_it_says_so_by_its_exit_code(rapport: Desk, old: str, new: str, ref: str) -> None:
    rapport(*one(old, ref))
    silent = rapport("plan", "migrate", new, ref, *MIGRATE)
    assert (silent.exit_code, "1 unavailable; nothing was done" in silent.output) == (5, True), silent.output


def test_the_command_has_one_id_per_written_plan(tmp_path: Path, new: str) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(NEW.replace("5d", "6d"))
    first, same, changed = (migration_id(load_plan(Path(file))) for file in (new, new, str(other)))
    assert first == same != changed
    assert first.startswith("plan:intake:2:")


async def test_rest_tells_moves_and_refuses(world: World, temporal: str, ref: str) -> None:
    def asked(**more: JsonValue) -> dict[str, JsonValue]:
        plan = PLAN.model_copy(update={"version": 2}).model_dump(mode="json")
        return {"command_id": "m", "actor": "ops", "reason": "better words", "plan": plan, **more}

    there = f"/v1/engagements/{ref}/migrate-plan"
    async with worker(temporal), client_of(app_on(world), OPERATOR) as operator:
        await operator.post("/v1/engagements", json=body(ref))
        told = await operator.post(there, json=asked(dry_run=True))
        moved = await operator.post(there, json=asked(from_version=1))
        refused = await operator.post(there, json=asked(command_id="n"))
        view = (await operator.get(f"/v1/engagements/{ref}")).json()
        wrong = await operator.post(there, json=asked(plan={"name": "intake"}))
        missing = await operator.post("/v1/engagements/nobody/migrate-plan", json=asked())
        async with client_of(app_on(world), READER) as reader:
            is_problem(await reader.post(there, json=asked()), 403)
    assert (told.status_code, told.json()["may_move"], told.json()["version"]) == (200, True, 1)
    assert (moved.status_code, moved.json()["command"], moved.json()["accepted"]) == (200, "migrate-plan", True)
    assert view["snapshot"]["plan_version"] == 2
    problem = is_problem(refused, 409)
    assert problem["type"] == "urn:rapport:problem:not-allowed"
    assert "it goes by version 2 already" in str(problem["detail"])
    is_problem(wrong, 422)
    is_problem(missing, 404)
