"""Runs the services of docker-compose.yml as processes of this machine: same commands, same variables, other places."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tests.e2e.compose_file import ComposeFile, Service, read_compose_file, read_dockerfile
from tests.e2e.postgres_by_tcp import PostgresServer, running_postgres
from tests.processes import Process, bare_environment, completed, free_ports, started
from tests.temporal_cluster import TemporalCluster, TemporalDatabase, running_temporal, temporal_binaries

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

HOSTS = ("postgres", "temporal", "sandbox", "gateway")
"""Names that a container knows; here they are all 127.0.0.1."""

OURS = {"8080": "webhooks", "8081": "rest", "8082": "codec", "8090": "sandbox", "9464": "worker metrics"}
"""The ports that our services open in their containers; here each gets a free one."""

KEPT = frozenset(
    {
        "RAPPORT_LOG__FORMAT",
        "RAPPORT_LOG__LEVEL",
        "RAPPORT_CODEC__UI_ORIGIN",
        "RAPPORT_WORKER__GRACEFUL_SHUTDOWN",
        "TEMPORAL_NAMESPACE",
    }
)
"""Variables that mean the same everywhere."""

MOVED = frozenset(
    {
        "PGSERVICEFILE",
        "RAPPORT_CODEC__HOST",
        "RAPPORT_CODEC__PORT",
        "RAPPORT_CONFIG",
        "RAPPORT_GATEWAY__REST_HOST",
        "RAPPORT_GATEWAY__REST_PORT",
        "RAPPORT_GATEWAY__WEBHOOK_HOST",
        "RAPPORT_GATEWAY__WEBHOOK_PORT",
        "RAPPORT_KEYS__MASTER",
        "RAPPORT_KEYS__PEPPER",
        "RAPPORT_METRICS__BIND",
        "RAPPORT_STATE_DIR",
        "RAPPORT_STORE__URL",
        "TEMPORAL_ADDRESS",
    }
)
"""Variables that name a place, which is elsewhere on this machine."""


class NotTranslated(Exception):
    """The compose file has something that nothing here says how to run without containers."""


@dataclass(frozen=True)
class Places:
    """Where the ports and paths of the containers are on this machine."""

    ports: Mapping[str, int]
    paths: Mapping[str, Path]

    def moved(self, text: str) -> str:
        """``text`` with every container's host, port and path replaced by ours."""
        for path, local in self.paths.items():
            text = re.sub(rf"{re.escape(path)}(?![\w-])", str(local), text)
        hosts = "|".join(HOSTS)
        text = re.sub(rf"(?<![\w.-])(?:{hosts})(?=:\d)", "127.0.0.1", text).replace("0.0.0.0", "127.0.0.1")
        ports = "|".join(self.ports)
        return re.sub(rf"(?<![\w/.-])({ports})(?!\w)", lambda found: str(self.ports[found[1]]), text)

    def environment(self, service: Service) -> dict[str, str]:
        """The service's variables for a process here. Raises ``NotTranslated`` for one that nobody thought about."""
        local = {}
        for name, value in service.environment.items():
            if name in KEPT:
                local[name] = value
            elif name in MOVED:
                local[name] = self.moved(value)
                if local[name] == value:
                    raise NotTranslated(f"{name}={value} names no place of the compose file")
            else:
                raise NotTranslated(f"{name} is in docker-compose.yml: say in KEPT or MOVED what it means here")
        return local


