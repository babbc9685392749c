"""What of the databases' own errors means that the store did not answer; all else is a defect of ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from domain.errors import StoreUnavailable

_SQLITE_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)
"""Primary result codes that mean the store did not do it; the others are defects of ours."""

_POSTGRES_STANDBY = "25006"
"""read_only_sql_transaction: a fail-over left us connected to a server that cannot write."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what means that the store did not answer into ``StoreUnavailable``; a defect of ours stays what it is."""
    try:
        yield
    except exc.TimeoutError as error:
        raise StoreUnavailable("The store did not answer: no connection became free in time.") from error
    except exc.DBAPIError as error:
        if not _is_outage(error):
            raise
        # the class names the cause; the text may hold statement parameters
        raise StoreUnavailable(
            f"The store did not answer ({type(error.orig).__name__}): check that its database runs and has space.",
            code=type(error.orig).__name__,
        ) from error


def _is_outage(error: exc.DBAPIError) -> bool:
    original = error.orig
    if error.connection_invalidated:
        return True
    if isinstance(original, sqlite3.Error):
        # absent on mistakes that the Python module itself finds, such as a closed cursor
        code: int = getattr(original, "sqlite_errorcode", sqlite3.SQLITE_OK)
        return code & 0xFF in _SQLITE_OUTAGES
    import psycopg  # noqa: PLC0415 - a process on SQLite does without the tenth of a second that it takes

    if isinstance(original, psycopg.Error):
        return (
            isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)
            or original.sqlstate == _POSTGRES_STANDBY
        )
    return False
