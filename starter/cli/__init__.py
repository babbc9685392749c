"""The command ``rapport``. Only names and help lines are loaded here; each command loads what it needs."""

import gc
import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from domain.errors import RapportError
from runtime.zones import pin_zone_rules
from starter.cli.commands import COMMANDS, PROCESSES, Listed
from starter.cli.errors import EPILOG, ExitCode, report

__all__ = ["app", "main"]


class _LazyCommands(TyperGroup):
    """Lists commands from a table and imports the one that is called. Errors of ours end as a line and an exit code.

    ``Any`` stands where Typer's own (vendored) classes have no public name.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with name and help, enough for the help page and for suggestions."""
        listed = COMMANDS.get(cmd_name)
        return None if listed is None else _stand_in(cmd_name, listed)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        self.commands = {name: self.get_command(ctx, name) for name in COMMANDS}  # what "did you mean" looks through
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None or stand_in is None:
            return name, stand_in, rest
        return name, _load(name, COMMANDS[name]), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RapportError as error:
            raise typer.Exit(report(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.FAILED) from None


def _stand_in(name: str, listed: Listed) -> Any:
    one = typer.Typer(add_completion=False)
    one.command(name=name, help=listed.summary, rich_help_panel=listed.panel)(lambda: None)
    return typer.main.get_command(one)


def _load(name: str, listed: Listed) -> Any:
    found = getattr(importlib.import_module(listed.module), listed.attribute)
    if isinstance(found, typer.Typer):
        loaded = typer.main.get_command(found)
        loaded.name = name
    else:
        one = typer.Typer(add_completion=False)
        one.command(name=name, epilog=EPILOG)(found)
        loaded = typer.main.get_command(one)
    if name not in PROCESSES:  # which leave no line, and do not load all that writing one takes
        importlib.import_module("starter.cli.auditing").put_on_record(name, loaded)
    if not gc.isenabled():  # a process of its own, see `main`
        gc.freeze()
        gc.enable()
    return loaded


app = typer.Typer(
    cls=_LazyCommands,
    name="rapport",
    help="Carries candidate engagements over WhatsApp to their end.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,  # locals may hold what is personal or secret
)


@app.callback()
def _root() -> None:
    """Carries candidate engagements over WhatsApp to their end."""


def main() -> None:
    """Entry point of ``rapport``. A defect ends it with a traceback, and without words that may be of a person."""
    pin_zone_rules()
    # While modules load, no search for garbage: what they make stays. Nor is it looked through later, or at the end.
    gc.disable()
    try:
        app(prog_name="rapport")
    except Exception as defect:  # noqa: BLE001 - whatever it is, it is told and ends the process
        sys.stderr.write(importlib.import_module("runtime.log_errors").told(defect) + "\n")
        sys.exit(int(ExitCode.FAILED))
