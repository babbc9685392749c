"""The command ``plan check``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from domain.errors import BadInput, Mistake
from domain.plans import Plan
from starter.cli import output
from starter.cli.errors import EPILOG
from starter.cli.output import Json
from starter.plans_file import load_plan

app = typer.Typer(help="Check plan files.", epilog=EPILOG, no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Check plan files."""


@app.command(epilog=EPILOG)
def check(
    files: Annotated[list[Path], typer.Argument(help="Plans, YAML files.", metavar="FILE…")], *, as_json: Json = False
) -> None:
    """Check plans and say what they do; every mistake of every file at once."""
    plans: list[Plan] = []
    mistakes: list[Mistake] = []
    for file in files:
        try:
            plans.append(load_plan(file))
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


def _told(plan: Plan) -> list[str]:
    lines = [f"{plan.name}, version {plan.version}: nothing is wrong"]
    template, flow = plan.opening.template, plan.opening.flow
    lines.append(f"  opens with {template.name} ({template.language}), flow {flow.id or '(none named)'}")
    for up in plan.follow_ups:
        flow_id = f", flow {up.flow.id}" if up.flow is not None else ""
        lines.append(f"  after {up.after}: {up.template.name} ({up.template.language}){flow_id}")
    lines.append(f"  after {plan.silence.after} of silence: {plan.silence.then.value}")
    needed = ", ".join(sorted(plan.variables()))
    lines.append(f"  needs of each candidate: {needed or 'no variables'}")
    return lines
