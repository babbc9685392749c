"""Caps at the claim: how much of them is used, counted in the very transaction that uses more."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, func, select

from domain.caps import Caps, Period, day_of, week_of
from domain.errors import PolicyRefused, Scope
from domain.sends import LedgerState, Send
from store.aliases import lock_contact
from store.tables import sends

CAPPED = "capped"
_USES = (LedgerState.SENT.value, LedgerState.CALLING.value, LedgerState.UNKNOWN.value)
"""What counts: everything that left or may have left; for a person, unless it is known not to have arrived."""
_TENANT_LOCK = 0x0CA9
"""PostgreSQL advisory lock, with a hash of the tenant, under which only one transaction uses a tenant's cap."""


def cap_refusal_within(connection: Connection, send: Send, caps: Caps, at: datetime) -> PolicyRefused | None:
    """The cap that is used up at ``at`` and so stops ``send``; None when none is.

    Of two sends at once the second waits for the end of the first one's transaction. Of several caps that one is told
    which frees last.
    """
    refusals = [*_of_candidate(connection, send, caps, at), *_of_tenant(connection, send, caps, at)]
    return max(refusals, key=lambda refusal: refusal.until or at, default=None)


def _of_candidate(connection: Connection, send: Send, caps: Caps, at: datetime) -> list[PolicyRefused]:
    if caps.candidate_per_day is None and caps.candidate_per_week is None:
        return []
    lock_contact(connection, send.contact_id)
    zone = ZoneInfo(send.zone)
    figures = (
        (caps.candidate_per_day, day_of(zone, at), "today"),
        (caps.candidate_per_week, week_of(zone, at), "this week"),
    )
    return [
        PolicyRefused(
            f"this person had {_messages(cap)} of tenant {send.tenant} {word}, which is its cap",
            scope=Scope.RECIPIENT,
            code=CAPPED,
            until=period.end,
        )
        for cap, period, word in figures
        if cap is not None
        and _is_used_up(connection, send, cap, and_(_may_have_reached(send.contact_id), _left_in(period)))
    ]


def _of_tenant(connection: Connection, send: Send, caps: Caps, at: datetime) -> list[PolicyRefused]:
    if caps.tenant_per_day is None:
        return []
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(_TENANT_LOCK, func.hashtext(send.tenant))))
    period = day_of(ZoneInfo(caps.zone), at)
    if not _is_used_up(connection, send, caps.tenant_per_day, _left_in(period)):
        return []
    text = f"tenant {send.tenant} has sent {_messages(caps.tenant_per_day)} today, which is its cap"
    return [PolicyRefused(text, code=CAPPED, until=period.end)]


def _is_used_up(connection: Connection, send: Send, cap: int, which: ColumnElement[bool]) -> bool:
    used = select(sends.c.key).where(sends.c.tenant == send.tenant, which, sends.c.state.in_(_USES)).limit(cap)
    counted = select(func.count()).select_from(used.subquery())
    return connection.execute(counted).scalar_one() >= cap


def _may_have_reached(contact_id: str) -> ColumnElement[bool]:
    return and_(sends.c.contact_id == contact_id, sends.c.arrived.is_not(False))


def _left_in(period: Period) -> ColumnElement[bool]:
    return and_(sends.c.left_at >= period.start, sends.c.left_at < period.end)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
