"""The migrations build what the tables say, once, and travel inside the package."""

import importlib
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import store
from domain.errors import SetupError
from store import migrate
from store.database import Database, migration
from store.keys import KeyRing
from store.stores import Stores
from store.tables import metadata
from tests.postgres import fresh_database


def _difference(url: str) -> list[object]:
    for module in pkgutil.iter_modules(store.__path__, "store."):  # every table of the room declares itself
        if not module.ispkg:
            importlib.import_module(module.name)
    with migration(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def test_a_migrated_store_is_what_the_tables_say(url: str) -> None:
    assert _difference(url) == []


def test_the_comparison_would_see_a_difference(url: str) -> None:
    with migration(url) as connection:
        connection.exec_driver_sql("ALTER TABLE holds DROP COLUMN actor")
    assert len(_difference(url)) == 1


def test_a_new_store_becomes_current_and_stays_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a folder' / '100% new.sqlite3'}"
    (tmp_path / "a folder").mkdir()
    assert (migrate.current(url), migrate.is_current(url)) == (None, False)
    migrate.upgrade(url)
    migrate.upgrade(url)
    assert (migrate.current(url), migrate.is_current(url)) == (migrate.newest(), True)


def test_processes_that_migrate_at_once_do_not_meet_on_a_file(tmp_path: Path) -> None:
    _at_once(f"sqlite:///{tmp_path / 'store.sqlite3'}")


def test_processes_that_migrate_at_once_do_not_meet_on_a_server(server: str) -> None:
    with fresh_database(server) as url:
        _at_once(url)


def _at_once(url: str) -> None:
    with ThreadPoolExecutor(4) as several:
        list(several.map(migrate.upgrade, [url] * 4))
    assert migrate.is_current(url)


async def test_a_store_that_was_not_migrated_is_not_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    await (await Database.open(url)).close()
    with pytest.raises(SetupError, match="migrate"):
        async with Stores.open(url, KeyRing.generate()):
            pass
