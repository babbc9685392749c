"""Whether runs of a workflow can share a module: nothing in it that one of them could leave to another."""

import re
from collections.abc import Iterator
from datetime import date, time, timedelta, tzinfo
from enum import Enum
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import Final

from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext

_CONSTANTS: Final = (
    NoneType,
    int,
    float,
    str,
    bytes,
    date,
    time,
    timedelta,
    tzinfo,
    Enum,
    re.Pattern,
    BuiltinFunctionType,
    ModuleType,
)


def changeable_in(module: ModuleType) -> tuple[str, ...]:
    """Names of what could be changed in place, in a module and in the classes that it defines.

    Whatever is not known to be constant counts. A class from elsewhere is that module's.
    """
    return tuple(name for name, value in _held_by(module) if not _is_constant(value))


def bindings_of(module: ModuleType) -> dict[str, object]:
    """What each name in a module and its classes stands for now.

    Submodules, which an import binds whenever it comes, are left out.
    """
    return {name: value for name, value in _held_by(module) if not isinstance(value, ModuleType)}


def _held_by(module: ModuleType) -> Iterator[tuple[str, object]]:
    for name, value in tuple(vars(module).items()):  # at once: another thread may import a submodule just now
        if name.startswith("__") and name.endswith("__"):  # Python's own
            continue
        yield name, value
        if isinstance(value, type) and value.__module__ == module.__name__:
            # two underscores: Python's own and the SDK's; what a class itself calls so has its name before them
            yield from ((f"{name}.{own}", it) for own, it in vars(value).items() if not own.startswith("__"))


def _is_constant(value: object) -> bool:
    value = RestrictionContext.unwrap_if_proxied(value)  # what the sandbox watches, as it lies behind
    match value:
        case FunctionType():
            return _is_constant(value.__defaults__) and _is_constant(tuple((value.__kwdefaults__ or {}).values()))
        case property():
            return all(_is_constant(one) for one in (value.fget, value.fset, value.fdel))
        case staticmethod() | classmethod():
            return _is_constant(value.__func__)
        case tuple() | frozenset():
            return all(_is_constant(one) for one in value)
        case _:
            return isinstance(value, (type, *_CONSTANTS))
