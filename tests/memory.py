"""Where tests keep their files: in memory where the system lets them, since no test is about the death of a machine.

A commit that has to reach a disk waits some milliseconds for it, and there are many thousands of them. What a process
wrote into such a folder outlives it, also when it is killed.
"""

import os
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - whoever uses it makes a folder of their own in it
_ROOM = 2 << 30
"""Bytes. Two processes that run every test need a tenth of it."""


def in_memory(memory: Path = _MEMORY, *, room: int = _ROOM) -> Path | None:
    """A folder for temporary folders whose files wait for no disk.

    None where there is no such folder, no leave to write there or to run what lies there, or not ``room`` bytes free.
    """
    try:
        system = os.statvfs(memory)
    except OSError:
        return None
    fits = system.f_bavail * system.f_frsize >= room and not system.f_flag & os.ST_NOEXEC
    return memory if fits and os.access(memory, os.W_OK | os.X_OK) else None
