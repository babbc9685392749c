"""Runs one command and ends it when whoever started us is gone. Used as a script: ``supervise.py LOG COMMAND ...``.

Our standard input is a pipe that only the starter holds: it closes when the starter closes it, ends or is killed.
That holds on every POSIX system and for every way to die; a parent-death signal would be tied to one thread.
Standard output gets the pid of the command, nothing else. Standard library only: this file runs without our packages.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

GRACE_S = 5.0
"""Between asking the command to end and killing it."""

CANNOT_RUN = 127
"""Exit status, as shells use it."""


def run(log: Path, command: list[str]) -> int:
    """Run ``command`` with its output appended to ``log``; return its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the closing pipe is the one way to end us; a handler, unlike ignoring, is not inherited by the command
        signal.signal(number, lambda *_: None)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - our own caller names the command
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        except OSError as error:
            output.write(f"{command[0]}: {error.strerror}\n".encode())
            return CANNOT_RUN
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    starter_is_gone = threading.Event()
    threading.Thread(target=_end_with_starter, args=(child, starter_is_gone), daemon=True).start()
    status = child.wait()
    if starter_is_gone.is_set():
        log.unlink(missing_ok=True)  # nobody is left to read it
    return status


def _end_with_starter(child: "subprocess.Popen[bytes]", starter_is_gone: threading.Event) -> None:
    while os.read(0, 4096):  # unbuffered: a thread inside a buffered read would break the interpreter's own ending
        pass
    starter_is_gone.set()
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(abs(run(Path(sys.argv[1]), sys.argv[2:])))
