"""Exit codes, and the one place where an error becomes a line for a person."""

from enum import IntEnum

from rich.console import Console
from rich.text import Text

from domain.errors import (
    BadInput,
    Conflict,
    EngineUnavailable,
    Erased,
    NotAllowed,
    NotEntitled,
    NotFound,
    PayloadTooLarge,
    RapportError,
    StoreUnavailable,
)


class ExitCode(IntEnum):
    """What a program that calls us may rely on."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5


EPILOG = (
    "Exit codes: 0 done; 1 failed, or problems were found; 2 bad input; 3 not found; "
    "4 conflict, or not allowed now; 5 Temporal or the store did not answer."
)

_CODES: dict[type[RapportError], ExitCode] = {
    BadInput: ExitCode.BAD_INPUT,
    NotFound: ExitCode.NOT_FOUND,
    Conflict: ExitCode.CONFLICT,
    NotAllowed: ExitCode.CONFLICT,
    NotEntitled: ExitCode.CONFLICT,
    EngineUnavailable: ExitCode.UNAVAILABLE,
    Erased: ExitCode.NOT_FOUND,
    PayloadTooLarge: ExitCode.BAD_INPUT,
    StoreUnavailable: ExitCode.UNAVAILABLE,
}


def code_of(error: RapportError) -> ExitCode:
    """The exit code of an error of ours."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), ExitCode.FAILED)


def report(error: RapportError) -> ExitCode:
    """Tell an error on standard error, a line per mistake, and give its exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if isinstance(error, BadInput):
        for mistake in error.mistakes:
            console.print(Text(str(mistake), style="red"))
        count = len(error.mistakes)
        console.print(Text(f"{count} mistake{'s' * (count != 1)}; nothing was started", style="dim"))
    else:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        console.print(Text(first, style="red"))
        for line in rest:
            console.print(Text(line))
        if isinstance(error, Conflict) and error.fields:
            console.print(Text(f"what differs: {', '.join(error.fields)}", style="dim"))
    return code_of(error)
