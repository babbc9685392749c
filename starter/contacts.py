"""Leave to write to a person, by hand: what is kept of them, opt-outs and opt-ins, and files of opt-outs."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from domain.contacts import ContactChange, OptOut, OptOutScope, Reach, job_value, phone_alias
from domain.errors import BadInput, EngineUnavailable, Mistake, NotFound
from domain.model import Instant, Model
from domain.topology import Topology
from starter.engine import Engine
from starter.mistakes import did_you_mean
from starter.opt_outs_file import OptOutRow
from starter.phones import read_phone
from store.contact_record import ContactRecord
from store.contacts import Contacts
from store.registry import EngagementRegistry, EngagementRow

AT_ONCE = 8
"""People of a file who are worked on at the same time."""
_CONTACT_ID = "ct_"

log = structlog.get_logger()


class Extent(Model):
    """How far an opt-out or an opt-in reaches, checked against the configuration."""

    scope: OptOutScope
    value: str = ""


class OpenEngagement(Model):
    """An engagement of the person that is not over."""

    tenant: str
    reference: str
    workflow_id: str
    line: str
    job: str = ""


class ContactView(Model):
    """What is kept of a person, and what is under way with them."""

    record: ContactRecord
    engagements: tuple[OpenEngagement, ...]


class OptOutResult(Model):
    """An opt-out in force. ``told`` heard and end; ``not_told`` could not be reached, and send nothing either."""

    contact_id: str
    scope: OptOutScope
    value: str = ""
    told: tuple[str, ...] = ()
    not_told: tuple[str, ...] = ()


class OptInResult(Model):
    """An opt-in that was recorded, and what is still in force in spite of it."""

    contact_id: str
    scope: OptOutScope
    value: str = ""
    still_out: tuple[Extent, ...] = ()


class Evidence(Model):
    """Who says so, why, and since when."""

    actor: str
    reason: str
    at: Instant

    @property
    def source(self) -> str:
        """As it is kept beside the opt-out."""
        return f"{self.actor}: {self.reason}"


def extent_of(topology: Topology, scope: OptOutScope, value: str, tenant: str | None) -> Extent:
    """Check how far an opt-out is to reach. Raises ``BadInput``.

    ``value`` names the job or the line; scope ``tenant`` may name the tenant by ``tenant`` as well, and a job is
    always one of ``tenant``.
    """
    tenants, lines = [t.slug for t in topology.tenants], [li.slug for li in topology.lines]
    match scope:
        case OptOutScope.ALL:
            return Extent(scope=scope) if not value else _wrong("scope all takes no value")
        case OptOutScope.TENANT:
            return Extent(scope=scope, value=_known("tenant", value or tenant or "", tenants))
        case OptOutScope.LINE | OptOutScope.MARKETING:
            return Extent(scope=scope, value=_known("line", value, lines))
        case OptOutScope.JOB:
            if not value:
                return _wrong("scope job needs the job's key")
            return Extent(scope=scope, value=job_value(_known("tenant", tenant or "", tenants), value))


def _known(what: str, name: str, known: Sequence[str]) -> str:
    if not name:
        raise BadInput([Mistake(f"name a {what}: one of {', '.join(known)}", field="value")])
    if name not in known:
        raise BadInput([Mistake(f"no such {what}{did_you_mean(name, known)}", field="value")])
    return name


def _wrong(text: str) -> Extent:
    raise BadInput([Mistake(text, field="value")])


class ContactService:
    """Everything that can be asked of contacts by hand. Every method may raise ``StoreUnavailable``."""

    def __init__(self, contacts: Contacts, registry: EngagementRegistry, engine: Engine, topology: Topology) -> None:
        self._contacts, self._registry, self._engine, self._topology = contacts, registry, engine, topology

    def extent(self, scope: OptOutScope, value: str, tenant: str | None) -> Extent:
        """How far an opt-out is to reach. Raises ``BadInput``."""
        return extent_of(self._topology, scope, value, tenant)

    async def show(self, who: str, region: str | None = None) -> ContactView:
        """A person by phone number or contact id. Raises ``NotFound``, ``BadInput`` for what is neither."""
        contact_id = await self._find(who, region)
        rows = await self._registry.open_of_contact(contact_id)
        return ContactView(
            record=await self._contacts.record(contact_id),
            engagements=tuple(
                OpenEngagement(
                    tenant=row.tenant, reference=row.reference, workflow_id=row.workflow_id, line=row.line, job=row.job
                )
                for row in rows
            ),
        )

    async def opt_out(self, who: str, extent: Extent, said: Evidence, region: str | None = None) -> OptOutResult:
        """Record an opt-out, then end every open engagement that it covers; its evidence is kept.

        A number that nobody knew becomes a contact, so that the opt-out is not forgotten. From the moment it is
        recorded nothing that it covers leaves, whoever hears of it. Raises ``BadInput``, and ``NotFound`` for an id.
        """
        if who.startswith(_CONTACT_ID):
            contact_id = await self._find(who, region)
        else:
            contact_id = await self._contacts.resolve([phone_alias(_phone(who, region))])
        opt_out = OptOut(scope=extent.scope, scope_value=extent.value, source=said.source, at=said.at)
        await self._contacts.opt_out(contact_id, opt_out)
        key = f"opt-out:{contact_id}:{extent.scope}:{extent.value}:{said.at.isoformat()}"
        change = ContactChange(key=key, opt_out=opt_out, actor=said.actor)
        told, not_told = await self._tell(await self._registry.open_of_contact(contact_id), change)
        log.info("opt_out_recorded", contact_id=contact_id, scope=extent.scope, told=len(told))
        return OptOutResult(contact_id=contact_id, scope=extent.scope, value=extent.value, told=told, not_told=not_told)

    async def opt_in(self, who: str, extent: Extent, said: Evidence, region: str | None = None) -> OptInResult:
        """Lift every earlier opt-out of exactly this extent; the evidence of both stays. Raises like ``show``."""
        contact_id = await self._find(who, region)
        await self._contacts.opt_in(contact_id, extent.scope, extent.value, said.at, said.source)
        record = await self._contacts.record(contact_id)
        still = [Extent(scope=one.scope, value=one.scope_value) for one in record.opt_outs if one.lifted_at is None]
        log.info("opt_in_recorded", contact_id=contact_id, scope=extent.scope)
        return OptInResult(
            contact_id=contact_id, scope=extent.scope, value=extent.value, still_out=tuple(dict.fromkeys(still))
        )

    def extents(
        self, rows: Sequence[OptOutRow], default: tuple[OptOutScope, str] | None, tenant: str | None, file: str
    ) -> tuple[Extent, ...]:
        """How far each row of a file reaches; where it does not say, ``default``. Raises ``BadInput`` with them all."""
        found: list[Extent] = []
        mistakes: list[Mistake] = []
        for row in rows:
            scope, value = (row.scope, row.value) if row.scope is not None else default or (None, "")
            try:
                if scope is None:
                    raise BadInput([Mistake("missing, and the command names none: --scope", field="scope")])
                if row.scope is None and row.value:
                    raise BadInput([Mistake("stands without a scope", field="value")])
                found.append(self.extent(scope, value, tenant))
            except BadInput as error:
                mistakes += [
                    Mistake(m.message, field=m.field or "scope", file=file, line=row.line) for m in error.mistakes
                ]
        if mistakes:
            raise BadInput(mistakes)
        return tuple(found)

    async def import_opt_outs(
        self,
        rows: Sequence[tuple[OptOutRow, Extent]],
        said: Evidence,
        on_row: Callable[[OptOutResult], None] = lambda _result: None,
    ) -> tuple[OptOutResult, ...]:
        """Record the opt-outs of a file. Repeating it is harmless, so one that broke off is given again whole."""
        limiter = asyncio.Semaphore(AT_ONCE)

        async def one(row: OptOutRow, extent: Extent) -> OptOutResult:
            async with limiter:
                reason = row.source or said.reason
                evidence = Evidence(actor=said.actor, reason=reason, at=row.at or said.at)
                result = await self.opt_out(row.phone, extent, evidence)
            on_row(result)
            return result

        return tuple(await asyncio.gather(*(one(row, extent) for row, extent in rows)))

    async def _tell(
        self, rows: Sequence[EngagementRow], change: ContactChange
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        told, not_told = [], []
        for row in rows:
            if not change.opt_out.covers(Reach(tenant=row.tenant, line=row.line, job=row.job)):
                continue
            try:
                if await self._engine.contact_changed(row.workflow_id, change):
                    told.append(row.workflow_id)
            except EngineUnavailable:
                not_told.append(row.workflow_id)
        return tuple(told), tuple(not_told)

    async def _find(self, who: str, region: str | None) -> str:
        if who.startswith(_CONTACT_ID):
            return (await self._contacts.record(who)).contact_id
        found = await self._contacts.find([phone_alias(_phone(who, region))])
        if found is None:
            raise NotFound("nobody with this number is known here")
        return found


def _phone(text: str, region: str | None) -> str:
    try:
        return read_phone(text, region)
    except ValueError as error:
        raise BadInput([Mistake(str(error), field="WHO")]) from None
