"""Takes a store from one revision to another: all that needs alembic, for the few processes that do."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

_FOLDER = Path(__file__).parent / "migrations"


def to_head(connection: Connection) -> None:
    """Apply every migration that the store of this connection lacks, in its transaction."""
    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """What alembic's commands need to work on this connection."""
    config = Config()
    # alembic reads options with %-interpolation, so a percent sign in a path must be doubled
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
