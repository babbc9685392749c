"""The DBOS side: one process of the service, and PostgreSQL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.lives.drive import Place, Running
from bench.lives.others import environment, python, start_at, version_of
from bench.lives.postgres import postgres_version, running_postgres
from tests.processes import listens, started


@dataclass(frozen=True)
class DbosSide:
    """``flushes``: whether PostgreSQL has a commit on the disk before it answers."""

    flushes: bool = True
    webhook_path: str = "/webhooks"

    @property
    def name(self) -> str:
        """With what it stands on."""
        return "DBOS (PostgreSQL)"

    def versions(self) -> Mapping[str, str]:
        """Of what it is made."""
        return {"dbos": version_of("dbos"), "postgres": postgres_version()}

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        """PostgreSQL first, then the service."""
        with running_postgres(flushes=self.flushes) as postgres:
            postgres.create("dbos")
            settings = environment(place, BENCH_DATABASE=postgres.url("dbos"))
            command = [str(python()), "-m", "bench.dbos_side.service", str(place.webhook_port)]
            with started("dbos", command, place.directory / "dbos.log", settings, cwd=place.directory) as process:
                process.wait_until(lambda: listens(place.webhook_port), "it listens", 60)
                yield Running(
                    lambda reference, phone: start_at(place.webhook_port, reference, phone),
                    service={"service": process.child.pid},
                    engine={"postgres": postgres.pid},
                )
