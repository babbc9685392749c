"""Migrated, empty stores: bytes of an SQLite file, and PostgreSQL databases that are lent from test to test.

To make and drop a database takes PostgreSQL a fifth of a second, for the hundreds of files that every database has. To
take out the rows that a test left behind takes some milliseconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from store.migrate import upgrade
from tests.postgres import conninfo, database_url, fresh_database

_VERSION = "alembic_version"

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> %s ORDER BY tablename"

_END_ALL_OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_RESTART_COUNTERS = "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences"

_SHAPE = """
    WITH ours AS (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    parts AS (
        SELECT 'class ' || oid || ' ' || xmin AS part FROM pg_class WHERE oid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'column ' || attrelid || ' ' || attnum || ' ' || xmin FROM pg_attribute
            WHERE attrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'index ' || indexrelid || ' ' || xmin FROM pg_index WHERE indrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'constraint ' || oid || ' ' || xmin FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'trigger ' || oid || ' ' || xmin FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'setting ' || setrole || ' ' || setconfig::text FROM pg_db_role_setting
        UNION ALL SELECT 'schema ' || oid || ' ' || xmin FROM pg_namespace
            WHERE nspname !~ '^pg_(toast_)?temp_'
        UNION ALL SELECT 'routine ' || oid || ' ' || xmin FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'version ' || version_num FROM alembic_version
    )
    SELECT md5(string_agg(part, ',' ORDER BY part)) FROM parts
"""
"""Names each state of a schema: every change of a definition is a new version of a row, which ``xmin`` tells."""


@cache
def migrated_sqlite() -> bytes:
    """A migrated, empty SQLite store, to be written into a file: migrations take thirty times as long."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "store.sqlite3"
        upgrade(f"sqlite:///{file}")
        return file.read_bytes()


class Lending:
    """Databases of one server. What is lent belongs to one test at a time; as many are made as are lent at once."""

    def __init__(self, server: str, template: str) -> None:
        self._server = server
        self._template = template
        self._idle: list[str] = []
        self._shapes: dict[str, str] = {}

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the URL of a migrated database without rows."""
        name = self._idle.pop() if self._idle else self._made()
        try:
            yield database_url(self._server, name)
        finally:
            if self._emptied(name):
                self._idle.append(name)
            else:
                self._drop(name)

    def close(self) -> None:
        """Drop what is not lent."""
        while self._idle:
            self._drop(self._idle.pop())

    def _made(self) -> str:
        name = f"t_{uuid4().hex}"
        with psycopg.connect(conninfo(self._server), autocommit=True) as admin:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            admin.execute(statement.format(sql.Identifier(name), sql.Identifier(self._template)))
        with psycopg.connect(conninfo(database_url(self._server, name)), autocommit=True) as database:
            for table in _tables(database):
                found = database.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
                assert found == (0,), f"a migration writes rows into {table}: emptying would lose them for later tests"
            self._shapes[name] = _shape(database)
        return name

    def _emptied(self, name: str) -> bool:
        """Take out every row. False where a test changed more than rows: its database is of no use to others."""
        with psycopg.connect(conninfo(database_url(self._server, name))) as database:
            database.execute(_END_ALL_OTHERS)
            if _shape(database) != self._shapes[name]:
                return False
            database.execute("SET session_replication_role = replica")  # no foreign keys: any order will do
            for table in _tables(database):
                database.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            database.execute(_RESTART_COUNTERS)
        return True

    def _drop(self, name: str) -> None:
        del self._shapes[name]
        with psycopg.connect(conninfo(self._server), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def migrated(server: str) -> Iterator[str]:
    """The name of a migrated database without rows on this server, to make others from."""
    with fresh_database(server) as url:
        upgrade(url)
        yield make_url(url).database or ""


def _tables(database: psycopg.Connection) -> list[str]:
    return [str(name) for (name,) in database.execute(_TABLES, [_VERSION])]


def _shape(database: psycopg.Connection) -> str:
    found = database.execute(_SHAPE).fetchone()
    assert found is not None
    return str(found[0])
