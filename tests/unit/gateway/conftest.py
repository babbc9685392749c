"""Stores for the tests of the gateway: a fresh migrated SQLite file each, and PostgreSQL where it is installed."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from store.keys import KeyRing
from store.stores import Stores
from tests.databases import Lending
from tests.unit.gateway.world import FakeTemporal, World


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    return f"sqlite:///{file}"


@pytest.fixture
def postgres_url(lending: Lending) -> Iterator[str]:
    with lending.lend() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty store of each kind."""
    made: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return made


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(bytes(32), bytes(range(32)))


@pytest.fixture
async def stores(sqlite_url: str, keys: KeyRing) -> AsyncIterator[Stores]:
    async with Stores.open(sqlite_url, keys) as opened:
        yield opened


@pytest.fixture
def world(stores: Stores) -> World:
    return World(stores)


@pytest.fixture
def temporal() -> FakeTemporal:
    return FakeTemporal()
