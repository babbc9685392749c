"""A fresh migrated store for each test: in memory where the system has a folder there, since nothing dies here."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.gateway.conftest import postgres_url  # noqa: F401 - a fixture is found by its name in this module

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@pytest.fixture
def sqlite_url(migrated_file: Path) -> Iterator[str]:
    """An empty SQLite store whose commits wait for no disk."""
    with tempfile.TemporaryDirectory(prefix="rapport-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        file = Path(folder) / "store.sqlite3"
        shutil.copy(migrated_file, file)
        yield f"sqlite:///{file}"
