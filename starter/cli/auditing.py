"""Puts every command of an operator on record, in one place: whatever is not named here as a mere look is recorded."""

import functools
import getpass
import os
from collections.abc import Callable, Iterator
from typing import Any

import structlog
import typer

from domain.errors import RapportError
from runtime.logging import configure_logging
from runtime.settings import LogLevel
from starter.audit import record
from starter.cli.commands import PROCESSES

ROLE = "shell"
LOOKS = frozenset({"list", "show", "sends", "pauses", "plan check", "plan schema", "doctor"})
"""Commands that only tell where things stand, or touch no store at all."""

_NAMED_BY = ("reference", "candidate", "gate", "event", "line", "name")


def put_on_record(name: str, command: Any) -> None:
    """Have each command under this name leave a line when it ends, however it ends: also where it was misspelt."""
    for words, leaf in leaves(name, command):
        if words not in LOOKS and words not in PROCESSES:
            leaf.callback = _recorded(words, leaf.callback)
            leaf.make_context = _read_on_record(words, leaf.make_context)


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands that do something, with the words that call them."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from leaves(f"{name} {word}", one)


def user() -> str:
    """Who sits at the shell: a name, or a number where this machine knows no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _recorded(words: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*args: Any, **given: Any) -> Any:
        result = "failed"
        try:
            answer = callback(*args, **given)
            result = "done"
        except typer.Exit as ended:
            result = "done" if ended.exit_code == 0 else f"ended with {int(ended.exit_code)}"
            raise
        except typer.Abort:
            result = "given up"
            raise
        except RapportError as error:
            result = type(error).__name__
            raise
        finally:
            _record(words, given, result)
        return answer

    return run


def _read_on_record(words: str, make_context: Callable[..., Any]) -> Callable[..., Any]:
    """The command line is read before there is anything to call; what it refuses is on record all the same."""

    @functools.wraps(make_context)
    def read(*args: Any, **given: Any) -> Any:
        try:
            return make_context(*args, **given)
        except Exception as error:
            if getattr(error, "exit_code", 0):  # a usage error; the help page ends with 0
                _record(words, {}, "misspelt")
            raise

    return read


def _record(words: str, given: dict[str, Any], result: str) -> None:
    if not structlog.is_configured():  # it ended before a process was opened
        configure_logging(level=LogLevel.ERROR)
    reference = next((str(given[name]) for name in _NAMED_BY if given.get(name)), "")
    record(
        who=given.get("actor") or user(),
        role=ROLE,
        tenant=given.get("tenant") or "",
        what=words,
        reference=reference,
        result=result,
    )
