"""The one entry point."""

import pytest

from bench.__main__ import BENCHES, main
from bench.depth import FULL, QUICK


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
