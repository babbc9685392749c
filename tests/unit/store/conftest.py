"""Every test that takes ``url`` runs on SQLite and, where it is installed, on PostgreSQL."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from store.keys import KeyRing
from store.stores import Stores


@pytest.fixture(scope="session")
def server(postgres: str) -> str:
    """A PostgreSQL server."""
    return postgres


@pytest.fixture
def file(migrated_file: Path, tmp_path: Path) -> Path:
    """A migrated, empty SQLite store."""
    copy = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, copy)
    return copy


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated, empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('file')}"
    else:
        with request.getfixturevalue("lending").lend() as made:
            yield made


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(bytes(32), bytes(range(32)))


@pytest.fixture
async def stores(url: str, keys: KeyRing) -> AsyncIterator[Stores]:
    async with Stores.open(url, keys) as opened:
        yield opened
