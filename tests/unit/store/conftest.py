"""Every test that takes ``url`` runs on SQLite and, where it is installed, on PostgreSQL."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from store.keys import KeyRing
from store.migrate import upgrade
from store.stores import Stores
from tests.postgres import fresh_database, postgres_missing, postgres_server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store, to be copied."""
    file = tmp_path_factory.mktemp("store") / "migrated.sqlite3"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL server."""
    missing = postgres_missing()
    if missing:
        pytest.skip(missing)
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_database(server: str) -> Iterator[str]:
    """Name of a migrated, empty PostgreSQL store, to make others from."""
    with fresh_database(server) as url:
        upgrade(url)
        yield make_url(url).database or ""


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
        server = request.getfixturevalue("server")
        with fresh_database(server, template=request.getfixturevalue("migrated_database")) as made:
            yield made


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(bytes(32), bytes(range(32)))


@pytest.fixture
async def stores(url: str, keys: KeyRing) -> AsyncIterator[Stores]:
    async with Stores.open(url, keys) as opened:
        yield opened
