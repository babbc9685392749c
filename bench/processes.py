"""Child processes of a bench: each on the core it is given, their time on it, their metrics."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

from bench.load import Answers, Wanted
from tests.processes import Process, ProcessFailed, started

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0
_GLANCE = 0.01


def cores() -> tuple[int, int]:
    """The core of what is measured, and the core of everything else. The same one where there is but one."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[-1], mine[0]


@contextmanager
def python(
    name: str,
    words: Sequence[str],
    ready: str,
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
) -> Iterator[Process]:
    """Run ``python -m WORDS`` while the block lasts, from the moment that its log says ``ready``."""
    with begun(name, words, directory, environment=environment, core=core) as process:
        process.wait_until(lambda: has_said(process, ready), "it was ready", READY_SECONDS)
        yield process


@contextmanager
def begun(
    name: str,
    words: Sequence[str],
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
) -> Iterator[Process]:
    """The same from the moment that it begins."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [*_pinned(core), sys.executable, "-m", *words]
    log = directory / f"{name}.log"
    with started(name, command, log, {**base_environment(), **(environment or {})}, cwd=ROOT) as process:
        yield process


async def until_said(process: Process, word: str) -> None:
    """Return once a process has written this word. Raises ``ProcessFailed`` when it ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while not has_said(process, word):
        if process.child.poll() is not None or time.monotonic() > deadline:
            raise ProcessFailed(f"{process.name} never said {word}:\n{process.output()}")
        await asyncio.sleep(_GLANCE)


def has_said(process: Process, word: str) -> bool:
    """Whether a process has written this word by now."""
    return word in process.log.read_text(errors="replace")


def base_environment() -> dict[str, str]:
    """What every process of ours gets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process, and whatever it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Memory:
    """What a process holds, in MiB."""

    resident: float
    proportional: float
    """Where several processes share a page each has its part of it."""


def memory(pid: int) -> Memory:
    """What a process holds now."""
    told = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if "kB" in line
    )
    return Memory(*(int(told[name].split()[0]) / 1024 for name in ("Rss", "Pss")))


def cpu_seconds(pid: int) -> float:
    """How long a process was on a core so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(wanted: Wanted, directory: Path, core: int | None = None) -> Answers:
    """Let the load run in a process of its own. Raises ``RuntimeError`` where it broke off."""
    question, answer = directory / "wanted.json", directory / "answers.json"
    question.write_text(json.dumps(asdict(wanted)))
    answer.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(*_pinned(core), sys.executable, "-m", "bench.load", str(question), str(answer)),
        env=base_environment(),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the load broke off: {said.decode(errors='replace')[-2000:]}")
    told = json.loads(answer.read_text())
    return Answers(**{**told, "sent": {int(number): at for number, at in told["sent"].items()}})


def metrics_of(address: str) -> str:
    """What a process shows at its metrics listener."""
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def sums_by(text: str, metric: str, label: str) -> dict[str, float]:
    """The values of one metric in Prometheus' text format, summed by one label."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith(f"{metric}{{"):
            continue
        labels, _, value = line.removeprefix(f"{metric}{{").rpartition("} ")
        its = dict(part.split("=", 1) for part in labels.split(",") if "=" in part).get(label, '""').strip('"')
        found[its] = found.get(its, 0.0) + float(value.split()[0])
    return found


def _pinned(core: int | None) -> list[str]:
    if core is None or shutil.which("taskset") is None:
        return []
    return ["taskset", "-c", str(core)]
