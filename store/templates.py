"""What we know of each template: the last reading, until a webhook says that something happened to it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, bindparam, case, false, or_, select, true, update

from domain.errors import PolicyRefused, Scope
from domain.model import Instant, Model
from domain.plans import TemplateRef
from domain.sends import Send, TemplateReading, TemplateStatus
from store.database import Database, insert_new
from store.tables import template_states

_KEY = ("account", "name", "language")

TEMPLATE = "template"
"""The rule by which a claim refuses a template that is not known to be approved."""

_C = template_states.c
_NAMED = tuple(_C[name] == bindparam(name) for name in _KEY)
_KNOWN = select(template_states).where(*_NAMED)
_CATEGORY = select(_C.category).where(*_NAMED)
_STATUS = select(_C.status, _C.stale).where(
    *_NAMED, or_(_C.template_id == bindparam("id"), _C.provider_id == bindparam("id"))
)


class KnownTemplate(Model):
    """What we know of one template. While it is ``stale`` the reading no longer counts."""

    account: str
    name: str
    language: str
    reading: TemplateReading
    read_at: Instant
    stale: bool


class Templates:
    """Template states in the store, port ``TemplateStates``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, account: str, template: TemplateRef) -> tuple[TemplateReading, datetime] | None:
        """The last reading and when it was made; None when there is none, it is stale, or it is of another id."""
        return await self._database.read(lambda connection: known_within(connection, account, template))

    async def write(self, account: str, template: TemplateRef, reading: TemplateReading, at: datetime) -> None:
        """Keep a reading made at ``at``; one that is older than what is kept is dropped.

        It ends staleness unless the webhook that caused it happened after ``at``. The category that was asked for
        stays once it is known: the one that the reading brings, as a submission does, else the first that was read.
        """
        await self._database.write(lambda connection: _write(connection, account, template, reading, at))

    async def accept_category(self, account: str, template: TemplateRef) -> None:
        """A person agreed to the category that the template has now: it is no longer a change."""
        accepted = update(template_states).where(_this(account, template))
        values = accepted.values(asked_category=template_states.c.category)
        await self._database.write(lambda connection: connection.execute(values))

    async def mark_stale(
        self, account: str, template_id: str, name: str = "", language: str = "", *, at: datetime | None = None
    ) -> None:
        """Something happened to a template, at ``at`` if that is known: what is kept no longer counts.

        Matched by the provider's id and by name; without a ``language`` every language of the name.
        """
        await self._database.write(
            lambda connection: mark_stale_within(connection, account, template_id, name, language, at=at)
        )

    async def all(self) -> tuple[KnownTemplate, ...]:
        """Everything that we know, in the order of account, name and language."""
        wanted = select(template_states).order_by(*(template_states.c[name] for name in _KEY))
        rows = await self._database.read(lambda connection: connection.execute(wanted).mappings().all())
        return tuple(
            KnownTemplate(
                account=row["account"],
                name=row["name"],
                language=row["language"],
                reading=_reading(row),
                read_at=row["read_at"],
                stale=row["stale"],
            )
            for row in rows
        )


def known_within(
    connection: Connection, account: str, template: TemplateRef
) -> tuple[TemplateReading, datetime] | None:
    """``Templates.read`` inside a transaction."""
    row = connection.execute(_KNOWN, _named(account, template)).mappings().one_or_none()
    if row is None or row["stale"] or row["template_id"] != template.id:
        return None
    return _reading(row), row["read_at"]


def mark_stale_within(
    connection: Connection,
    account: str,
    template_id: str,
    name: str = "",
    language: str = "",
    *,
    at: datetime | None = None,
) -> None:
    """``Templates.mark_stale`` inside a transaction of the caller's."""
    these = _meant(account, template_id, name, language)
    connection.execute(update(template_states).where(these).values(stale=True))
    if at is not None:
        heard_at = template_states.c.heard_at
        connection.execute(
            update(template_states).where(these, or_(heard_at.is_(None), heard_at < at)).values(heard_at=at)
        )


