"""The command line on a real store and, where it matters, a real Temporal server."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from starter.cli import app
from starter.cli.commands import COMMANDS
from starter.cli.session import Session, SessionFactory
from tests.unit.starter.test_files import FIVE_MISTAKES, GOOD_PLAN
from tests.unit.starter.world import NOWHERE, TOPOLOGY, open_world, worker

pytestmark = pytest.mark.server
ROOT = Path(__file__).resolve().parents[3]
HEADER = "reference,phone,consent_source,consent_at,first_name\n"


def factory(url: str, address: str) -> SessionFactory:
    @asynccontextmanager
    async def session() -> AsyncIterator[Session]:
        async with open_world(url, address) as world:
            yield Session(world.service, TOPOLOGY)

    return session


@pytest.fixture
def rapport(url: str, temporal: str) -> "Rapport":
    return Rapport(url, temporal)


class Rapport:
    """The command, in a world."""

    def __init__(self, url: str, address: str) -> None:
        self._sessions = factory(url, address)

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(app, list(words), obj=self._sessions)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result


@pytest.fixture
def plan(tmp_path: Path) -> str:
    file = tmp_path / "plan.yaml"
    file.write_text(GOOD_PLAN)
    return str(file)


def one(plan: str, ref: str, *more: str) -> tuple[str, ...]:
    return (
        *("start", "--plan", plan, "--tenant", "acme", "--line", "recruiting", "--reference", ref),
        *("--phone", "+31 6 1234 5678", "--consent-source", "page", "--consent-at", "2026-03-01T09:00:00Z"),
        *("--var", "first_name=Zebulon", *more),
    )


def csv_of(tmp_path: Path, *rows: str) -> str:
    file = tmp_path / "candidates.csv"
    file.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return str(file)


def row(ref: str, phone: str = "+31612345678") -> str:
    return f"{ref},{phone},page,2026-03-01T09:00:00Z,Zebulon"


def test_one_engagement_is_started_once_and_the_repeat_says_so(rapport: Rapport, plan: str, ref: str) -> None:
    first, second = rapport(*one(plan, ref)), rapport(*one(plan, ref))

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "1 started" in first.output
    assert "1 already there" in second.output
    assert "Zebulon" not in first.output
    assert "12345678" not in first.output


def test_other_input_is_a_conflict_with_its_exit_code(rapport: Rapport, plan: str, ref: str) -> None:
    rapport(*one(plan, ref))

    result = rapport(*one(plan, ref, "--job", "another"))

    assert result.exit_code == 4
    assert "job" in result.output


def test_a_file_starts_an_engagement_per_row(rapport: Rapport, plan: str, tmp_path: Path, ref: str) -> None:
    file = csv_of(tmp_path, row(f"{ref}.1"), row(f"{ref}.2", "+31687654321"))
    words = ("start", "--plan", plan, "--candidates", file, "--tenant", "acme", "--line", "recruiting", "--json")

    first, second = rapport(*words), rapport(*words)

    assert [r["result"] for r in json.loads(first.stdout)["rows"]] == ["started", "started"]
    assert [(r["line"], r["result"]) for r in json.loads(second.stdout)["rows"]] == [
        (2, "already there"),
        (3, "already there"),
    ]


def test_mistakes_of_plan_and_file_are_told_together_and_nothing_starts(
    rapport: Rapport, tmp_path: Path, ref: str
) -> None:
    bad_plan = tmp_path / "bad.yaml"
    bad_plan.write_text(FIVE_MISTAKES)
    file = csv_of(tmp_path, row(ref), row("b 2"), row("c-3", "123"))
    words = ("--plan", str(bad_plan), "--candidates", file, "--tenant", "acme", "--line", "recruiting")

    result = rapport("start", *words)

    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert sum(line.startswith(f"{bad_plan}:") for line in lines) == 5
    assert f"{file}:3: reference: must be 1 to 64 of the characters A-Z a-z 0-9 . _ -" in lines
    assert any(line.startswith(f"{file}:4: phone:") for line in lines)
    assert "7 mistakes; nothing was started" in lines
    assert json.loads(rapport("list", "--tenant", "acme", "--json").stdout)["engagements"] == []


def test_mistakes_of_rows_carry_file_and_line_and_that_of_the_line_is_told_once(
    rapport: Rapport, plan: str, tmp_path: Path, ref: str
) -> None:
    future = f"{ref}.2,+31612345678,page,2126-03-01T09:00:00Z,Ada"
    file = csv_of(tmp_path, row(f"{ref}.1"), future)

    result = rapport("start", "--plan", plan, "--candidates", file, "--tenant", "acme", "--line", "recruting")

    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        'line: no such line, or not one of tenant acme; did you mean "recruiting"?',
        f"{file}:3: candidate.consent.obtained_at: lies in the future",
        "2 mistakes; nothing was started",
    ]


def test_options_that_are_missing_or_wrong_are_told_by_their_names(rapport: Rapport, plan: str) -> None:
    result = rapport(
        *("start", "--plan", plan, "--tenant", "acme", "--line", "recruiting"),
        *("--phone", "12", "--consent-at", "yesterday", "--var", "first_name"),
    )

    assert result.exit_code == 2
    told = {line.split(":")[0] for line in result.stderr.splitlines()[:-1]}
    assert told == {"--reference", "--consent-source", "--consent-at", "--phone", "--var"}


def test_without_temporal_the_exit_code_says_unavailable_and_repeating_finishes(
    url: str, temporal: str, plan: str, tmp_path: Path, ref: str
) -> None:
    file = csv_of(tmp_path, row(ref))
    words = ("start", "--plan", plan, "--candidates", file, "--tenant", "acme", "--line", "recruiting")

    dark = Rapport(url, NOWHERE)(*words)
    light = Rapport(url, temporal)(*words)

    assert dark.exit_code == 5
    assert "run the same command again" in dark.output
    assert light.exit_code == 0


def test_checking_starts_nothing(rapport: Rapport, plan: str, ref: str) -> None:
    assert rapport(*one(plan, ref, "--check")).exit_code == 0
    assert rapport("show", ref, "--tenant", "acme").exit_code == 3


def test_reads_answer_people_and_programs(rapport: Rapport, plan: str, temporal: str, ref: str) -> None:
    rapport(*one(plan, ref))
    with working(temporal):
        table, page = rapport("list", "--tenant", "acme"), rapport("list", "--tenant", "acme", "--json")
        shown, view = rapport("show", ref, "--tenant", "acme"), rapport("show", ref, "--tenant", "acme", "--json")
        told, trace = rapport("trace", ref, "--tenant", "acme"), rapport("trace", ref, "--tenant", "acme", "--json")

    assert ref in table.output
    assert json.loads(page.stdout)["engagements"][0]["reference"] == ref
    assert "the candidate's answer" in shown.output
    assert "intake, version 1" in shown.output
    assert json.loads(view.stdout)["snapshot"]["stage"] == "awaiting-answer"
    assert "consent is there" in " ".join(told.output.split())
    assert {e["source"] for e in json.loads(trace.stdout)["entries"]} == {"decision", "history"}
    for result in (table, page, shown, view, told, trace):
        assert result.exit_code == 0
        assert "Zebulon" not in result.output
        assert "612345678" not in result.output


def test_commands_act_and_refusals_have_their_exit_code(rapport: Rapport, plan: str, temporal: str, ref: str) -> None:
    rapport(*one(plan, ref))
    with working(temporal):
        refused = rapport("resend", ref, "--tenant", "acme", "--reason", "try", "--actor", "ops")
        stopped = rapport("stop", ref, "--tenant", "acme", "--reason", "the job is gone", "--actor", "ops")
    foreign = rapport("stop", ref, "--tenant", "globex", "--reason", "mine?", "--actor", "ops")

    assert refused.exit_code == 4
    assert refused.stderr.splitlines() == ["no send's outcome is unknown"]
    assert stopped.exit_code == 0
    assert "the job is gone" in stopped.output
    assert foreign.exit_code == 3


def test_a_tenant_is_asked_for_where_there_are_several(rapport: Rapport) -> None:
    assert "name one of acme, globex" in rapport("list").stderr
    assert rapport("list", "--tenant", "initech").exit_code == 2


def test_unknown_sends_are_listed(rapport: Rapport) -> None:
    result = rapport("sends", "--unknown", "--tenant", "acme")
    assert (result.exit_code, result.output.strip()) == (0, "no send is of unknown outcome")


def test_plan_check_says_what_a_plan_does_and_what_is_wrong(rapport: Rapport, plan: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(FIVE_MISTAKES)

    good, wrong = rapport("plan", "check", plan), rapport("plan", "check", plan, str(bad))

    assert good.exit_code == 0
    assert "needs of each candidate: first_name" in good.output
    assert wrong.exit_code == 2
    assert "5 mistakes; nothing was started" in wrong.stderr


def test_every_command_can_be_loaded_and_has_help() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)


def test_help_loads_no_command() -> None:
    code = (
        "import sys\nfrom starter.cli import app\nfrom typer.testing import CliRunner\n"
        "r = CliRunner().invoke(app, ['--help'])\n"
        "assert r.exit_code == 0 and 'Exit codes' in r.output, r.output\n"
        "assert not {'temporalio', 'sqlalchemy', 'fastapi', 'pydantic'} & sys.modules.keys(), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_misspelt_command_gets_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["shw"])
    assert result.exit_code == 2
    assert "'show'" in result.output


def test_a_wrong_set_up_is_one_line_with_what_to_do() -> None:
    result = CliRunner().invoke(app, ["list"])

    assert result.exit_code == 1
    assert "RAPPORT_CONFIG" in result.stderr
    assert "Traceback" not in result.output


@contextmanager
def working(address: str) -> Iterator[None]:
    """A worker in a thread of its own, since the commands bring their own event loops."""
    up, done = threading.Event(), threading.Event()

    async def work() -> None:
        async with worker(address):
            up.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        assert up.wait(30)
        yield
    finally:
        done.set()
        thread.join(30)
