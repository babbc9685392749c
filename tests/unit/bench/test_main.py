"""The one entry point."""

import json
from pathlib import Path

import pytest

from bench.__main__ import BENCHES, main
from bench.depth import FULL, QUICK, Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side


def bench(name: str, seen: float | None) -> Bench:
    """One that sees this, of which it wants at most ten; with None it cannot measure."""

    async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
        if seen is None:
            raise RuntimeError("the side did not start")
        goal = Goal("≤ 10", at_most=10)
        return Report(name, "", "", (Figure("", "", Side("ours", (seen,)), compared=Compared.ALONE, goal=goal),))

    return Bench(name, "", "", run)


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (bench("broken", None), bench("good", 9.0), bench("bad", 11.0)):
        monkeypatch.setitem(BENCHES, one.name, one)


def measured(folder: Path) -> list[str]:
    """What was kept of the one run that there was."""
    (file,) = folder.iterdir()
    return [report["bench"] for report in json.loads(file.read_text())["reports"]]


@pytest.mark.usefixtures("benches")
def test_one_that_cannot_measure_takes_nothing_from_the_others_and_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["broken", "good", "--results", str(tmp_path)]) == 1
    assert measured(tmp_path) == ["good"]
    assert "failed: broken" in capsys.readouterr().out


@pytest.mark.usefixtures("benches")
def test_a_goal_that_is_missed_fails_only_where_that_is_asked_for(tmp_path: Path) -> None:
    assert main(["bad", "--results", str(tmp_path / "as-it-is")]) == 0
    assert main(["good", "--strict", "--results", str(tmp_path / "good")]) == 0
    assert main(["bad", "--strict", "--results", str(tmp_path / "strictly")]) == 1


def test_the_list_names_every_bench_with_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    told = capsys.readouterr().out.replace("\n", " ")
    assert all(f"{bench.name}:" in told for bench in BENCHES.values())


def test_a_bench_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-bench"])


def test_the_command_that_repeats_a_bench_names_it_and_its_depth() -> None:
    assert FULL.command("costs") == "python -m bench costs"
    assert QUICK.command("costs") == "python -m bench --quick costs"


def test_a_quick_run_has_fewer_of_everything() -> None:
    assert (QUICK.few(200), FULL.few(200), QUICK.few(1)) == (80, 200, 1)
    assert QUICK.rounds < FULL.rounds