def named_within(
    connection: Connection, account: str, template_id: str, name: str = "", language: str = ""
) -> tuple[tuple[str, str], ...]:
    """Name and language of every template that a webhook means, matched as ``mark_stale`` does."""
    c = template_states.c
    wanted = select(c.name, c.language).where(_meant(account, template_id, name, language)).order_by(c.name, c.language)
    return tuple((row.name, row.language) for row in connection.execute(wanted))


def lock_within(connection: Connection, meant: Sequence[tuple[str, str, str, str]]) -> None:
    """Lock every row that webhooks mean, in one order: of each the account, the id, the name and the language."""
    if not meant:
        return
    c = template_states.c
    these = select(c.account).where(or_(*(_meant(*one) for one in meant)))
    connection.execute(these.order_by(c.account, c.name, c.language).with_for_update()).all()


def template_refusal_within(connection: Connection, send: Send) -> PolicyRefused | None:
    """Why the template of ``send`` must not leave by what we know of it; None as well when we know nothing."""
    row = connection.execute(_STATUS, _named(send.account, send.template) | {"id": send.template.id}).one_or_none()
    if row is None or (not row.stale and TemplateStatus(row.status).sends):
        return None
    why = "something happened to it since it was read" if row.stale else f"it is {row.status}"
    return PolicyRefused(
        f"Template {send.template.name} ({send.template.language}) may not leave: {why}",
        scope=Scope.TEMPLATE,
        code=TEMPLATE,
    )


def category_within(connection: Connection, account: str, template: TemplateRef) -> str:
    """The category of a template by what we know of it; empty when nothing says so."""
    return connection.execute(_CATEGORY, _named(account, template)).scalar_one_or_none() or ""


def _write(connection: Connection, account: str, template: TemplateRef, reading: TemplateReading, at: datetime) -> None:
    c = template_states.c
    asked = reading.asked_category or reading.category
    told: dict[str, object] = {
        "template_id": template.id,
        "provider_id": reading.provider_id,
        "status": reading.template_status.value,
        "raw": reading.raw_status,
        "category": reading.category,
        "reason": reading.reason,
        "variables": reading.variables,
        "flow_missing": reading.flow_missing,
        "read_at": at,
        "stale": False,
    }
    first: dict[str, object] = {
        "account": account,
        "name": template.name,
        "language": template.language,
        "asked_category": asked,
    }
    if insert_new(connection, template_states, first | told, key=_KEY):
        return
    same = c.template_id == template.id  # a template of another id has the name now: what was asked for the old is gone
    kept: dict[str, object] = {
        "stale": case((c.heard_at > at, true()), else_=false()),
        "asked_category": case((and_(same, c.asked_category != ""), c.asked_category), else_=asked),
    }
    if not reading.provider_id:  # by the id that was read once, webhooks go on to find the row
        kept["provider_id"] = case((same, c.provider_id), else_="")
    connection.execute(update(template_states).where(_this(account, template), c.read_at <= at).values(told | kept))


def _meant(account: str, template_id: str, name: str, language: str) -> ColumnElement[bool]:
    c = template_states.c
    meant: list[ColumnElement[bool]] = [false()]
    if template_id:
        meant += [c.template_id == template_id, c.provider_id == template_id]
    if name:
        meant.append(and_(c.name == name, c.language == language) if language else c.name == name)
    return and_(c.account == account, or_(*meant))


def _this(account: str, template: TemplateRef) -> ColumnElement[bool]:
    return and_(
        template_states.c.account == account,
        template_states.c.name == template.name,
        template_states.c.language == template.language,
    )


def _named(account: str, template: TemplateRef) -> dict[str, str]:
    return {"account": account, "name": template.name, "language": template.language}


def _reading(row: RowMapping) -> TemplateReading:
    return TemplateReading(
        template_status=TemplateStatus(row["status"]),
        raw_status=row["raw"],
        provider_id=row["provider_id"],
        category=row["category"],
        reason=row["reason"],
        variables=row["variables"],
        flow_missing=row["flow_missing"],
        asked_category=row["asked_category"],
    )
