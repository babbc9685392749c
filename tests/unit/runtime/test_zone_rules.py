"""Every process reads time zones by the rules of the pinned package, whatever its machine has or was told to read."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ASK = """
import json, sys, zoneinfo
{begin}
at = __import__("datetime").datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Madrid"))
print(json.dumps([list(zoneinfo.TZPATH), at.utcoffset().total_seconds() / 3600]))
"""
AS_RAPPORT = """
from starter.cli import main
sys.argv = ["rapport", "plan", "schema"]
sys.stdout, out = open("/dev/null", "w"), sys.stdout
try:
    main()
except SystemExit:
    pass
sys.stdout = out
"""


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A machine on which it is in Madrid as late as in India."""
    (tmp_path / "Europe").mkdir()
    rules = files("tzdata.zoneinfo.Asia").joinpath("Kolkata").read_bytes()
    (tmp_path / "Europe" / "Madrid").write_bytes(rules)
    return tmp_path


def answer(begin: str, tzpath: Path) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(begin=begin)],
        env={**os.environ, "PYTHONTZPATH": str(tzpath)},
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=120,
    )
    said: list[object] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_a_command_goes_by_the_pinned_rules_and_not_by_the_machines(wrong: Path) -> None:
    assert answer("", wrong) == [[str(wrong)], 5.5], "or this test could not fail"
    assert answer(AS_RAPPORT, wrong) == [[], 2.0]


def test_the_rules_that_are_installed_are_the_locked_ones() -> None:
    locked = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("tzdata==")]
    assert locked == [f"tzdata=={version('tzdata')} \\"], "on every platform"
