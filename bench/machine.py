"""Where a figure was measured: machine, system and versions."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("temporalio", "uvicorn", "h11", "httptools", "uvloop", "sqlalchemy", "psycopg", "pydantic", "fastapi")


@dataclass(frozen=True)
class Machine:
    """One machine as it was during a run."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    commit: str
    load: float
    """How many processes wanted a core in the minute before the run."""
    versions: dict[str, str]


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        processor=_after("model name", Path("/proc/cpuinfo")) or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=platform.platform(),
        python=platform.python_version(),
        commit=_commit(),
        load=round(os.getloadavg()[0], 2),
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )


def _after(name: str, file: Path) -> str:
    if not file.exists():
        return ""
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
