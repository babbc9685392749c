"""Moving open engagements to a new version of their plan: what it would mean for each, and the command that does it."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from enum import StrEnum

from domain.calls import NewPlan
from domain.errors import EngineUnavailable, NotAllowed
from domain.migration import MigrationView
from domain.model import Model, Reference
from domain.plans import Plan
from starter.bulk import AT_ONCE, SILENT
from starter.interface import Engagements


class Prospect(StrEnum):
    """What a move would come to for one engagement."""

    MAY_MOVE = "may move"
    MAY_NOT = "may not"
    ENDED = "ended"
    UNAVAILABLE = "unavailable"
    NOT_TRIED = "not tried"


class ProspectRow(Model):
    """One engagement with what it says of the new plan; ``text`` says why there is no ``view``."""

    reference: Reference
    prospect: Prospect
    view: MigrationView | None = None
    text: str = ""


class Prospects(Model):
    """What a new plan would mean for everyone who was asked. Nothing was done."""

    plan: str
    to_version: int
    rows: tuple[ProspectRow, ...]

    def count(self, prospect: Prospect) -> int:
        """Of how many this is true."""
        return sum(row.prospect is prospect for row in self.rows)

    @property
    def is_finished(self) -> bool:
        """Whether everyone answered."""
        return not (self.count(Prospect.UNAVAILABLE) or self.count(Prospect.NOT_TRIED))


def migration_id(plan: Plan) -> str:
    """The id of the command that moves to this plan: equal for equal plans, so that a repeat does nothing twice."""
    written = hashlib.sha256(plan.model_dump_json().encode()).hexdigest()
    return f"plan:{plan.name}:{plan.version}:{written[:16]}"


async def look(
    service: Engagements,
    tenant: str,
    references: Sequence[Reference],
    new: NewPlan,
    on_row: Callable[[], None] = lambda: None,
) -> Prospects:
    """Ask each what going on by this plan would mean, a few at once. It changes nothing and leaves no trace.

    Once nobody answers any more no further one is asked. Raises ``NotFound`` for a reference that nobody has.
    """
    gate, silent = asyncio.Semaphore(AT_ONCE), 0

    async def ask(reference: Reference) -> ProspectRow:
        nonlocal silent
        async with gate:
            row = ProspectRow(reference=reference, prospect=Prospect.NOT_TRIED)
            if silent < SILENT:
                row = await _asked(service, tenant, reference, new)
                silent = silent + 1 if row.prospect is Prospect.UNAVAILABLE else 0
        on_row()
        return row

    rows = await asyncio.gather(*map(ask, references))
    return Prospects(plan=new.plan.name, to_version=new.plan.version, rows=tuple(rows))


async def _asked(service: Engagements, tenant: str, reference: Reference, new: NewPlan) -> ProspectRow:
    try:
        view = await service.may_migrate(tenant, reference, new)
    except NotAllowed as ended:
        return ProspectRow(reference=reference, prospect=Prospect.ENDED, text=str(ended))
    except EngineUnavailable as outage:
        return ProspectRow(reference=reference, prospect=Prospect.UNAVAILABLE, text=str(outage))
    prospect = Prospect.MAY_MOVE if view.may_move else Prospect.MAY_NOT
    return ProspectRow(reference=reference, prospect=prospect, view=view)
