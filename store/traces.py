"""What changed and deleted rows leave behind in the database's files, and how that goes."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from store.outages import translated

if TYPE_CHECKING:  # loading what only PostgreSQL needs takes a process on SQLite a tenth of a second: see its uses
    import psycopg
    from psycopg.rows import TupleRow

VACUUM_SECONDS = 600.0
"""PostgreSQL: how long clearing one table of dead rows may take."""
OLDER_SECONDS = 10.0
"""PostgreSQL: how long clearing dead rows waits for transactions that may still see them."""
REWRITE_WAIT_SECONDS = 2.0
"""PostgreSQL: how long writing a table anew waits for those who use it, and all who come after wait with it."""
ONCE_MORE_SECONDS = 0.05
"""Between two attempts."""

_OLDER = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND xact_start < %(began)s AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
    LIMIT 1
"""


def clear_traces(engine: Engine, tables: Sequence[str], to_rewrite: Sequence[str]) -> str:
    """Outside a transaction, where alone either database does it. What kept it from being done; empty when it is."""
    with translated(), closing(engine.raw_connection()) as connection:
        if engine.dialect.name == "sqlite":
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            told = cursor.fetchone()
            is_done = told is not None and not told[0]  # the first column says whether a reader held it up
            return "" if is_done else "somebody reads an older state of the store"
        import psycopg.sql  # noqa: PLC0415 - see above

        driver = connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the store's driver is not psycopg")
        connection.detach()  # it is closed afterwards: nobody else gets it with these settings
        skipped: list[str] = []  # a table that the role may not vacuum is passed over with a mere warning
        driver.add_notice_handler(lambda told: skipped.append(told.message_primary or "a warning of PostgreSQL"))
        try:
            driver.autocommit = True
            driver.execute("SET client_min_messages = warning")
            driver.execute(f"SET statement_timeout = '{VACUUM_SECONDS:.0f}s'")
            if not _is_oldest(driver):
                return "an older transaction may still see the old rows"
            for table in tables:  # a file that is to become shorter is waited for, and two who clear would wait long
                driver.execute(psycopg.sql.SQL("VACUUM (TRUNCATE FALSE) {}").format(psycopg.sql.Identifier(table)))
            # it keeps everybody from the table while it writes, and while it waits for others: briefly, then
            driver.execute(f"SET lock_timeout = '{REWRITE_WAIT_SECONDS:.0f}s'")
            for table in to_rewrite:
                driver.execute(psycopg.sql.SQL("VACUUM (FULL) {}").format(psycopg.sql.Identifier(table)))
        except psycopg.OperationalError as error:  # a lock, or the server went away: the caller repeats it
            return type(error).__name__
        return skipped[0] if skipped else ""


def _is_oldest(driver: "psycopg.Connection[TupleRow]") -> bool:
    """Wait until no transaction is left that may still see what was deleted; False when one stays too long.

    Those of roles that ours may not look at are not seen.
    """
    deadline = time.monotonic() + OLDER_SECONDS
    (began,) = driver.execute("SELECT clock_timestamp()").fetchone() or (None,)
    while driver.execute(_OLDER, {"began": began}).fetchone() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(ONCE_MORE_SECONDS)
    return True
