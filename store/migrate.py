"""Brings a store up to the schema of this release. Migrations travel inside the package; no alembic.ini is needed."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from store.database import migration
from store.host import HostIdentity

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(url: str, *, host: HostIdentity | None = None) -> None:
    """Apply every migration that the store at ``url`` lacks, in one transaction; none at all is harmless.

    Of several processes one migrates while the others wait. Raises ``SetupError`` and ``StoreUnavailable``. ``host``
    replaces this machine's identity in tests.
    """
    with migration(url, host=host) as connection:
        command.upgrade(_config(connection), "head")


def current(url: str) -> str | None:
    """The revision of the store at ``url``; None when it was never migrated. Raises like ``upgrade``."""
    with migration(url) as connection:
        return _revision(connection)


def is_current(url: str) -> bool:
    """Whether the store at ``url`` has the schema of this release. Raises like ``upgrade``."""
    return current(url) == newest()


def newest() -> str | None:
    """The revision that this release needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def is_current_within(connection: Connection) -> bool:
    """``is_current`` for a connection that is already there."""
    return _revision(connection) == newest()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection | None) -> Config:
    config = Config()
    # alembic reads options with %-interpolation, so a percent sign in a path must be doubled
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
