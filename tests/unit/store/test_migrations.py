"""The migrations build what the tables say, once, and travel inside the package."""

import importlib
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import store
from domain.errors import SetupError
from store import migrate
from store.database import Database, migration
from store.keys import KeyRing
from store.migrating import alembic_config
from store.migrations import HEAD
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
    assert (migrate.current(url), migrate.is_current(url)) == (HEAD, True)


def test_the_newest_step_is_the_one_that_is_told(tmp_path: Path) -> None:
    with migration(f"sqlite:///{tmp_path / 'store.sqlite3'}") as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [HEAD]


def test_what_a_store_holds_outlives_a_migration_and_learns_what_was_asked_for(tmp_path: Path) -> None:
    _outlives(f"sqlite:///{tmp_path / 'store.sqlite3'}")


def test_what_a_server_holds_outlives_a_migration_and_learns_what_was_asked_for(server: str) -> None:
    with fresh_database(server) as url:
        _outlives(url)


_OLD_ROWS = (
    (
        "INSERT INTO template_states (account, name, language, status, category, flow_missing, read_at, stale)"
        " VALUES ('main', 'hello', 'nl', 'APPROVED', 'UTILITY', false, CURRENT_TIMESTAMP, false)"
    ),
    (
        "INSERT INTO inbox_events"
        " (delivery_id, provider, account, key_digest, kind, state, workflow_id, received_at)"
        " VALUES (1, 'meta', 'main', 'd-1', 'text', 'pending', 'engagement:acme:a-1', CURRENT_TIMESTAMP)"
    ),
    (
        "INSERT INTO sends (key, workflow_id, tenant, account, line, step, n, contact_id, state, attempt, reference,"
        " flow_token, suppress, claimed_at) VALUES ('k-1', 'engagement:acme:a-1', 'acme', 'main', 'nl-1', 'opening', 1,"
        " 'c-1', 'sent', 1, 'att_1', 'ft_1', false, CURRENT_TIMESTAMP)"
    ),
    (
        "INSERT INTO inbox_relays (workflow_id, wanted_at, not_before, failures, one_by_one)"
        " VALUES ('engagement:acme:a-1', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 0, false)"
    ),
)


def _outlives(url: str) -> None:
    with migration(url) as connection:
        command.upgrade(alembic_config(connection), "0002")
        for statement in _OLD_ROWS:
            connection.exec_driver_sql(statement)
    migrate.upgrade(url)
    assert _difference(url) == []
    with migration(url) as connection:
        asked = connection.exec_driver_sql("SELECT asked_category, heard_at FROM template_states").all()
        events = connection.exec_driver_sql("SELECT id, workflow_id FROM inbox_events").all()
        relays = connection.exec_driver_sql("SELECT workflow_id FROM inbox_relays").all()
        uncounted = connection.exec_driver_sql("SELECT key FROM sends WHERE left_at IS NULL OR left_at <> claimed_at")
        assert uncounted.all() == [], "what was sent before caps existed counts in them"
        assert [tuple(row) for row in (*asked, *events, *relays)] == [
            ("UTILITY", None),
            (1, "engagement:acme:a-1"),
            ("engagement:acme:a-1",),
        ]
        command.downgrade(alembic_config(connection), "0002")
        command.upgrade(alembic_config(connection), "head")
    assert _difference(url) == []


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
