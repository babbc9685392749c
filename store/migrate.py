"""Brings a store up to the schema of this release. Migrations travel inside the package; no alembic.ini is needed."""

from sqlalchemy import Connection, inspect, text

from store.database import migration
from store.host import HostIdentity
from store.migrations import HEAD

_TABLE = "alembic_version"
"""Where alembic keeps the revision of a store."""


def upgrade(url: str, *, host: HostIdentity | None = None) -> None:
    """Apply every migration that the store at ``url`` lacks, in one transaction; none at all is harmless.

    Of several processes one migrates while the others wait. Raises ``SetupError`` and ``StoreUnavailable``. ``host``
    replaces this machine's identity in tests.
    """
    with migration(url, host=host) as connection:
        if is_current_within(connection):
            return
        # Nearly every start finds the store up to date, and alembic with its steps takes a fifth of a second to load.
        from store.migrating import to_head  # noqa: PLC0415 - see above

        to_head(connection)


def current(url: str) -> str | None:
    """The revision of the store at ``url``; None when it was never migrated. Raises like ``upgrade``."""
    with migration(url) as connection:
        return _revision(connection)


def is_current(url: str) -> bool:
    """Whether the store at ``url`` has the schema of this release. Raises like ``upgrade``."""
    return current(url) == HEAD


def is_current_within(connection: Connection) -> bool:
    """``is_current`` for a connection that is already there."""
    return _revision(connection) == HEAD


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar_one_or_none()  # noqa: S608 - a constant
