"""Starts many engagements from a plan and a file of candidates: all of it is checked before the first one starts."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from domain.engagements import EngagementRequest
from domain.errors import BadInput, Conflict, EngineUnavailable, Mistake, StoreUnavailable
from domain.model import Model, Reference
from domain.plans import Plan
from starter.candidates_file import read_candidates
from starter.plans_file import load_plan
from starter.service import EngagementService

AT_ONCE = 8
"""Starts in flight: enough to hide the latency of Temporal, few enough to leave the store to others."""


class RowResult(StrEnum):
    """What became of one row."""

    STARTED = "started"
    ALREADY_THERE = "already there"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    NOT_TRIED = "not tried"


class RowReport(Model):
    """One row of the file with what became of it. ``line`` is that of the file, 0 without a file."""

    reference: Reference
    line: int
    result: RowResult
    workflow_id: str = ""
    text: str = ""


class BatchReport(Model):
    """Every row, in the order of the file."""

    rows: tuple[RowReport, ...]

    def count(self, result: RowResult) -> int:
        """How many rows ended so."""
        return sum(row.result is result for row in self.rows)


class Asked(Model):
    """One engagement to start, with its line in the file."""

    request: EngagementRequest
    line: int = 0


def read_batch(
    plan_path: Path, candidates_path: Path, *, tenant: str, line: str, region: str | None
) -> tuple[list[Asked], list[Mistake]]:
    """Read both files. The mistakes are those of both; there are requests only for rows that can be read."""
    mistakes: list[Mistake] = []
    plan: Plan | None = None
    try:
        plan = load_plan(plan_path)
    except BadInput as error:
        mistakes += error.mistakes
    read = read_candidates(candidates_path, plan.variables() if plan is not None else None, region)
    mistakes += read.mistakes
    if plan is None:
        return [], mistakes
    asked = []
    for row in read.rows:
        request = EngagementRequest(
            tenant=tenant, reference=row.reference, line=line, candidate=row.candidate, plan=plan, job=row.job
        )
        asked.append(Asked(request=request, line=row.line))
    return asked, mistakes


def check_batch(
    service: EngagementService, asked: Sequence[Asked], found: Sequence[Mistake], *, file: str, now: datetime
) -> None:
    """Raise ``BadInput`` with every mistake of files and rows; what is wrong with the line or plan is told once."""
    mistakes = list(found)
    told: set[tuple[str, str]] = set()
    for one in asked:
        for mistake in service.mistakes(one.request, now):
            of_row = mistake.field.startswith(("candidate", "reference"))
            if of_row:
                mistakes.append(Mistake(mistake.message, mistake.field, file, one.line or None))
            elif (mistake.field, mistake.message) not in told:
                told.add((mistake.field, mistake.message))
                mistakes.append(mistake)
    if mistakes:
        raise BadInput(mistakes)


async def start_batch(
    service: EngagementService, asked: Sequence[Asked], now: datetime, on_row: Callable[[RowReport], None]
) -> BatchReport:
    """Start every request, a few at once. After the first outage no further row is begun: repeating is harmless."""
    gate = asyncio.Semaphore(AT_ONCE)
    outage = asyncio.Event()

    async def start(one: Asked) -> RowReport:
        async with gate:
            report = await _start_row(service, one, now) if not outage.is_set() else _row(one, RowResult.NOT_TRIED)
        if report.result is RowResult.UNAVAILABLE:
            outage.set()
        on_row(report)
        return report

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start(one)) for one in asked]
    return BatchReport(rows=tuple(task.result() for task in tasks))


async def _start_row(service: EngagementService, one: Asked, now: datetime) -> RowReport:
    try:
        started = await service.start(one.request, now)
    except Conflict as error:
        return _row(one, RowResult.CONFLICT, text=f"the reference is taken by other input: {', '.join(error.fields)}")
    except (EngineUnavailable, StoreUnavailable) as error:
        return _row(one, RowResult.UNAVAILABLE, text=str(error))
    if started.created:
        return _row(one, RowResult.STARTED, workflow_id=started.workflow_id)
    text = f"ended as {started.outcome.value}" if started.outcome is not None else ""
    return _row(one, RowResult.ALREADY_THERE, workflow_id=started.workflow_id, text=text)


def _row(one: Asked, result: RowResult, *, workflow_id: str = "", text: str = "") -> RowReport:
    return RowReport(reference=one.request.reference, line=one.line, result=result, workflow_id=workflow_id, text=text)
