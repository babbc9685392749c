"""What we know of each template: the last reading, until a webhook says that something happened to it."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, or_, select, update

from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from store.database import Database, insert_new
from store.tables import template_states

_KEY = ("account", "name", "language")


class Templates:
    """Template states in the store, port ``TemplateStates``. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, account: str, template: TemplateRef) -> tuple[TemplateReading, datetime] | None:
        """The last reading and when it was made; None when there is none, it is stale, or it is of another id."""
        row = await self._database.read(
            lambda connection: (
                connection.execute(select(template_states).where(_this(account, template))).mappings().one_or_none()
            )
        )
        if row is None or row["stale"] or row["template_id"] != template.id:
            return None
        return _reading(row), row["read_at"]

    async def write(self, account: str, template: TemplateRef, reading: TemplateReading, at: datetime) -> None:
        """Keep a reading made at ``at``, which ends staleness; one that is older than what is kept is dropped."""
        await self._database.write(lambda connection: _write(connection, account, template, reading, at))

    async def mark_stale(self, account: str, template_id: str, name: str = "", language: str = "") -> None:
        """Something happened to a template: what is kept no longer counts.

        Matched by the provider's id and by name; without a ``language`` every language of the name.
        """
        await self._database.write(
            lambda connection: mark_stale_within(connection, account, template_id, name, language)
        )


def mark_stale_within(
    connection: Connection, account: str, template_id: str, name: str = "", language: str = ""
) -> None:
    """``Templates.mark_stale`` inside a transaction of the caller's."""
    meant: list[ColumnElement[bool]] = []
    if template_id:
        meant += [template_states.c.template_id == template_id, template_states.c.provider_id == template_id]
    if name:
        by_name = template_states.c.name == name
        meant.append(and_(by_name, template_states.c.language == language) if language else by_name)
    if meant:
        connection.execute(
            update(template_states).where(template_states.c.account == account, or_(*meant)).values(stale=True)
        )


def _write(connection: Connection, account: str, template: TemplateRef, reading: TemplateReading, at: datetime) -> None:
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
    name: dict[str, object] = {"account": account, "name": template.name, "language": template.language}
    if not insert_new(connection, template_states, name | told, key=_KEY):
        connection.execute(
            update(template_states).where(_this(account, template), template_states.c.read_at <= at).values(**told)
        )


def _this(account: str, template: TemplateRef) -> ColumnElement[bool]:
    return and_(
        template_states.c.account == account,
        template_states.c.name == template.name,
        template_states.c.language == template.language,
    )


def _reading(row: RowMapping) -> TemplateReading:
    return TemplateReading(
        template_status=TemplateStatus(row["status"]),
        raw_status=row["raw"],
        provider_id=row["provider_id"],
        category=row["category"],
        reason=row["reason"],
        variables=row["variables"],
        flow_missing=row["flow_missing"],
    )
