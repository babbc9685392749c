"""What stops sends besides the person: holds on a template, flow, line or account, and pauses of a tenant or a line."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, or_, select, update
from sqlalchemy.sql.elements import BindParameter

from domain import ids
from domain.errors import NotSent, PolicyRefused, Scope
from domain.holds import HoldRow, refusal
from domain.model import Instant, Model
from domain.sends import Send
from store.database import Database, insert_new, put
from store.tables import UtcDateTime, holds, pauses

PAUSED = "paused"

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _in_force(at: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    return or_(holds.c.until.is_(None), holds.c.until > at)


class PauseScope(StrEnum):
    """What a person may pause."""

    TENANT = "tenant"
    LINE = "line"


class Pause(Model):
    """A pause row: who paused what, why and when."""

    scope: PauseScope
    scope_value: str
    reason: str
    actor: str
    at: Instant


class Holds:
    """Holds and pauses in the store, port ``HoldRows``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, hold: HoldRow) -> None:
        """Stop everything of this scope from the next claim on.

        A hold that is there is replaced by a newer one; an older one, told late, changes nothing. A throttle never
        shortens what holds longer, or without end: of that one only the trial ends, since it was refused again. What a
        person holds (``actor``) replaces in any case.
        """
        await self._database.write(lambda connection: hold_within(connection, hold))

    async def standing(self, scope_keys: Sequence[str], at: datetime) -> HoldRow | None:
        """The first of these scopes that is held at ``at``, a pause included (``paused_scope``); None when none is."""
        found = await self._database.read(lambda connection: _standing(connection, scope_keys, at))
        return next((found[key] for key in scope_keys if key in found), None)

    async def let_try(self, scope_key: str, workflow_id: str) -> None:
        """Let one engagement pass the hold, to see whether it is over; only the last one named may."""
        statement = update(holds).where(holds.c.scope_key == scope_key).values(trial=workflow_id)
        await self._database.write(lambda connection: connection.execute(statement))

    async def lift(self, scope_key: str) -> None:
        """Lift a hold; lifting what is not held is harmless."""
        await self._database.write(lambda connection: lift_within(connection, scope_key))

    async def active(self, at: datetime) -> tuple[HoldRow, ...]:
        """Every hold that is in force at ``at``."""
        wanted = select(holds).where(_in_force(at)).order_by(holds.c.scope_key)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(HoldRow.model_validate(dict(row)) for row in rows)

    async def pause(self, pause: Pause) -> None:
        """Let nothing of a tenant or a line leave until it is resumed."""
        values = pause.model_dump() | {"scope": pause.scope.value}
        await self._database.write(lambda connection: put(connection, pauses, values, key=["scope", "scope_value"]))

    async def resume(self, scope: PauseScope, scope_value: str) -> None:
        """Lift a pause; lifting what is not paused is harmless."""
        statement = delete(pauses).where(pauses.c.scope == scope.value, pauses.c.scope_value == scope_value)
        await self._database.write(lambda connection: connection.execute(statement))

    async def pauses(self) -> tuple[Pause, ...]:
        """Everything that is paused."""
        wanted = select(pauses).order_by(pauses.c.scope, pauses.c.scope_value)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(Pause.model_validate(dict(row)) for row in rows)


_ANY = holds.c.scope_key.in_(bindparam("scopes", expanding=True)), _in_force(bindparam("at", type_=UtcDateTime()))
_STANDING = select(holds).where(*_ANY)
_HELD = select(holds.c.scope_key, holds.c.until).where(*_ANY, holds.c.trial != bindparam("workflow"))
_P = pauses.c
_PAUSE = select(pauses).where(_P.scope == bindparam("scope"), _P.scope_value == bindparam("value"))
_PAUSED = (
    select(pauses)
    .where(
        or_(
            and_(_P.scope == PauseScope.TENANT.value, _P.scope_value == bindparam("tenant")),
            and_(_P.scope == PauseScope.LINE.value, _P.scope_value == bindparam("line")),
        )
    )
    .order_by(_P.scope)
    .limit(1)
)


def _standing(connection: Connection, scope_keys: Sequence[str], at: datetime) -> dict[str, HoldRow]:
    rows = connection.execute(_STANDING, {"scopes": list(scope_keys), "at": at}).mappings().all()
    found = {row["scope_key"]: HoldRow.model_validate(dict(row)) for row in rows}
    for key in scope_keys:
        named = ids.pause_in(key)
        if named is not None:
            row = connection.execute(_PAUSE, {"scope": named[0], "value": named[1]}).mappings().one_or_none()
            if row is not None:
                found[key] = _as_hold(Pause.model_validate(dict(row)))
    return found


