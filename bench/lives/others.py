"""How the sides that are not ours are started: each from an environment of its own, with the same settings."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.lives.drive import Place, SideMissing
from bench.lives.recrubo import order_of
from bench.lives.recruiter import StartCall
from bench.lives.simulator import ATS_SECRET, FLOW, HOOK_SECRET, INVITATION, REMINDER, ROOT, TOKEN
from tests.processes import bare_environment

ACCESS = "access-token-of-the-benchmark"
ENVIRONMENT = Path(os.environ.get("RAPPORT_BENCH_OTHERS") or ROOT / ".rapport" / "bench").absolute()
"""Where ``make bench-others`` puts what only the other sides need."""


def python() -> Path:
    """The interpreter that has the other sides' packages. Raises ``SideMissing``."""
    return _there(ENVIRONMENT / "bin" / "python")


def program(name: str) -> Path:
    """A program that npm installed. Raises ``SideMissing``."""
    return _there(ENVIRONMENT / "node_modules" / name)


def version_of(package: str) -> str:
    """Of a package in the other sides' environment."""
    words = [str(python()), "-c", f"from importlib.metadata import version; print(version({package!r}))"]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=bare_environment()).stdout.strip()


def environment(place: Place, **more: str) -> Mapping[str, str]:
    """What a service of another side finds in its environment."""
    return {
        **bare_environment(),
        "PYTHONPATH": str(ROOT),
        "BENCH_RECRUBO": place.recrubo,
        "BENCH_TOKEN": TOKEN,
        "BENCH_HOOK_SECRET": HOOK_SECRET,
        "BENCH_ATS": place.ats,
        "BENCH_ATS_SECRET": ATS_SECRET,
        "BENCH_ACCESS": ACCESS,
        **more,
    }


def start_at(port: int, reference: str, phone: str) -> StartCall:
    """The request that begins an engagement there."""
    headers = {"Authorization": f"Bearer {ACCESS}"}
    order = order_of(phone, reference, (INVITATION, REMINDER), FLOW)
    return StartCall(f"http://127.0.0.1:{port}/engagements", headers, {**order})


def _there(path: Path) -> Path:
    if shutil.which(path) is None:
        raise SideMissing(f"there is no {path.name} in {ENVIRONMENT}; make bench-others installs it")
    return path
