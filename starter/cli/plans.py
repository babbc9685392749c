"""The commands ``plan check`` and ``plan schema``, and the group that ``plan migrate`` belongs to."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from domain.errors import BadInput, Mistake
from domain.following import spoken
from domain.plans import AnswerRule, AtsRule, FollowUp, Plan
from runtime.settings import load_settings
from runtime.topology import load_topology
from starter.cli import output
from starter.cli.errors import EPILOG
from starter.cli.output import Json
from starter.cli.plan_migration import migrate
from starter.plan_against import columns_in, specifications_in
from starter.plan_schema import plan_schema
from starter.plans_file import Surroundings, load_plan

app = typer.Typer(
    help="Check plan files; move open engagements to a new version.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """Check plan files; move open engagements to a new version."""


app.command(epilog=EPILOG)(migrate)


@app.command(epilog=EPILOG)
def check(
    files: Annotated[list[Path], typer.Argument(help="Plans, YAML files.", metavar="FILE…")],
    *,
    templates: Annotated[
        Path | None, typer.Option(help="A folder of template specifications; default: what RAPPORT_TEMPLATES names.")
    ] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="A CSV file of candidates, whose columns must give every variable.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The configuration file, for its lines; default: what RAPPORT_CONFIG names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check plans and say what they do; every mistake of every file at once."""
    mistakes: list[Mistake] = []
    settings = load_settings()
    surroundings = _surroundings(templates or settings.templates, candidates, mistakes)
    surroundings = replace(surroundings, lines=_lines(config or settings.config, mistakes))
    plans: list[Plan] = []
    for file in files:
        try:
            plans.append(load_plan(file, surroundings))
        except BadInput as error:
            mistakes += error.mistakes
    if mistakes:
        raise BadInput(mistakes)
    if as_json:
        output.print_json(plans)
        return
    for plan in plans:
        for line in _told(plan):
            output.screen().print(Text(line))


@app.command(epilog=EPILOG)
def schema(
    *, to: Annotated[Path | None, typer.Option("--to", help="A file to write it to, else it is printed.")] = None
) -> None:
    """Tell the JSON Schema of plans, for editors."""
    if to is None:
        typer.echo(plan_schema(), nl=False)
    else:
        to.write_text(plan_schema(), encoding="utf-8")


def _surroundings(folder: Path | None, candidates: Path | None, mistakes: list[Mistake]) -> Surroundings:
    specifications = columns = None
    if folder is not None:
        try:
            specifications = specifications_in(folder)
        except BadInput as error:
            mistakes += error.mistakes
    if candidates is not None:
        try:
            columns = columns_in(candidates)
        except BadInput as error:
            mistakes += error.mistakes
    return Surroundings(specifications, columns, str(candidates or ""))


_IN_OWN_WORDS = "; free text in its place within 24 hours of the candidate's last message"


def _lines(config: Path | None, mistakes: list[Mistake]) -> tuple[str, ...] | None:
    try:
        return None if config is None else tuple(line.slug for line in load_topology(config).lines)
    except BadInput as error:
        mistakes += error.mistakes
        return None


def _told(plan: Plan) -> list[str]:
    lines = [f"{plan.name}, version {plan.version}: nothing is wrong"]
    template, flow = plan.opening.template, plan.opening.flow
    words = _IN_OWN_WORDS if plan.opening.free_form is not None else ""
    lines.append(f"  opens with {template.name} ({template.language}), flow {flow.id or '(none named)'}{words}")
    for up in plan.follow_ups:
        flow_id = f", flow {up.flow.id}" if up.flow is not None else ""
        words = _IN_OWN_WORDS if up.free_form is not None else ""
        lines.append(f"  {_cause(up)}: {up.template.name} ({up.template.language}){flow_id}{words}")
    lines.append(f"  after {spoken(plan.silence.after)} of silence: {plan.silence.end.value}")
    lines += _told_of_fallback(plan)
    if plan.budget is not None:
        lines.append(f"  spends at most {_most(plan)}")
    needed = ", ".join(sorted(plan.variables()))
    lines.append(f"  needs of each candidate: {needed or 'no variables'}")
    return lines


def _told_of_fallback(plan: Plan) -> list[str]:
    over = plan.fallback
    if over is None:
        return []
    template, flow = over.opening.template, over.opening.flow
    words = _IN_OWN_WORDS if over.opening.free_form is not None else ""
    message = f"{template.name} ({template.language}) on line {over.line}, flow {flow.id or '(none named)'}{words}"
    then = f"after {spoken(over.silence.after)} of silence: {over.silence.then.value}"
    return [f"  where it is known by then that nothing arrived: {message}; {then}"]


def _cause(up: FollowUp) -> str:
    match up.on:
        case None:
            cause = f"after {spoken(up.delay)}"
        case AnswerRule():
            cause = f"on the answer {up.on.field} = {up.on.equals}"
        case AtsRule():
            cause = f"when the ATS says {up.on.ats}"
        case _:
            cause = f"on {up.on}"
    later = f", {spoken(up.delay)} later" if up.on is not None and up.after is not None else ""
    return cause + later + (f", if {up.when}" if up.when is not None else "")


def _most(plan: Plan) -> str:
    budget = plan.budget
    if budget is None:
        return ""
    messages = f"{budget.messages} messages" if budget.messages is not None else ""
    money = f"{budget.money} {budget.currency}" if budget.money is not None else ""
    return " and ".join(filter(None, (messages, money)))
