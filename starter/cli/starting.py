"""The command ``start``: one engagement by options, or one per row of a CSV file."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from domain.engagements import EngagementRequest
from domain.errors import BadInput, Mistake
from domain.plans import Plan
from starter.batch import Asked, BatchReport, RowReport, RowResult, check_batch, read_batch, start_batch
from starter.cli import output
from starter.cli.errors import ExitCode
from starter.cli.output import Json, TenantOption
from starter.cli.session import sessions
from starter.mistakes import mistakes_of
from starter.phones import read_phone
from starter.plans_file import load_plan

_OPTIONS = {
    "tenant": "--tenant",
    "line": "--line",
    "reference": "--reference",
    "candidate.phone": "--phone",
    "candidate.consent.source": "--consent-source",
    "candidate.consent.obtained_at": "--consent-at",
    "candidate.zone": "--zone",
    "candidate.variables": "--var",
    "job": "--job",
}
"""Fields of a request and the options that give them."""
_NEEDED = ("reference", "candidate.phone", "candidate.consent.source", "candidate.consent.obtained_at")

_STYLES = {
    RowResult.STARTED: "green",
    RowResult.ALREADY_THERE: "cyan",
    RowResult.CONFLICT: "red",
    RowResult.UNAVAILABLE: "red",
    RowResult.NOT_TRIED: "yellow",
}


def start(
    context: typer.Context,
    *,
    plan: Annotated[Path, typer.Option("--plan", help="The plan, a YAML file.")],
    line: Annotated[str, typer.Option("--line", help="The line to write from.")],
    tenant: TenantOption = None,
    candidates: Annotated[Path | None, typer.Option("--candidates", help="A CSV file: one engagement per row.")] = None,
    region: Annotated[str | None, typer.Option(help="Region of numbers without a country code, as NL.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check; start nothing.")] = False,
    reference: Annotated[str | None, typer.Option(help="Your own key of the engagement.")] = None,
    phone: Annotated[str | None, typer.Option(help="The candidate's number, as +31612345678.")] = None,
    consent_source: Annotated[str | None, typer.Option(help="Where the candidate agreed to be contacted.")] = None,
    consent_at: Annotated[str | None, typer.Option(help="When, as 2026-03-01T09:00:00Z.")] = None,
    zone: Annotated[str, typer.Option(help="The candidate's time zone, as Europe/Amsterdam.")] = "",
    job: Annotated[str, typer.Option(help="Your key of the position.")] = "",
    var: Annotated[list[str] | None, typer.Option(help="A template variable as name=value; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Start one engagement by options, or with --candidates one per row of a CSV file.

    Everything is checked first: with any mistake nothing starts. Starting twice starts once and says so.
    """
    given = {
        "reference": reference,
        "candidate.phone": phone,
        "candidate.consent.source": consent_source,
        "candidate.consent.obtained_at": consent_at,
        "candidate.zone": zone or None,
        "job": job or None,
    }
    if candidates is not None:
        _refuse_both({**given, "candidate.variables": var})

    async def run() -> BatchReport | None:
        async with sessions(context)() as session:
            of, now = session.tenant(tenant), datetime.now(UTC)
            if candidates is not None:
                asked, mistakes = read_batch(plan, candidates, tenant=of, line=line, region=region)
            else:
                asked, mistakes = _one(plan, {"tenant": of, "line": line, **given}, var or (), region)
            check_batch(session.service, asked, mistakes, file=str(candidates or ""), now=now)
            if check:
                return None
            with _progress(len(asked)) as on_row:
                return await start_batch(session.service, asked, now, on_row)

    report = asyncio.run(run())
    if report is None:
        output.screen().print(Text("nothing is wrong; nothing was started", style="green"))
        return
    if as_json:
        output.print_json(report)
    else:
        _print(report)
    raise typer.Exit(_code(report))


def _refuse_both(given: Mapping[str, object]) -> None:
    both = [_OPTIONS[field] for field, value in given.items() if value]
    if both:
        raise BadInput([Mistake("comes from the file: leave it out with --candidates", field=name) for name in both])


def _one(
    plan_path: Path, given: Mapping[str, str | None], variables: Sequence[str], region: str | None
) -> tuple[list[Asked], list[Mistake]]:
    """One request out of options, with every mistake of plan and options."""
    mistakes = [Mistake("missing", field=_OPTIONS[field]) for field in _NEEDED if not given[field]]
    plan: Plan | None = None
    try:
        plan = load_plan(plan_path)
    except BadInput as error:
        mistakes += error.mistakes
    values = dict(text.partition("=")[::2] for text in variables)
    mistakes += [Mistake("must be name=value", field="--var") for text in variables if "=" not in text]
    phone = given["candidate.phone"] or ""
    try:
        phone = read_phone(phone, region) if phone else ""
    except ValueError as error:
        mistakes.append(Mistake(str(error), field="--phone"))
    raw = {
        "tenant": given["tenant"],
        "line": given["line"],
        "reference": given["reference"],
        "job": given["job"] or "",
        "plan": plan,
        "candidate": {
            "phone": phone,
            "variables": values,
            "zone": given["candidate.zone"] or "",
            "consent": {
                "source": given["candidate.consent.source"],
                "obtained_at": given["candidate.consent.obtained_at"],
            },
        },
    }
    told = {mistake.field for mistake in mistakes}
    try:
        return [Asked(request=EngagementRequest.model_validate(raw))], mistakes
    except ValidationError as error:
        found = [
            Mistake(mistake.message, field=_OPTIONS.get(mistake.field, mistake.field))
            for mistake in mistakes_of(error, EngagementRequest)
            if not mistake.field.startswith("plan")
        ]
        return [], [*mistakes, *(mistake for mistake in found if mistake.field not in told)]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[RowReport], None]]:
    """A bar on standard error, for more than one row and on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("starting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=total < 2 or not console.is_terminal) as bar:
        task = bar.add_task("start", total=total)
        yield lambda _row: bar.advance(task)


def _print(report: BatchReport) -> None:
    console = output.screen()
    table = Table("line", "reference", "result", "", box=None)
    for row in report.rows:
        style = _STYLES[row.result]
        where = str(row.line) if row.line else ""
        table.add_row(where, Text(row.reference), Text(row.result.value, style=style), Text(row.text))
    console.print(table)
    counts = [f"{report.count(result)} {result.value}" for result in RowResult if report.count(result)]
    console.print(Text(", ".join(counts), style="bold"))
    if report.count(RowResult.UNAVAILABLE):
        console.print(Text("run the same command again: what is there already is not started twice", style="yellow"))


def _code(report: BatchReport) -> ExitCode:
    if report.count(RowResult.UNAVAILABLE):
        return ExitCode.UNAVAILABLE
    return ExitCode.CONFLICT if report.count(RowResult.CONFLICT) else ExitCode.OK
