"""Finds the program that runs the dev server, and builds it when there is none.

In order: ``TEMPORAL_CLI``, ``temporal`` on the PATH, our cache, the SDK's own download, a build with Go.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SetupError

Progress = Callable[[str], None]
"""Hears one line about anything that takes longer than two seconds."""

MODULE = Path(__file__).resolve().parent.parent / "tools" / "temporal"
PACKAGE = "github.com/temporalio/cli/cmd/temporal"
LEAST_SERVER = (1, 32)
DOWNLOAD = "v1.9.1"
"""Release of the Temporal CLI that the SDK is asked to download; module builds of it do not work."""

_VERSION = re.compile(r"\(Server (\d+)\.(\d+)\.(\d+)")
_ASK_S = 20.0
_DOWNLOAD_STALL_S = 10.0
_TELL_EVERY_S = 15.0
_POLL_S = 0.2

# Runs in a process of its own: a failed start inside ours was seen to abort the interpreter.
_DOWNLOAD_SCRIPT = """
import asyncio, sys
from temporalio.testing import WorkflowEnvironment
async def main():
    async with await WorkflowEnvironment.start_local(
        download_dest_dir=sys.argv[1], dev_server_download_version=sys.argv[2]
    ):
        pass
asyncio.run(main())
"""


def to_stderr(line: str) -> None:
    """Tell a person on standard error."""
    sys.stderr.write(f"rapport: {line}\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class _Places:
    """Where we build, where we keep the result, and who hears about it."""

    module: Path
    cache: Path
    progress: Progress

    @property
    def binary(self) -> Path:
        return self.cache / "temporal"

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """A directory on the cache's disk, so that a finished program moves into place in one step."""
        for left in self.cache.glob("making-*"):  # by a maker that was killed: we hold the lock now
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.cache, prefix="making-") as directory:
            yield Path(directory)


def find_temporal(*, module: Path = MODULE, download: bool = True, progress: Progress = to_stderr) -> Path:
    """The program to start a dev server with. Blocks, for minutes when it has to build: run it on a thread.

    ``module`` is the Go module to build, ``download`` whether to try the SDK's own download before that.
    Raises ``SetupError`` that tells what was tried and every way out.
    """
    chosen = os.environ.get("TEMPORAL_CLI")
    if chosen:
        problem = _unfit(Path(chosen))
        if problem:
            raise SetupError(f"TEMPORAL_CLI={chosen}: {problem}. Name another program or unset it")
        return Path(chosen)
    tried = []
    on_path = shutil.which("temporal")
    if on_path:
        problem = _unfit(Path(on_path))
        if problem is None:
            return Path(on_path)
        tried.append(f"{on_path} on the PATH: {problem}")
    places = _Places(module, cache_directory(module), progress)
    if _unfit(places.binary) is None:
        return places.binary
    places.cache.mkdir(parents=True, exist_ok=True)
    with _alone(places.cache / "lock", progress):
        if _unfit(places.binary) is None:  # somebody made it while we waited
            return places.binary
        for make in (_download, _build) if download else (_build,):
            problem = make(places)
            if problem is None:
                return places.binary
            tried.append(problem)
    raise SetupError(_ways_out(tried))


