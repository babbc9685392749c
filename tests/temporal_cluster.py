"""A real temporal-server on PostgreSQL for tests, set up by the same scripts as the deployment."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import Process, ProcessFailed, bare_environment, completed, free_ports, listens, started

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"

BUILD_SECONDS = 150
"""How long a test may build: enough with Go's cache warm (15 s on two cores), too little for a first build."""


class TemporalMissing(Exception):
    """This machine has no temporal-server and cannot build one; the text is one line for a skip."""


@dataclass(frozen=True)
class TemporalBinaries:
    """``temporal-server``, ``temporal-sql-tool`` and the ``temporal`` CLI, each in a directory of ``path``."""

    path: tuple[Path, ...]
    server: Path


@dataclass(frozen=True)
class TemporalDatabase:
    """Where the server keeps its data: a role of PostgreSQL that may create databases."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class TemporalCluster:
    """A running server whose namespace and search attributes exist."""

    address: str
    namespace: str
    metrics: str
    server: Process


def cache_directory() -> Path:
    """Where binaries built from tools/temporal are kept: per user, per version of go.sum."""
    digest = hashlib.sha256((ROOT / "tools/temporal/go.sum").read_bytes()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rapport" / f"temporal-{digest}"


def temporal_binaries() -> TemporalBinaries:
    """Find the binaries on PATH or in the cache, or build them. Raises ``TemporalMissing``."""
    server, tool, cli = (_find(name) for name in ("temporal-server", "temporal-sql-tool", "temporal"))
    if server is None or tool is None:
        _build([str(DEPLOY / "build-temporal-server.sh")], os.environ)
        server, tool = (_find(name) for name in ("temporal-server", "temporal-sql-tool"))
    if cli is None:
        target = cache_directory() / "temporal"
        _build(["go", "build", "-C", str(ROOT / "tools/temporal"), "-trimpath", "-ldflags", "-s -w", "-o", str(target),
                "github.com/temporalio/cli/cmd/temporal"], {**os.environ, "CGO_ENABLED": "0"})  # fmt: skip
        cli = _find("temporal")
    if server is None or tool is None or cli is None:
        raise TemporalMissing(f"building Temporal left no binaries in {cache_directory()}: remove it and try again")
    return TemporalBinaries(path=tuple(dict.fromkeys((server.parent, tool.parent, cli.parent))), server=server)


def _find(name: str) -> Path | None:
    found = shutil.which(name)
    if found is not None and name != "temporal":
        return Path(found)
    kept = cache_directory() / name
    return kept if os.access(kept, os.X_OK) else (Path(found) if found else None)


def _build(command: list[str], environment: Mapping[str, str]) -> None:
    if shutil.which("go") is None:
        raise TemporalMissing("temporal-server is neither on PATH nor built, and go is not installed to build it")
    if sys.__stderr__ is not None:  # past pytest's capture: this may take minutes
        sys.__stderr__.write("building Temporal from tools/temporal: seconds with a warm Go cache\n")
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as build:
        try:
            _, said = build.communicate(timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(build.pid, signal.SIGTERM)  # the compilers too
            build.communicate()
            raise TemporalMissing(
                f"building temporal-server takes over {BUILD_SECONDS} s: run deploy/build-temporal-server.sh once"
            ) from None
    if build.returncode != 0:
        last = (said.strip().splitlines() or ["no message"])[-1]
        raise TemporalMissing(f"temporal-server cannot be built ({last}): run deploy/build-temporal-server.sh")


@contextmanager
def running_temporal(
    database: TemporalDatabase,
    directory: Path,
    *,
    server_settings: Mapping[str, str] | None = None,
    namespace: str = "rapport",
) -> Iterator[TemporalCluster]:
    """Set up schema, server, namespace and search attributes; the server is stopped when the block ends.

    ``server_settings`` are variables of temporal-server, as docker-compose.yml sets them; addresses and ports are ours.
    Raises ``TemporalMissing`` and ``ProcessFailed``.
    """
    binaries = temporal_binaries()
    base = bare_environment(*binaries.path)
    completed("deploy/temporal-schema.sh", [DEPLOY / "temporal-schema.sh"], {**base, **_for_sql_tool(database)})
    ports, grpc, metrics = _ports()
    settings = {
        "NUM_HISTORY_SHARDS": "4",
        "LOG_LEVEL": "warn",
        "DYNAMIC_CONFIG_FILE_PATH": str(DEPLOY / "dynamicconfig.yaml"),
        **(server_settings or {}),
        **_for_server(database),
        **ports,
    }
    command = [str(binaries.server), "start"]
    with started(
        "temporal-server", command, directory / "temporal-server.log", base | settings, cwd=directory
    ) as server:
        address = f"127.0.0.1:{grpc}"
        server.wait_until(lambda: listens(grpc), f"it listens on {address}", 120)
        set_up = {**base, "TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": namespace, "HOME": str(directory)}
        try:
            completed("deploy/temporal-namespace.sh", [DEPLOY / "temporal-namespace.sh"], set_up)
        except ProcessFailed as failure:
            raise ProcessFailed(f"{failure}\ntemporal-server wrote:\n{server.output()}") from None
        yield TemporalCluster(address, namespace, f"127.0.0.1:{metrics}", server)


def _for_sql_tool(database: TemporalDatabase) -> dict[str, str]:
    return {
        "SQL_HOST": database.host,
        "SQL_PORT": str(database.port),
        "SQL_USER": database.user,
        "SQL_PASSWORD": database.password,
    }


def _for_server(database: TemporalDatabase) -> dict[str, str]:
    return {
        "DB": "postgres12",
        "POSTGRES_SEEDS": database.host,
        "DB_PORT": str(database.port),
        "POSTGRES_USER": database.user,
        "POSTGRES_PWD": database.password,
        "BIND_ON_IP": "127.0.0.1",
        "TEMPORAL_BROADCAST_ADDRESS": "127.0.0.1",
        "TEMPORAL_ALLOW_NO_AUTH": "true",
    }


def _ports() -> tuple[dict[str, str], int, int]:
    names = [f"{service}_{kind}_PORT" for service in ("FRONTEND", "HISTORY", "MATCHING", "WORKER")
             for kind in ("GRPC", "MEMBERSHIP")]  # fmt: skip
    *numbers, http, metrics = free_ports(len(names) + 2)
    ports = {name: str(number) for name, number in zip(names, numbers, strict=True)}
    ports |= {"FRONTEND_HTTP_PORT": str(http), "PROMETHEUS_ENDPOINT": f"127.0.0.1:{metrics}"}
    return ports, int(ports["FRONTEND_GRPC_PORT"]), metrics
