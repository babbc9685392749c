"""What concerns every test, and the databases that tests of several rooms share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from runtime.zones import pin_zone_rules
from tests.databases import Lending, migrated, migrated_sqlite
from tests.figures import pytest_terminal_summary, show
from tests.memory import in_memory
from tests.postgres import postgres_missing, postgres_server

__all__ = ["pytest_terminal_summary", "show"]

settings.register_profile("rapport", deadline=None)  # a busy machine is no defect; what takes how long is bench's
settings.load_profile("rapport")
pin_zone_rules()  # as every process of ours does

SLOW_FIRST = (
    "tests/chaos/test_short",
    "tests/e2e/test_production",
    "tests/markers/test_markers",
    "tests/chaos",
    "tests/e2e/test_demo",
    "tests/e2e",
    "tests/permutations",
    "tests/workflow",
    "tests/ui",
    "tests/unit/gateway",
    "tests/unit/store",
    "tests/unit/starter",
)
"""Files that take long begin first, or one of the two processes would wait for them at the end."""


def pytest_configure() -> None:
    """Temporary folders of tests lie in memory, unless somebody said where; and an interrupt is one."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it begins in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (memory := in_memory()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))  # read when the first folder is asked for


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by weight; within a file the order stays random."""
    items.sort(key=lambda item: next((n for n, start in enumerate(SLOW_FIRST) if item.nodeid.startswith(start)), 99))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store, to be copied."""
    file = tmp_path_factory.mktemp("store") / "migrated.sqlite3"
    file.write_bytes(migrated_sqlite())
    return file


@pytest.fixture(scope="module", autouse=True)
def interrupts_as_ever() -> Iterator[None]:
    """Whoever leaves a handler of interrupts behind would be the undoing of a test in quite another file."""
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(scope="module", autouse=True)
def logging_as_ever() -> Iterator[None]:
    """Whoever leaves other logging behind decides what a test in quite another file finds in its log, or does not."""
    before = _logging()
    yield
    changed = [name for name, value in _logging().items() if before[name] != value]
    if changed:
        structlog.configure(**before | {"processors": [*before["processors"]]})  # only the one who did it fails
        pytest.fail(
            f"this module left structlog configured otherwise ({', '.join(changed)}): "
            "whoever configures it puts back what structlog.get_config() said before",
            pytrace=False,
        )


def _logging() -> dict[str, Any]:
    """How structlog is configured; the list of processors is one that others change in place."""
    found = structlog.get_config()
    return found | {"processors": tuple(found["processors"])}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server; tests that need one are skipped where none is installed."""
    missing = postgres_missing()
    if missing:
        pytest.skip(missing)
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_database(postgres: str) -> Iterator[str]:
    """The name of a migrated PostgreSQL store without rows, to make others from."""
    with migrated(postgres) as name:
        yield name


@pytest.fixture(scope="session")
def lending(postgres: str, migrated_database: str) -> Lending:
    """Migrated PostgreSQL stores without rows, for a test each."""
    return Lending(postgres, migrated_database)
