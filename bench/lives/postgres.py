"""Debian's PostgreSQL for the sides that stand on it: a cluster of its own, on 127.0.0.1, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.lives.drive import SideMissing
from tests.processes import Process, bare_environment, completed, free_ports, started
from tests.temporal_cluster import TemporalMissing, temporal_binaries

USER = "postgres"


@dataclass(frozen=True)
class Postgres:
    """The running server. It trusts whoever reaches it."""

    port: int
    pid: int
    version: str

    def url(self, database: str = USER, driver: str = "postgresql") -> str:
        """A database of it, as the superuser."""
        return f"{driver}://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        """Make an empty database."""
        with psycopg.connect(self.url(), autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{database}"')


def postgres_version() -> str:
    """Of the server that would be started. Raises ``SideMissing``."""
    words = [str(_binaries() / "postgres"), "--version"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=bare_environment()).stdout
    return said.removeprefix("postgres (PostgreSQL) ").strip()


def server_versions() -> dict[str, str]:
    """Of Temporal's server and of the PostgreSQL under it. Raises ``SideMissing``."""
    return {"temporal-server": temporal_version(), "postgres": postgres_version()}


def temporal_version() -> str:
    """Of the Temporal server that would be started on it. Raises ``SideMissing``."""
    try:
        server = temporal_binaries().server
    except TemporalMissing as missing:
        raise SideMissing(f"{missing} (make temporal-server)") from missing
    words = [str(server), "--version"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=bare_environment()).stdout
    return said.split()[-1]


@contextmanager
def running_postgres(*, flushes: bool) -> Iterator[Postgres]:
    """A fresh server while the block lasts. ``flushes``: a commit is on the disk before it is answered, the default
    of PostgreSQL; else it survives the death of every process, but not that of the machine.
    """
    binaries = _binaries()
    account = USER if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="rapport-bench-pg-") as folder:
        directory = Path(folder)
        log = directory / "log"
        log.touch()
        if account is not None:
            shutil.chown(directory, account, account)
        made = [
            str(binaries / "initdb"),
            "--auth=trust",
            f"--username={USER}",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        completed("initdb", [*made, "--pgdata", str(directory / "data")], bare_environment(), user=account)
        (port,) = free_ports(1)
        command = _command(binaries, directory, port, flushes=flushes)
        with started("postgres", command, log, bare_environment(), user=account, sign=signal.SIGINT,
                     cwd=directory) as process:  # fmt: skip
            yield Postgres(port, process.child.pid, _version_when_ready(process, port))


def _command(binaries: Path, directory: Path, port: int, *, flushes: bool) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": directory,
        "max_connections": 200,
        "shared_buffers": "256MB",
        "fsync": "on" if flushes else "off",
        "full_page_writes": "on" if flushes else "off",
        "log_min_messages": "warning",
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return [str(binaries / "postgres"), "-D", str(directory / "data"), *flags]


def _version_when_ready(process: Process, port: int) -> str:
    url, told = f"postgresql://{USER}@127.0.0.1:{port}/{USER}", []

    def answers() -> bool:
        try:
            with psycopg.connect(url, connect_timeout=2) as connection:
                told.append(connection.execute("SHOW server_version").fetchone())
        except psycopg.OperationalError:
            return False
        return True

    process.wait_until(answers, "it accepts connections", 60)
    return str(told[0][0]) if told[0] else ""


def _binaries() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not debian:
        raise SideMissing("there is no PostgreSQL server; apt install postgresql, or put its initdb on the PATH")
    return max(debian, key=lambda path: int(path.parts[-3])).parent
