"""Which machine this is, so that a SQLite file is never shared by two."""

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


@dataclass(frozen=True)
class HostIdentity:
    """A machine: ``machine`` is compared, ``hostname`` is shown to people."""

    machine: str
    hostname: str


def this_host() -> HostIdentity:
    """Identity of this machine: its machine id and its host name, hashed, because machine-id(5) asks not to expose it.

    Both count: containers of one image share a machine id, and machines without a machine id have only a name.
    """
    hostname = socket.gethostname()
    digest = hashlib.sha256(f"rapport-store:{_machine_id()}:{hostname}".encode()).hexdigest()
    return HostIdentity(machine=digest, hostname=hostname)


def _machine_id() -> str:
    for file in _MACHINE_ID_FILES:
        try:
            found = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found
    return ""
