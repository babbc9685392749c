"""One command for many engagements, found by a query: looked at first, carried out in pages, gone on with by repeat."""

import asyncio
import re
from collections.abc import Callable
from enum import StrEnum

import structlog

from domain import names
from domain.calls import Command
from domain.errors import BadInput, EngineUnavailable, Mistake, NotAllowed, NotAnswered, NotFound
from domain.ids import engagement_workflow_id
from domain.model import Model, Reference, Slug
from domain.state import Stage
from starter.engine import Engine

AT_ONCE = 16
"""Commands under way at the same time, each of which a worker answers."""
PAGE = 100
TRIES = 3
"""How often one engagement is asked before it counts as not reached: a busy worker may miss one answer."""
SILENT = AT_ONCE
"""So many in a row that do not answer are an outage; fewer are a matter of their own."""

COMMANDS = (names.PAUSE, names.RESUME, names.STOP, names.HAND_OVER, names.MIGRATE_PLAN)
"""What may be given to many at once."""

_UNLISTED = (Stage.OPENING, Stage.CLOSING, Stage.CLOSED)
"""Stages that Temporal's list of open engagements never shows; who is about to send stands under the one before."""

_FILTER = re.compile(r"(line|plan|stage)=([a-z0-9-]+)")

log = structlog.get_logger()


class Which(Model):
    """Which open engagements of one tenant. ``query`` is in Temporal's own words and narrows the rest further."""

    tenant: Slug
    line: str = ""
    plan: str = ""
    stage: str = ""
    query: str = ""

    def as_query(self) -> str:
        """The query for Temporal. What it finds must still be held against the tenant: a query may be crafted."""
        filters = {"Tenant": self.tenant, "Line": self.line, "Plan": self.plan, "EngagementStage": self.stage}
        clauses = [f"WorkflowType = '{names.CANDIDATE_ENGAGEMENT}'", "ExecutionStatus = 'Running'"]
        clauses += [f"{attribute} = '{value}'" for attribute, value in filters.items() if value]
        return " AND ".join([*clauses, *([f"({self.query})"] if self.query else [])])


def which_of(tenant: str, where: str) -> Which:
    """Read ``line=recruiting stage=held`` or, where it is nothing like that, a query in Temporal's own words.

    Raises ``BadInput``.
    """
    words = where.replace(",", " ").split()
    if not words:
        raise BadInput([Mistake("say which: line=..., plan=..., stage=..., or a query", field="--where")])
    found = [_FILTER.fullmatch(word) for word in words]
    filters = {match[1]: match[2] for match in found if match is not None}
    if not filters:
        return Which(tenant=tenant, query=where)
    mistakes = [
        Mistake(f"cannot read {word!r}: write line=, plan= and stage= once each, or a query alone", field="--where")
        for word, match in zip(words, found, strict=True)
        if match is None
    ]
    if len(filters) < len(words) and not mistakes:
        mistakes.append(Mistake("the same filter stands there twice", field="--where"))
    stages = [stage.value for stage in Stage if stage not in _UNLISTED]
    if "stage" in filters and filters["stage"] not in stages:
        known = filters["stage"] in [stage.value for stage in _UNLISTED]
        what = "nobody is listed under that stage" if known else "no such stage"
        mistakes.append(Mistake(f"{what}; there are {', '.join(stages)}", field="--where"))
    if mistakes:
        raise BadInput(mistakes)
    return Which.model_validate({"tenant": tenant, **filters})


class BulkResult(StrEnum):
    """What became of one engagement's command."""

    DONE = "done"
    REFUSED = "refused"
    ENDED = "ended"
    UNAVAILABLE = "unavailable"
    NOT_TRIED = "not tried"


class BulkRow(Model):
    """One engagement with what became of its command; ``text`` says why not."""

    reference: Reference
    result: BulkResult
    text: str = ""


class BulkReport(Model):
    """Every engagement that was found. Repeating with the same ``bulk_id`` goes on and does nothing twice."""

    bulk_id: str
    command: str
    rows: tuple[BulkRow, ...]

    def count(self, result: BulkResult) -> int:
        """How many ended so."""
        return sum(row.result is result for row in self.rows)

    @property
    def is_finished(self) -> bool:
        """Whether every engagement was reached."""
        return not (self.count(BulkResult.UNAVAILABLE) or self.count(BulkResult.NOT_TRIED))


class BulkService:
    """Bulk commands through one Temporal client, lazy or not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, which: Which) -> tuple[Reference, ...]:
        """References of the engagements that a command would be given to: the dry run.

        Temporal's list is a second or two behind. Raises ``BadInput`` for a query that Temporal does not understand
        and ``EngineUnavailable``.
        """
        own = engagement_workflow_id(which.tenant, "")
        found = await self._engine.matching(which.as_query())
        # one that goes on as a new run while the list is read stands in it twice
        return tuple(sorted({one.removeprefix(own) for one in found if one.startswith(own)}))

    async def carry_out(
        self,
        name: str,
        tenant: str,
        references: tuple[Reference, ...],
        command: Command,
        on_row: Callable[[BulkRow], None] = lambda row: None,
    ) -> BulkReport:
        """Give the command to each, a few at once; its id is the bulk's, and a repeat under it goes on.

        Once Temporal, or nobody any more, answers no further one is begun; one that does not answer alone keeps nobody
        else from it. Cancelled, it tells ``on_row`` of those that were under way. Raises ``BadInput`` for a command
        that is not for many.
        """
        if name not in COMMANDS:
            raise BadInput([Mistake(f"{name} is for one engagement at a time", field="command")])
        gate, silent = asyncio.Semaphore(AT_ONCE), 0

        async def give(reference: Reference) -> BulkRow:
            nonlocal silent
            async with gate:
                if silent >= SILENT:
                    row = BulkRow(reference=reference, result=BulkResult.NOT_TRIED)
                else:
                    row, weight = await self._give(name, tenant, reference, command, on_row)
                    silent = silent + weight if weight else 0
            on_row(row)
            return row

        rows: list[BulkRow] = []
        for start in range(0, len(references), PAGE):
            rows += await asyncio.gather(*(give(reference) for reference in references[start : start + PAGE]))
        report = BulkReport(bulk_id=command.command_id, command=name, rows=tuple(rows))
        log.info("bulk_command_given", command=name, bulk_id=command.command_id, done=report.count(BulkResult.DONE))
        return report

    async def _give(
        self, name: str, tenant: str, reference: Reference, command: Command, on_row: Callable[[BulkRow], None]
    ) -> tuple[BulkRow, int]:
        """What became of one, and how much of an outage that shows."""
        why, weight = "", SILENT
        for _ in range(TRIES):
            try:
                done = await self._engine.command(engagement_workflow_id(tenant, reference), name, command)
            except NotAllowed as refused:
                return BulkRow(reference=reference, result=BulkResult.REFUSED, text=str(refused)), 0
            except NotFound:
                return BulkRow(reference=reference, result=BulkResult.ENDED, text="it has ended meanwhile"), 0
            except EngineUnavailable as outage:
                why, weight = str(outage), 1 if isinstance(outage, NotAnswered) else SILENT
            except asyncio.CancelledError:
                on_row(BulkRow(reference=reference, result=BulkResult.UNAVAILABLE, text="broken off under way"))
                raise
            else:
                return BulkRow(reference=reference, result=BulkResult.DONE, text=done.text), 0
        return BulkRow(reference=reference, result=BulkResult.UNAVAILABLE, text=why), weight
