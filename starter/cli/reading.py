"""Commands that only look: ``list``, ``show``, ``trace``, ``sends``."""

import asyncio
from typing import Annotated

import typer

from starter.cli import output, stories
from starter.cli.output import Json, TenantOption
from starter.cli.session import sessions
from starter.interface import PAGE_LIMIT
from starter.views import EngagementView

Reference = Annotated[str, typer.Argument(help="Your own key of the engagement.")]
Answers = Annotated[bool, typer.Option("--answers", help="Show what the candidate answered: personal data.")]


def list_engagements(
    context: typer.Context,
    *,
    tenant: TenantOption = None,
    is_open: Annotated[bool | None, typer.Option("--open/--closed", help="Only open, or only ended ones.")] = None,
    line: Annotated[str, typer.Option(help="Only those on this line.")] = "",
    after: Annotated[str, typer.Option(help="Go on after this reference.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=PAGE_LIMIT, help="Rows to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List a tenant's engagements, newest first."""

    async def run() -> None:
        async with sessions(context)() as session:
            page = await session.service.list(
                session.tenant(tenant), is_open=is_open, line=line, cursor=after, limit=limit
            )
        output.print_json(page) if as_json else output.print_page(page)

    asyncio.run(run())


def show(
    context: typer.Context,
    reference: Reference,
    *,
    tenant: TenantOption = None,
    answers: Answers = False,
    as_json: Json = False,
) -> None:
    """Show where an engagement stands and what it waits for."""

    async def run() -> None:
        async with sessions(context)() as session:
            view = await session.service.get(session.tenant(tenant), reference)
        if as_json:
            output.print_json(view if answers else _without_answers(view))
        else:
            output.print_view(view, with_answers=answers)

    asyncio.run(run())


def trace(
    context: typer.Context,
    reference: Reference,
    *,
    tenant: TenantOption = None,
    technical: Annotated[
        bool, typer.Option("--technical", help="Print rules, ids and Temporal's history instead of the story.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the story as Markdown, for a report.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what happened to an engagement and why: what was sent, what was not, what was waited for."""

    async def run() -> None:
        async with sessions(context)() as session:
            told = await session.service.trace(session.tenant(tenant), reference)
        if as_json:
            output.print_json(told)
        elif markdown and told.story is not None:
            typer.echo(stories.as_markdown(told.story))
            if told.note:
                typer.echo(f"\n*{told.note}*")
        elif technical or told.story is None:
            output.print_trace(told)
        else:
            stories.print_story(told.story)
            output.print_note(told.note)

    asyncio.run(run())


def sends(
    context: typer.Context,
    *,
    unknown: Annotated[bool, typer.Option("--unknown", help="Only those whose outcome is unknown.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows to show.")] = PAGE_LIMIT,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """List sends; one whose outcome is unknown waits for resolve-send or resend."""

    async def run() -> None:
        async with sessions(context)() as session:
            entries = await session.service.sends(session.tenant(tenant), unknown=unknown, limit=limit)
        if as_json:
            output.print_json(entries)
        else:
            output.print_sends(entries, "no send is of unknown outcome" if unknown else "no sends")

    asyncio.run(run())


def _without_answers(view: EngagementView) -> EngagementView:
    snapshot = view.snapshot
    if snapshot is None or snapshot.settlement is None:
        return view
    bare = snapshot.settlement.model_copy(update={"answers": {}, "text": ""})
    return view.model_copy(update={"snapshot": snapshot.model_copy(update={"settlement": bare})})
