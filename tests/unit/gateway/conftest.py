"""Stores for the tests of the gateway: a fresh migrated SQLite file each, and PostgreSQL where it is installed."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from store.keys import KeyRing
from store.migrate import upgrade
from store.stores import Stores
from tests.postgres import fresh_database, postgres_missing, postgres_server
from tests.unit.gateway.world import FakeTemporal, World


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inbox") / "migrated.sqlite3"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    missing = postgres_missing()
    if missing:
        pytest.skip(missing)
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_database(postgres: str) -> Iterator[str]:
    """The name of a migrated, empty database, to make others from."""
    with fresh_database(postgres) as url:
        upgrade(url)
        yield make_url(url).database or ""


@pytest.fixture
def postgres_url(postgres: str, migrated_database: str) -> Iterator[str]:
    with fresh_database(postgres, template=migrated_database) as url:
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