def _as_hold(pause: Pause) -> HoldRow:
    key = ids.paused_scope(pause.scope.value, pause.scope_value)
    return HoldRow(scope_key=key, code=PAUSED, reason=_said(pause), actor=pause.actor, at=pause.at)


def _said(pause: Pause) -> str:
    since = pause.at.isoformat(timespec="seconds")
    return f"{pause.scope} {pause.scope_value} is paused since {since} by {pause.actor}: {pause.reason}"


def hold_within(connection: Connection, hold: HoldRow) -> None:
    """``Holds.hold`` inside a transaction of the caller's."""
    values = hold.model_dump()
    if insert_new(connection, holds, values, key=["scope_key"]):
        return
    this = holds.c.scope_key == hold.scope_key
    row = connection.execute(select(holds).where(this).with_for_update()).mappings().one_or_none()
    if row is None:  # lifted in between
        put(connection, holds, values, key=["scope_key"])
        return
    stands = HoldRow.model_validate(dict(row))
    if hold.at < stands.at:
        return
    shorter = hold.until is not None and (stands.until is None or hold.until < stands.until)
    told = {"trial": ""} if shorter and not hold.actor else values
    connection.execute(update(holds).where(this).values(**told))


def end_within(connection: Connection, scope_key: str, at: datetime, code: str) -> None:
    """What held a scope until ``at`` is over, by the same clock that told its beginning; a person's hold stays.

    The row stays too, in force at no time: a hold from before, told late, finds something newer.
    """
    over = HoldRow(scope_key=scope_key, until=_LONG_AGO, code=code, reason="over", at=at).model_dump()
    if insert_new(connection, holds, over, key=["scope_key"]):
        return
    older = and_(holds.c.scope_key == scope_key, holds.c.at <= at, holds.c.actor == "")
    connection.execute(update(holds).where(older).values(**over))


def lift_within(connection: Connection, scope_key: str) -> None:
    """``Holds.lift`` inside a transaction of the caller's."""
    connection.execute(delete(holds).where(holds.c.scope_key == scope_key))


def refusal_within(connection: Connection, send: Send, at: datetime) -> NotSent | None:
    """The pause or hold that stops ``send`` at ``at``; None when nothing does.

    A hold that lets this engagement try does not count. One that is over within ``SHORT_WAIT`` is told as
    ``ProviderUnavailable`` with the time that is left, any other as ``PolicyRefused`` with the scope to wait for.
    """
    return _paused(connection, send) or _held(connection, send, at)


def _paused(connection: Connection, send: Send) -> PolicyRefused | None:
    row = connection.execute(_PAUSED, {"tenant": send.tenant, "line": send.line}).mappings().one_or_none()
    if row is None:
        return None
    pause = Pause.model_validate(dict(row))
    scope = Scope.LINE if pause.scope is PauseScope.LINE else Scope.MESSAGE
    return PolicyRefused(_said(pause), scope=scope, code=PAUSED)


def _held(connection: Connection, send: Send, at: datetime) -> NotSent | None:
    keys = _scope_keys(send)
    rows = connection.execute(_HELD, {"scopes": list(keys), "at": at, "workflow": send.workflow_id}).all()
    if not rows:
        return None
    until_of: dict[str, datetime | None] = {row.scope_key: row.until for row in rows}
    told = {key: refusal(f"{key} is held {_end(until)}", keys[key], until, at) for key, until in until_of.items()}
    gated = next((told[key] for key in keys if isinstance(told.get(key), PolicyRefused)), None)
    return gated or told[max(until_of, key=lambda key: until_of[key] or at)]  # all are over soon: the longest


def _end(until: datetime | None) -> str:
    return "until it is released" if until is None else f"until {until.isoformat(timespec='seconds')}"


def _scope_keys(send: Send) -> dict[str, Scope]:
    """Every scope that ``send`` touches, widest first."""
    template = send.template
    keys = {ids.account_scope(send.account): Scope.ACCOUNT, ids.line_scope(send.line): Scope.LINE}
    if send.flow is not None and send.flow.id:
        keys[ids.flow_scope(send.account, send.flow.id)] = Scope.FLOW
    keys[ids.template_scope(send.account, template.name, template.language)] = Scope.TEMPLATE
    return keys