def cache_directory(module: Path = MODULE) -> Path:
    """Where this version of the program is kept for the user, shared by all checkouts."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    sums = module / "go.sum"
    key = hashlib.sha256(sums.read_bytes()).hexdigest()[:16] if sums.is_file() else DOWNLOAD
    return base / "rapport" / f"temporal-{key}"


def server_version(program: Path) -> tuple[int, int, int] | None:
    """The version of the server inside, out of ``(Server X.Y.Z``: module builds call themselves ``0.0.0-DEV``.

    None when the program does not say one.
    """
    try:
        said = subprocess.run(  # noqa: S603 - the program that the user chose or that we made
            [program, "--version"], capture_output=True, text=True, timeout=_ASK_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(said)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _unfit(program: Path) -> str | None:
    """Why this program will not do; None when it will."""
    if not program.is_file():
        return "no such file"
    version = server_version(program)
    if version is None:
        return "does not say which server it holds"
    if version[:2] < LEAST_SERVER:
        found, least = ".".join(map(str, version)), ".".join(map(str, LEAST_SERVER))
        return f"holds server {found}, we need {least} or newer"
    return None


@contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time download or build; the system frees the lock of one that dies."""
    with lock.open("a") as handle:
        told = 0.0
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - started
                if waited >= told:
                    progress(f"another process is getting the Temporal dev server; waiting for it ({waited:.0f} s)")
                    told = waited + _TELL_EVERY_S
                time.sleep(_POLL_S)
        yield


def _download(places: _Places) -> str | None:
    """Let the SDK download a release; gives up when nothing arrives for some seconds."""
    places.progress(
        f"looking for the Temporal CLI {DOWNLOAD} to download (gives up after {_DOWNLOAD_STALL_S:.0f} quiet seconds)"
    )
    with places.workshop() as into:
        command = [sys.executable, "-c", _DOWNLOAD_SCRIPT, str(into), DOWNLOAD]
        size, moved = 0, time.monotonic()

        def stalled() -> bool:
            nonlocal size, moved
            now = _bytes_in(into)
            if now != size:
                size, moved = now, time.monotonic()
            return time.monotonic() - moved > _DOWNLOAD_STALL_S

        job = _Job("downloading the Temporal CLI", command, into, dict(os.environ))
        if job.run(places.progress, stalled) is not None:
            return "download by the Temporal SDK: nothing arrived (is the internet reachable?)"
        for program in sorted(into.iterdir()):
            if program.is_file() and _unfit(program) is None:
                program.replace(places.binary)
                return None
    return "download by the Temporal SDK: what arrived is not a Temporal CLI with a new enough server"


def _build(places: _Places) -> str | None:
    """Build the module with Go and put the program in place."""
    go = shutil.which("go")
    if go is None:
        return "build with Go: there is no go on the PATH"
    if not (places.module / "go.mod").is_file():
        return f"build with Go: {places.module} is not there (it comes with a checkout, not with a package)"
    places.progress(
        "building the Temporal dev server with Go, once for this user: about 6 minutes on two cores, "
        f"less when Go has it cached; it is kept in {places.cache}"
    )
    with places.workshop() as into:
        built = into / "temporal"
        command = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(built), PACKAGE]
        job = _Job("building the Temporal dev server", command, places.module, {**os.environ, "CGO_ENABLED": "0"})
        said = job.run(places.progress)
        if said is not None:
            return f"build with Go failed: {said}"
        problem = _unfit(built)
        if problem is not None:
            return f"build with Go: the program {problem}"
        built.replace(places.binary)
    places.progress("the Temporal dev server is built")
    return None


@dataclass(frozen=True)
class _Job:
    """A command that may take minutes."""

    what: str
    command: list[str]
    directory: Path
    environ: dict[str, str]

    def run(self, progress: Progress, give_up: Callable[[], bool] = lambda: False) -> str | None:
        """Run to the end with signs of life; None when it went well, else the last lines that it said."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(  # noqa: S603 - commands of ours
                self.command,
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                gave_up = not self._wait(process, progress, give_up)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if gave_up:
                return "gave up"
            output.seek(0)
            said = output.read().decode(errors="replace")[-1500:].strip()
            return None if process.returncode == 0 else said or f"status {process.returncode}"

    def _wait(self, process: "subprocess.Popen[bytes]", progress: Progress, give_up: Callable[[], bool]) -> bool:
        started = told = time.monotonic()
        while True:
            try:
                process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                if give_up():
                    return False
            else:
                return True
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                progress(f"{self.what}: {told - started:.0f} s so far")


def _bytes_in(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _ways_out(tried: list[str]) -> str:
    least = ".".join(map(str, LEAST_SERVER))
    return "\n".join(
        [
            "there is no Temporal dev server on this machine and none could be made.",
            *(f"  tried: {line}" for line in tried),
            "Any one of these helps:",
            f"  - put a temporal CLI with server {least} or newer on the PATH (temporal --version shows the server)",
            "  - name such a program in TEMPORAL_CLI",
            "  - name a running server in TEMPORAL_ADDRESS",
            "  - install Go 1.26 with access to a Go module proxy and start again: we build it",
        ]
    )


def main() -> int:
    """Find or make the program and print where it is; for ``make``."""
    try:
        sys.stdout.write(f"{find_temporal()}\n")
    except SetupError as error:
        to_stderr(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
