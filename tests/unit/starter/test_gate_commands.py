"""The commands ``templates`` and ``holds`` on real gates."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.gates import GateVerdict
from domain.holds import HoldRow
from domain.ids import gate_workflow_id, template_scope
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from domain.templates import SubmissionState
from starter.gates import Held
from store.stores import Stores
from tests.unit.starter.gate_world import GateWorld, now
from tests.unit.starter.world import NOWHERE

pytestmark = pytest.mark.server
WHY = ("--reason", "looked at it", "--actor", "kim")


@pytest.fixture
def name(ref: str) -> str:
    """A template that no other test uses: the server is shared."""
    return f"intake_{ref.removeprefix('app-')}"


@pytest.fixture
def rapport(tmp_path: Path, url: str, temporal: str, ref: str) -> Iterator[GateWorld]:
    folder = tmp_path / "templates"
    folder.mkdir()
    world = GateWorld(folder, url, temporal, ref)
    yield world
    world.end_gates()


def gate_of(world: GateWorld, name: str) -> str:
    return gate_workflow_id(template_scope(world.account, name, "en"))


def snapshots(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_missing_template_is_submitted_once_and_watched_until_it_is_approved(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.provider.templates = [TemplateStatus.MISSING, TemplateStatus.PENDING, TemplateStatus.APPROVED]
    with rapport.working():
        waited = rapport("templates", "submit", name, "--wait", "--json")
        again = rapport("templates", "submit", name, "--wait")
        stands = rapport("templates", "status", name, "--json")

    assert (waited.exit_code, again.exit_code, stands.exit_code) == (0, 0, 0), waited.output
    assert [spec.name for spec in rapport.provider.submissions] == [name]
    assert snapshots(waited.stdout)[-1]["reading"]["template_status"] == "APPROVED"
    assert "open" in again.stdout
    (told,) = json.loads(stands.stdout)
    assert told["gate"] is None
    row = told["template"]
    assert (row["status"], row["submission"], row["asked_category"]) == ("APPROVED", "submitted", "UTILITY")


def test_a_refused_template_ends_the_wait_with_an_exit_code(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.provider.templates = [TemplateStatus.REJECTED]
    with rapport.working():
        result = rapport("templates", "submit", name, "--wait")

    assert result.exit_code == 1
    assert "REJECTED" in result.output
    assert rapport.provider.submissions == []


def test_an_operator_looks_again_submits_once_more_and_lets_everybody_go_on(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.provider.templates = [TemplateStatus.PENDING] * 1000
    with rapport.working():
        opened = rapport("templates", "submit", name, "--json")
        looked = rapport("templates", "recheck", name, *WHY)
        submitted = rapport("templates", "resubmit", name, *WHY, "--language", "en", "--account", rapport.account)
        stands = rapport("templates", "status", name, "--json")
        shown = rapport("templates", "status", name)
        released = rapport("templates", "release", name, *WHY, "--json")
        became = rapport.end_of(gate_of(rapport, name))
        rejected = rapport("templates", "reject", name, *WHY)

    assert json.loads(opened.stdout)["gate"] == gate_of(rapport, name)
    for result in (looked, submitted, stands, shown, released):
        assert result.exit_code == 0, result.output
    assert json.loads(stands.stdout)[0]["gate"]["gate"] == gate_of(rapport, name)
    assert "looked at it (by kim)" in shown.output
    assert json.loads(released.stdout)["command"] == "release"
    assert became.verdict is GateVerdict.OPEN
    assert [one.actor for one in became.decisions if one.rule in ("recheck", "resubmit", "opens")] == ["kim"] * 3
    assert rejected.exit_code == 3
    assert "nobody waits there" in rejected.stderr


def test_without_a_worker_the_gate_is_opened_and_taken_up_later(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    first = rapport("templates", "submit", name)
    with rapport.working():
        second = rapport("templates", "submit", name, "--wait")

    assert first.exit_code == 0
    assert "a worker takes it up" in first.stdout
    assert second.exit_code == 0


def test_without_temporal_nothing_is_opened_and_the_store_is_told_all_the_same(
    rapport: GateWorld, name: str, url: str
) -> None:
    rapport.specify(name)
    dark = GateWorld(rapport.folder, url, NOWHERE, rapport.account)

    assert dark("templates", "submit", name).exit_code == 5
    stands, listed = dark("templates", "status", name), dark("holds", "list")
    assert (stands.exit_code, listed.exit_code) == (0, 0)
    assert "only the store is shown" in stands.output
    assert "only the holds are shown" in listed.output


def test_what_is_meant_must_be_there_and_be_one(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.specify(name, language="nl")

    assert rapport("templates", "submit", "nobody_wrote_it").exit_code == 3
    assert rapport("templates", "status", "nobody_wrote_it").exit_code == 3
    several = rapport("templates", "submit", name)
    assert several.exit_code == 2
    assert f"{rapport.account}, en; {rapport.account}, nl" in several.stderr
    assert rapport("templates", "release", name, *WHY).exit_code == 2
    assert rapport("templates", "release", name, *WHY, "--language", "nl").exit_code == 3


def test_the_list_shows_what_is_specified_beside_what_is_known(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.specify(f"{name}_new")
    template, foreign = TemplateRef(name=name, language="en"), TemplateRef(name=f"{name}_old", language="en")
    approved = TemplateReading(
        template_status=TemplateStatus.APPROVED, raw_status="APPROVED", category="MARKETING", asked_category="UTILITY"
    )
    paused = TemplateReading(template_status=TemplateStatus.UNKNOWN, raw_status="ON_ICE")

    async def known(stores: Stores) -> None:
        await stores.templates.write(rapport.account, template, approved, now())
        await stores.templates.write(rapport.account, foreign, paused, now())
        await stores.templates.mark_stale(rapport.account, "", f"{name}_old")
        await stores.submissions.claim(rapport.account, template, "f", now())
        await stores.submissions.settle(rapport.account, template, SubmissionState.UNKNOWN, "no answer", now())

    rapport.on_store(known)
    table, told = rapport("templates", "list"), rapport("templates", "list", "--json")

    rows = {row["name"]: row for row in json.loads(told.stdout)}
    assert list(rows) == [name, f"{name}_new", f"{name}_old"]
    assert (rows[name]["status"], rows[name]["stale"], rows[name]["submission"]) == ("APPROVED", False, "unknown")
    assert (rows[f"{name}_new"]["status"], rows[f"{name}_new"]["category"]) == (None, "")
    assert (rows[f"{name}_old"]["stale"], rows[f"{name}_old"]["file"]) == (True, "")
    assert "MARKETING (asked: UTILITY)" in table.output
    assert "not looked at" in table.output
    assert "ON_ICE (stale)" in table.output
    assert "no answer" in rapport("templates", "status", name).output


def test_holds_and_open_gates_are_listed_and_opened_by_a_person(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.provider.templates = [TemplateStatus.PENDING] * 1000
    at = now()
    held = HoldRow(scope_key=f"line:{name.replace('_', '-')[:30]}", code="131048", reason="limited for spam", at=at)
    past = HoldRow(scope_key="account:past", reason="over", at=at - timedelta(days=2), until=at - timedelta(days=1))

    async def hold(stores: Stores) -> None:
        await stores.holds.hold(held)
        await stores.holds.hold(past)

    rapport.on_store(hold)
    with rapport.working():
        rapport("templates", "submit", name)
        listed, table = rapport("holds", "list", "--json"), rapport("holds", "list")
        lifted = rapport("holds", "open", held.scope_key, *WHY)
        looked = rapport("holds", "recheck", gate_of(rapport, name), *WHY)
        opened = rapport("holds", "open", gate_of(rapport, name), *WHY, "--json")

    told = json.loads(listed.stdout)
    assert [row["scope_key"] for row in told["holds"]] == [held.scope_key]
    assert gate_of(rapport, name) in [gate["gate"] for gate in told["gates"]]
    assert "limited for spam" in table.output
    assert gate_of(rapport, name) in table.output
    assert (lifted.exit_code, looked.exit_code, opened.exit_code) == (0, 0, 0), lifted.output
    assert "nobody waited; the hold is lifted" in lifted.output
    assert json.loads(opened.stdout)["accepted"] is True
    assert rapport("holds", "open", held.scope_key, *WHY).exit_code == 3
    assert rapport("holds", "reject", "line:nobody", *WHY).exit_code == 3
    assert held.scope_key not in rapport("holds", "list").output


def test_a_person_may_end_everybody_who_waits(rapport: GateWorld, name: str) -> None:
    rapport.specify(name)
    rapport.provider.templates = [TemplateStatus.PENDING] * 1000
    with rapport.working():
        rapport("templates", "submit", name)
        rejected = rapport("holds", "reject", gate_of(rapport, name), *WHY)
        no_reason = rapport("holds", "reject", gate_of(rapport, name), "--reason", "")

    assert rejected.exit_code == 0
    assert "refusing" in rejected.output
    assert no_reason.exit_code == 2


def test_more_gates_than_one_can_look_through_are_cut_and_said_so(rapport: GateWorld, name: str) -> None:
    for n in range(3):
        rapport.specify(f"{name}_{n}")

    async def look() -> Held:
        async with rapport.session() as session:
            for n in range(3):
                await session.at_gates().watch(session.registry().to_submit(f"{name}_{n}"))
            async with asyncio.timeout(30):  # a list of workflows is a moment behind
                while len((await session.at_gates().held(now())).gates) < 3:  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(0.1)
            return await session.at_gates().held(now(), limit=2)

    held = asyncio.run(look())
    assert len(held.gates) == 2
    assert held.more
    assert all("is a worker running?" in gate.note for gate in held.gates)
