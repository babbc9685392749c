"""The one place of this room that reads the wall clock."""

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select


def bookkeeping_now() -> datetime:
    """When a row was really written, in UTC. For people and for asking a provider about the past.

    Never for judging a policy: that is done by the workflow's clock, which every request carries as ``at``.
    """
    return datetime.now(UTC)


def shared_now(connection: Connection) -> datetime:
    """What time it is for everybody who shares this store: the server's clock, or this machine's where it is a file.

    Hosts whose clocks differ thus agree on when a lease is over.
    """
    if connection.dialect.name == "sqlite":
        return bookkeeping_now()
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now
