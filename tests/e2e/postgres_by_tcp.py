"""A PostgreSQL as a deployment has it: reached by TCP, with roles and passwords. ``tests.postgres`` is reached by a
socket and trusts everybody, which Temporal's server cannot use and which would hide a wrong password.
"""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.postgres import postgres_missing
from tests.processes import bare_environment, completed, free_ports, started


class PostgresMissing(Exception):
    """This machine cannot start a PostgreSQL; the text is one line for a skip."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server and its superuser."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    binaries: Path

    @property
    def url(self) -> str:
        """The database ``postgres`` as the superuser."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/postgres"


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A fresh server on 127.0.0.1 while the block lasts; nothing of it remains. Raises ``PostgresMissing``."""
    if reason := postgres_missing():
        raise PostgresMissing(reason.partition(",")[0])
    binaries = _binaries()
    account = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    # Not in tmp_path: that is closed to the other account.
    with tempfile.TemporaryDirectory(prefix="rapport-postgres-") as folder:
        directory, password = Path(folder), secrets.token_hex(16)
        password_file, log = directory / "password", directory / "log"
        password_file.write_text(password)
        log.touch()
        if account is not None:
            shutil.chown(directory, account, account)
            shutil.chown(password_file, account, account)
        _initialise(binaries, directory, account)
        (port,) = free_ports(1)
        server = PostgresServer("127.0.0.1", port, "postgres", password, binaries)
        # SIGINT is PostgreSQL's fast shutdown: clients are cut off, data is written.
        with started("postgres", _command(server, directory), log, bare_environment(), user=account,
                     sign=signal.SIGINT, cwd=directory) as process:  # fmt: skip
            process.wait_until(lambda: _answers(server.url), "it accepts connections", 60)
            yield server


def _initialise(binaries: Path, directory: Path, account: str | None) -> None:
    options = ["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = [str(binaries / "initdb"), *options, "--pgdata", str(directory / "data"),
               "--pwfile", str(directory / "password")]  # fmt: skip
    completed("initdb", command, bare_environment(), user=account)


def _command(server: PostgresServer, directory: Path) -> list[str]:
    settings = {
        "listen_addresses": server.host,
        "port": server.port,
        "unix_socket_directories": directory,
        "max_connections": 200,
        "fsync": "off",  # a crash of the machine is not what is tested
        "log_min_messages": "warning",
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return [str(server.binaries / "postgres"), "-D", str(directory / "data"), *flags]


def _binaries() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max(debian, key=lambda path: int(path.parts[-3])).parent


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
