"""One database, SQLite or PostgreSQL, for code that thinks in transactions."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, Table, create_engine, event, exc, inspect, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from domain.errors import SetupError, StoreUnavailable
from store.host import HostIdentity, this_host
from store.outages import translated
from store.tables import store_host
from store.traces import ONCE_MORE_SECONDS, clear_traces
from store.veil import Veil, veil

if TYPE_CHECKING:  # loading what only PostgreSQL needs takes a process on SQLite a tenth of a second: see its uses
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.sql.dml import ReturningInsert

T = TypeVar("T")
Values = Mapping[str, object]

READER_THREADS = 4
"""SQLite: readers never wait for the writer (WAL), so a few are enough."""
POSTGRES_THREADS = 8
"""PostgreSQL: transactions at once in this process; the pool has as many connections, so none waits for one."""
BUSY_SECONDS = 5.0
"""How long a transaction waits for a lock before the store counts as not answering."""
STATEMENT_SECONDS = 15.0
"""PostgreSQL: how long one statement may take before the store counts as not answering."""

_MIGRATION_LOCK = 0x52415050
"""PostgreSQL advisory lock under which only one process migrates."""

log = structlog.get_logger()


@dataclass(frozen=True)
class _Lane:
    """An engine and the threads that use it."""

    engine: Engine
    threads: ThreadPoolExecutor


class Database:
    """Runs transactions on threads, so that an event loop never waits for a disk.

    A function given to ``write`` or ``read`` runs in one transaction: committed when it returns, rolled back when it
    raises. It must not keep the connection. Cancelling the caller does not tear a transaction that has begun.
    """

    def __init__(self, writers: _Lane, readers: _Lane) -> None:
        self._writers = writers
        self._readers = readers
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, host: HostIdentity | None = None) -> "Database":
        """Open the store at ``url``: ``sqlite:///path`` or ``postgresql+psycopg://…``.

        Raises ``SetupError`` for a URL that we cannot serve and for a SQLite file that belongs to another host,
        ``StoreUnavailable`` when the database does not answer. ``host`` replaces this machine's identity in tests.
        """
        parsed = _checked(url)
        database = cls._sqlite(parsed) if is_sqlite(parsed) else cls._postgresql(parsed)
        try:
            await database.ready()
            if is_sqlite(parsed):
                identity = host or this_host()
                await database.write(lambda connection: _refuse_second_host(connection, identity))
        except BaseException:
            await database.close()
            raise
        return database

    @classmethod
    def _sqlite(cls, url: URL) -> "Database":
        return cls(
            _Lane(_sqlite_engine(url, size=1, begin="BEGIN IMMEDIATE"), ThreadPoolExecutor(1, "store-writer")),
            _Lane(
                _sqlite_engine(url, size=READER_THREADS, begin="BEGIN"),
                ThreadPoolExecutor(READER_THREADS, "store-reader"),
            ),
        )

    @classmethod
    def _postgresql(cls, url: URL) -> "Database":
        engine = _postgresql_engine(url, POSTGRES_THREADS)
        threads = ThreadPoolExecutor(POSTGRES_THREADS, "store")
        return cls(_Lane(engine, threads), _Lane(engine.execution_options(postgresql_readonly=True), threads))

    def veil(self, keys: Veil) -> None:
        """Read and write the columns that nobody may read (``store.veil``) with these keys."""
        for lane in (self._writers, self._readers):
            veil(lane.engine, keys)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one durable transaction. Raises ``StoreUnavailable`` and whatever ``work`` raises."""
        return await self._on(self._writers, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction that cannot write. Raises like ``write``."""
        return await self._on(self._readers, work)

    async def leave_no_trace(self, tables: Sequence[str], *, to_rewrite: Sequence[str] = ()) -> bool:
        """Lose what changed and deleted rows of these tables left behind; False when that was not to be had.

        Others may have held it up for too long, or the role of the store's URL may not do it; the log says which.

        On SQLite old contents lie in the write-ahead log until it is emptied (in the file they are overwritten at
        once); on PostgreSQL in dead rows, until a vacuum after every older transaction. A vacuum frees their place in
        the file and leaves the bytes there until the place is used again; those of ``to_rewrite``, tables that are
        written into a new file for that, are gone. Raises ``StoreUnavailable``.
        """
        lane, loop = self._writers, asyncio.get_running_loop()
        deadline = loop.time() + BUSY_SECONDS
        while not self._closed:
            why = await loop.run_in_executor(lane.threads, clear_traces, lane.engine, tables, to_rewrite)
            if not why:
                return True
            if loop.time() > deadline:
                log.warning("traces_not_cleared", why=why)
                return False
            await asyncio.sleep(ONCE_MORE_SECONDS)
        raise StoreUnavailable("The store was closed: this process is stopping.")

    async def ready(self) -> None:
        """Return when a transaction can begin. Raises ``StoreUnavailable``."""
        await self.write(lambda connection: connection.execute(select(1)).one())

    async def close(self) -> None:
        """Finish what is running and give back threads and connections; closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        for lane in (self._writers, self._readers):
            lane.threads.shutdown(wait=True)
        for lane in (self._writers, self._readers):
            lane.engine.dispose()

    async def _on(self, lane: _Lane, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailable("The store was closed: this process is stopping.")
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            lane.threads, lambda: context.run(_transaction, lane.engine, work)
        )


def is_sqlite(url: URL) -> bool:
    """Whether ``url`` names a SQLite file."""
    return url.get_backend_name() == "sqlite"


@contextmanager
def migration(url: str, *, host: HostIdentity | None = None) -> Iterator[Connection]:
    """A connection in one transaction that no other migration runs beside.

    Raises ``SetupError`` and ``StoreUnavailable`` like ``Database.open``.
    """
    parsed = _checked(url)
    sqlite_file = is_sqlite(parsed)
    engine = _sqlite_engine(parsed, size=1, begin="BEGIN IMMEDIATE") if sqlite_file else _postgresql_engine(parsed, 1)
    identity = host or this_host()
    try:
        with translated(), engine.begin() as connection:
            if sqlite_file:
                _refuse_second_host(connection, identity)
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            yield connection
            if sqlite_file:
                _refuse_second_host(connection, identity)
    finally:
        engine.dispose()


def insert_into(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An insert that can be told what to do about rows that are there already."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """The same for a database of this kind, for statements that are built once."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

    return postgresql.insert(table)


def insert_new(connection: Connection, table: Table, values: Values, key: Sequence[str]) -> bool:
    """Insert a row unless one with the same unique columns exists. True when this call inserted it.

    ``key`` are the columns of the row that come back. Of several at once exactly one inserts; the others return after
    that one's transaction ended.
    """
    # a row comes back only where one was inserted; rowcount is not told alike by the drivers
    return connection.execute(_insert_new(connection.dialect.name, table, tuple(key)), dict(values)).first() is not None


@cache
def _insert_new(dialect: str, table: Table, key: tuple[str, ...]) -> "ReturningInsert[tuple[Any, ...]]":
    """Written once: of a statement that is written anew each time, most of the time is spent writing it."""
    # No conflict target: with one, PostgreSQL raises when two transactions at once meet in another unique column first.
    return insert_for(dialect, table).on_conflict_do_nothing().returning(*(table.c[name] for name in key))


def put(connection: Connection, table: Table, values: Values, key: Sequence[str]) -> None:
    """Insert a row, or replace all its other columns named in ``values`` when the ``key`` exists."""
    changed = {name: value for name, value in values.items() if name not in key}
    statement = insert_into(connection, table).values(dict(values))
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        # the text of the original holds the URL, which may hold a password
        raise SetupError("The store URL cannot be read: write sqlite:///path or postgresql+psycopg://…") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        _check_file(parsed)
    elif parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif parsed.drivername != "postgresql+psycopg":
        raise SetupError(
            f"The store cannot be kept in {parsed.drivername}: write sqlite:///path or postgresql+psycopg://…"
        )
    return parsed


def _check_file(url: URL) -> None:
    if url.database is None or url.database in ("", ":memory:") or url.database.startswith("file:"):
        raise SetupError("The store must outlive the process: name a file, as in sqlite:///rapport.sqlite3")
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise SetupError(f"The folder of the store does not exist: create {folder}")


def _sqlite_engine(url: URL, size: int, begin: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # None switches off the driver's own BEGIN, which is deferred and late; ours is in begin_transaction
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            mode = cursor.fetchone()
            if mode is None or mode[0] != "wal":
                raise SetupError(
                    f"The store {url.database} cannot use a write-ahead log: keep it on a local disk, not on a share"
                )
            cursor.execute("PRAGMA synchronous = FULL")  # a commit has reached the disk before it is answered
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA secure_delete = ON")  # what was erased is overwritten, not only unlinked
            if begin == "BEGIN":
                cursor.execute("PRAGMA query_only = ON")
        finally:
            cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgresql_engine(url: URL, size: int) -> Engine:
    limits = f"-c statement_timeout={STATEMENT_SECONDS:.0f}s -c lock_timeout={BUSY_SECONDS:.0f}s -c timezone=UTC"
    return create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": int(BUSY_SECONDS),
            "options": limits,
            "application_name": "rapport",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )


def _transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    with translated(), engine.begin() as connection:
        return work(connection)


def _refuse_second_host(connection: Connection, host: HostIdentity) -> None:
    """Mark a SQLite file as this machine's, or refuse one that is another's: a WAL is only safe on one machine."""
    if not inspect(connection).has_table(store_host.name):
        return  # not migrated yet: nothing is kept here
    insert_new(connection, store_host, {"one": 1, "machine": host.machine, "hostname": host.hostname}, key=["one"])
    owner = connection.execute(select(store_host.c.machine, store_host.c.hostname)).one()
    if owner.machine != host.machine:
        raise SetupError(
            f"This SQLite store belongs to host {owner.hostname}, and this is {host.hostname}: a SQLite store serves "
            "one host. Use PostgreSQL for several. If the file has moved here for good and nothing on the old host "
            f"opens it any more, empty its table {store_host.name} with sqlite3"
        )