@dataclass(frozen=True)
class ProductionShape:
    """The databases, the Temporal server and the places that our services run against."""

    compose: ComposeFile
    places: Places
    directory: Path
    secrets: Path
    temporal: TemporalCluster
    postgres: PostgresServer

    @cached_property
    def entry_point(self) -> list[str]:
        """What the image's ENTRYPOINT runs, out of the packages of this checkout."""
        final = read_dockerfile(ROOT / "Dockerfile")[-1]
        (entry,) = [i.text for i in final if i.name == "ENTRYPOINT"]
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        name = entry.strip('[]"')
        module, _, function = scripts[name].partition(":")
        program = f"import sys; sys.argv[0] = {name!r}; from {module} import {function}; sys.exit({function}())"
        return [sys.executable, "-c", program]

    def environment(self, service: str) -> dict[str, str]:
        """All that a process of ``service`` finds in its environment."""
        base = bare_environment()
        state = {"HOME": str(self.directory), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return base | state | self.places.environment(self.compose.services[service])

    def command(self, service: str) -> list[str]:
        """The command of ``service``."""
        return [*self.entry_point, *map(self.places.moved, self.compose.services[service].command)]

    def run(self, service: str) -> str:
        """Run a one-shot service to its end and return its output. Raises ``ProcessFailed``."""
        return completed(service, self.command(service), self.environment(service))

    @contextmanager
    def serving(self, service: str, changes: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Run ``service`` while the block lasts, from the moment that its own health check passes."""
        with self.launched(service, changes) as process:
            self.wait_until_healthy(process)
            yield process

    @contextmanager
    def launched(self, service: str, changes: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Run ``service`` while the block lasts, ready or not."""
        environment = {**self.environment(service), **(changes or {})}
        log = self.directory / f"{service}.log"
        with started(service, self.command(service), log, environment, cwd=self.directory) as process:
            yield process

    def wait_until_healthy(self, process: Process) -> None:
        """Return once the health check of a launched service passes. Raises ``ProcessFailed``."""
        process.wait_until(lambda: self.is_healthy(process.name), "its health check passes", 90, every=0.2)

    def elsewhere(self, directory: Path, ports: Mapping[str, int]) -> "ProductionShape":
        """The same for a second process of a service, with ports and logs of its own."""
        places = replace(self.places, ports={**self.places.ports, **ports})
        return replace(self, places=places, directory=directory)

    def is_healthy(self, service: str) -> bool:
        """Whether the health check of the compose file passes."""
        check = self.compose.services[service].healthcheck
        if check is None or check.test[:2] != ("CMD", "python"):
            raise NotTranslated(f"the health check of {service} is not run by python")
        test = [sys.executable, *map(self.places.moved, check.test[2:])]
        return subprocess.run(test, capture_output=True, timeout=10, check=False).returncode == 0

    def url(self, container_port: str, path: str) -> str:
        """Where this machine finds ``path`` at a port of the compose file."""
        return f"http://127.0.0.1:{self.places.ports[container_port]}{path}"

    def database_url(self, name: str) -> str:
        """One database, as the superuser."""
        return f"{self.postgres.url.rpartition('/')[0]}/{name}"

    def secret(self, name: str) -> str:
        """The content of a secret file."""
        return (self.secrets / name).read_text()


@contextmanager
def production_shape(directory: Path) -> Iterator[ProductionShape]:
    """Start PostgreSQL and Temporal with the scripts and variables of the deployment.

    Raises ``PostgresMissing``, ``TemporalMissing`` and ``ProcessFailed``.
    """
    temporal_binaries()
    compose = read_compose_file(ROOT / "docker-compose.yml")
    secrets = directory / "secrets"
    completed("deploy/make-secrets.sh", [DEPLOY / "make-secrets.sh", secrets], bare_environment())
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        superuser = {"PGHOST": postgres.host, "PGPORT": str(postgres.port), "PGPASSWORD": postgres.password}
        init = (
            bare_environment(postgres.binaries) | superuser | {"POSTGRES_USER": postgres.user, "SECRETS": str(secrets)}
        )
        completed("deploy/postgres-init.sh", [DEPLOY / "postgres-init.sh"], init)
        role = compose.services["temporal"].environment["POSTGRES_USER"]
        database = TemporalDatabase(postgres.host, postgres.port, role, (secrets / "temporal_db_password").read_text())
        settings = dict(compose.services["temporal"].environment) | {
            "DYNAMIC_CONFIG_FILE_PATH": str(DEPLOY / "dynamicconfig.yaml")
        }
        temporal = stack.enter_context(running_temporal(database, directory, server_settings=settings))
        places = _places(directory, secrets, postgres.port, temporal)
        _move_files(places, directory, secrets)
        yield ProductionShape(compose, places, directory, secrets, temporal, postgres)


def _places(directory: Path, secrets: Path, postgres_port: int, temporal: TemporalCluster) -> Places:
    free = dict(zip(OURS, free_ports(len(OURS)), strict=True))
    return Places(
        ports={"5432": postgres_port, "7233": int(temporal.address.rpartition(":")[2]), **free},
        paths={
            "/etc/rapport/rapport.yaml": directory / "rapport.yaml",
            "/run/secrets": secrets,
            "/run/accounts": secrets / "accounts",
            "/tmp/rapport": directory / "state",  # noqa: S108 - a path inside the container
        },
    )


def _move_files(places: Places, directory: Path, secrets: Path) -> None:
    """The two files that name other services: the topology, and the sandbox's settings."""
    example = (DEPLOY / "rapport.example.yaml").read_text()
    (directory / "rapport.yaml").write_text(places.moved(example))
    sandbox = secrets / "sandbox"
    settings = places.moved(sandbox.read_text())
    sandbox.unlink()
    sandbox.write_text(settings)
