"""Errors in the log: where they came from and of what kind they are, and their words only where those are ours.

Whoever raises an error of another library, or by a defect, writes into it what was in hand: a row, a payload, a
person. Ours hold nothing of anybody.
"""

import sys
import traceback
from collections.abc import MutableMapping

from temporalio.exceptions import ApplicationError

from domain import names
from domain.errors import RapportError

WITHHELD = "(its words are left out: they may hold something of a person)"

_OUR_FAILURES = frozenset(
    {
        names.PROVIDER_UNAVAILABLE,
        names.STORE_UNAVAILABLE,
        names.PROVIDER_REJECTED,
        names.POLICY_REFUSED,
        names.OUTCOME_UNKNOWN,
    }
)
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"


def told(error: BaseException) -> str:
    """The traceback of an error with those that it came from, as Python writes it, without words that are not ours."""
    return "".join(_parts(error, set())).rstrip("\n")


def tell_error(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """A structlog processor: puts the text of ``exc_info`` in its place."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = told(error)
    return event


def _parts(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    parts: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        parts += [*_parts(before, seen), _CAUSED if error.__cause__ is not None else _MEANWHILE]
    if error.__traceback__ is not None:
        parts += ["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__)]
    parts.append(f"{_kind(error)}: {_words(error)}\n")
    if isinstance(error, BaseExceptionGroup):
        for n, one in enumerate(error.exceptions, 1):
            if id(one) not in seen:
                parts += [f"---- {n} of {len(error.exceptions)} ----\n", *_parts(one, seen)]
    return parts


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _words(error: BaseException) -> str:
    match error:
        case RapportError():
            return str(error)
        case ApplicationError() if error.type in _OUR_FAILURES:
            return f"{error.type}: {error.message}"
        case ApplicationError() if error.type:
            return f"{error.type} {WITHHELD}"
        case OSError() if error.strerror:
            return error.strerror
    return WITHHELD
