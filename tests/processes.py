"""Child processes of tests: their output goes to a file, they are waited for by a condition and stopped by pid."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class ProcessFailed(Exception):
    """A child process ended or did not do what it should; the text shows the end of its output."""


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of 127.0.0.1 that nobody listens on now, all different.

    They lie below the range that systems give to outgoing connections, so that none is taken before its server starts,
    and below 32768, the highest that Temporal can write into PostgreSQL (``smallint``).
    """
    chosen: list[socket.socket] = []
    try:
        for port in random.SystemRandom().sample(range(10_000, 32_000), 10 * count + 100):
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                candidate.close()
                continue
            chosen.append(candidate)
            if len(chosen) == count:
                return tuple(one.getsockname()[1] for one in chosen)
        raise ProcessFailed(f"no {count} free ports between 10000 and 32000")
    finally:
        for one in chosen:
            one.close()


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(ask: Callable[[], T], what: str, seconds: float = 90) -> T:
    """Ask until the answer is true, and return it. Raises ``ProcessFailed`` when the time is over."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)
    return answer


@dataclass(frozen=True)
class Process:
    """A running child and the file that takes its output."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path

    def output(self, lines: int = 40) -> str:
        """The last lines that it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float, every: float = 0.05) -> None:
        """Return once ``condition`` holds. Raises ``ProcessFailed`` when the child ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not condition():
            if (code := self.child.poll()) is not None:
                raise ProcessFailed(f"{self.name} ended with {code} before {what}:\n{self.output()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name}: {what} did not happen within {seconds:g} s:\n{self.output()}")
            time.sleep(every)

    def stop(self, sign: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        """Ask it to end and return its exit code; one that does not end in time is killed and raises."""
        if self.child.poll() is None:
            self.child.send_signal(sign)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise ProcessFailed(
                f"{self.name} did not end within {seconds:g} s of {sign.name}:\n{self.output()}"
            ) from None


@contextmanager
def started(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    *,
    user: str | None = None,
    sign: signal.Signals = signal.SIGTERM,
    cwd: Path | None = None,
) -> Iterator[Process]:
    """Run ``command`` with exactly this environment while the block lasts; it is stopped by ``sign``."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*_bound_to_us(user, sign), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
        )
    process = Process(name, child, log)
    try:
        yield process
    finally:
        process.stop(sign)


def completed(
    name: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    user: str | None = None,
    seconds: float = 300,
) -> str:
    """Run to the end and return what it wrote. Raises ``ProcessFailed`` unless it succeeded."""
    done = subprocess.run(
        [*_bound_to_us(user, signal.SIGTERM), *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd="/",
        timeout=seconds,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise ProcessFailed(f"{name} ended with {done.returncode}:\n{text[-4000:]}")
    return text


def _bound_to_us(user: str | None, sign: signal.Signals) -> list[str]:
    """Another account if asked, and where the system can, an end to the child when the tests are killed."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    identity = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    return [setpriv, *identity, f"--pdeathsig={sign.name.removeprefix('SIG')}", "--"]


def bare_environment(*directories: Path) -> dict[str, str]:
    """What a container would have: a PATH that begins with ``directories``, a home, nothing of the caller's."""
    path = os.pathsep.join([*map(str, directories), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
