"""A PostgreSQL that keeps what it says: as the tests', but every commit reaches the disk before it is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tests import postgres

_LASTING = ("listen_addresses=", "shared_buffers=128MB", "max_connections=200")


@contextmanager
def lasting_postgres() -> Iterator[str]:
    """Start a server, yield its URL and stop it."""
    options = [word for setting in _LASTING for word in ("-c", setting)]
    with mock.patch.object(postgres, "_OPTIONS", options), postgres.postgres_server() as url:
        yield url
