"""The one place of this room that reads the wall clock."""

from datetime import UTC, datetime


def bookkeeping_now() -> datetime:
    """When a row was really written, in UTC. For people and for asking a provider about the past.

    Never for judging a policy: that is done by the workflow's clock, which every request carries as ``at``.
    """
    return datetime.now(UTC)
