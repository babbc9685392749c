"""What stops sends besides the person: holds on a template, flow, line or account, and pauses of a tenant or a line."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, and_, delete, or_, select

from domain import ids
from domain.errors import PolicyRefused, Scope
from domain.model import Instant, Model
from domain.sends import Send
from store.database import Database, put
from store.tables import holds, pauses

HELD = "held"
PAUSED = "paused"


class PauseScope(StrEnum):
    """What a person may pause."""

    TENANT = "tenant"
    LINE = "line"


class Hold(Model):
    """A hold row. ``scope_key`` is one of ``domain.ids``' scopes; without ``until`` it stays until it is released."""

    scope_key: str
    until: Instant | None = None
    reason: str
    actor: str = ""
    at: Instant


class Pause(Model):
    """A pause row: who paused what, why and when."""

    scope: PauseScope
    scope_value: str
    reason: str
    actor: str
    at: Instant


class Holds:
    """Holds and pauses in the store. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, hold: Hold) -> None:
        """Stop everything of this scope from the next claim on; a hold that is there is replaced."""
        await self._database.write(lambda connection: put(connection, holds, hold.model_dump(), key=["scope_key"]))

    async def release(self, scope_key: str) -> None:
        """Lift a hold; lifting what is not held is harmless."""
        statement = delete(holds).where(holds.c.scope_key == scope_key)
        await self._database.write(lambda connection: connection.execute(statement))

    async def active(self, at: datetime) -> tuple[Hold, ...]:
        """Every hold that is in force at ``at``."""
        wanted = select(holds).where(or_(holds.c.until.is_(None), holds.c.until > at)).order_by(holds.c.scope_key)
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(Hold.model_validate(dict(row)) for row in rows)

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


def refusal_within(connection: Connection, send: Send) -> PolicyRefused | None:
    """The pause or hold that stops ``send`` at ``send.at``; None when nothing does."""
    return _paused(connection, send) or _held(connection, send)


def _paused(connection: Connection, send: Send) -> PolicyRefused | None:
    wanted = (
        select(pauses.c.scope)
        .where(
            or_(
                and_(pauses.c.scope == PauseScope.TENANT.value, pauses.c.scope_value == send.tenant),
                and_(pauses.c.scope == PauseScope.LINE.value, pauses.c.scope_value == send.line),
            )
        )
        .order_by(pauses.c.scope)
        .limit(1)
    )
    found = connection.execute(wanted).scalar_one_or_none()
    if found is None:
        return None
    if found == PauseScope.LINE:
        return PolicyRefused(f"Line {send.line} is paused: resume it to send", scope=Scope.LINE, code=PAUSED)
    return PolicyRefused(f"Tenant {send.tenant} is paused: resume it to send", code=PAUSED)


def _held(connection: Connection, send: Send) -> PolicyRefused | None:
    keys = _scope_keys(send)
    rows = connection.execute(
        select(holds.c.scope_key, holds.c.until).where(
            holds.c.scope_key.in_(keys), or_(holds.c.until.is_(None), holds.c.until > send.at)
        )
    ).all()
    if not rows:
        return None
    until_of: dict[str, datetime | None] = {row.scope_key: row.until for row in rows}
    widest = next(key for key in keys if key in until_of)
    until = until_of[widest]
    end = "until it is released" if until is None else f"until {until.isoformat(timespec='seconds')}"
    return PolicyRefused(f"{widest} is held {end}", scope=keys[widest], code=HELD)


def _scope_keys(send: Send) -> dict[str, Scope]:
    """Every scope that ``send`` touches, widest first."""
    template = send.template
    keys = {ids.account_scope(send.account): Scope.ACCOUNT, ids.line_scope(send.line): Scope.LINE}
    if send.flow is not None and send.flow.id:
        keys[ids.flow_scope(send.account, send.flow.id)] = Scope.FLOW
    keys[ids.template_scope(send.account, template.name, template.language)] = Scope.TEMPLATE
    return keys
