"""The commands ``plan check`` and ``plan schema``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from domain.errors import BadInput, Mistake
from domain.following import spoken
from domain.plans import AnswerRule, AtsRule, FollowUp, Plan
from runtime.settings import load_settings
from starter.cli import output
from starter.cli.errors import EPILOG
from starter.cli.output import Json
from starter.plan_against import columns_in, specifications_in
from starter.plan_schema import plan_schema
from starter.plans_file import Surroundings, load_plan

app = typer.Typer(help="Check plan files.", epilog=EPILOG, no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Check plan files."""


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
    as_json: Json = False,
) -> None:
    """Check plans and say what they do; every mistake of every file at once."""
    mistakes: list[Mistake] = []
    surroundings = _surroundings(templates or load_settings().templates, candidates, mistakes)
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


def _told(plan: Plan) -> list[str]:
    lines = [f"{plan.name}, version {plan.version}: nothing is wrong"]
    template, flow = plan.opening.template, plan.opening.flow
    lines.append(f"  opens with {template.name} ({template.language}), flow {flow.id or '(none named)'}")
    for up in plan.follow_ups:
        flow_id = f", flow {up.flow.id}" if up.flow is not None else ""
        lines.append(f"  {_cause(up)}: {up.template.name} ({up.template.language}){flow_id}")
    lines.append(f"  after {spoken(plan.silence.after)} of silence: {plan.silence.then.value}")
    if plan.budget is not None:
        lines.append(f"  spends at most {_most(plan)}")
    needed = ", ".join(sorted(plan.variables()))
    lines.append(f"  needs of each candidate: {needed or 'no variables'}")
    return lines


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
