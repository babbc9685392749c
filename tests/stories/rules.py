"""The rules that the code can write into the decision log of an engagement, read from its source."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "workflows", "store", "activities")
OF_GATES = {"domain/gates.py", "workflows/gate.py", "workflows/gate_looking.py"}
"""A gate has a log of its own."""
ANYTHING = ".+"
PLACES = {"_log": 0, "_answer": 1, "leave_or_settle": 1, "settle": 1, "_settle": 1, "put_on_hold": 1, "_hold": 1}
"""Which argument of these calls names the rule, in what decides; where it is a keyword it is called ``rule``."""
ANSWERS = {"_refused": 0}
"""The same in what the store answers to what decides."""
OF_STATE = ("state", "self._state", "self.state", "self")
"""Whose ``log`` takes the instant first."""
HANDED_ON = {"rule", "name", "failure.code"}
"""What only hands on a rule that is named elsewhere in the code, as everything does that is itself called ``…rule``."""


def rules() -> dict[str, str]:
    """Every rule as a pattern, with the place where it is named."""
    found: dict[str, str] = {}
    for path in sorted(path for room in ROOMS for path in (ROOT / room).glob("*.py")):
        where = str(path.relative_to(ROOT))
        if where not in OF_GATES:
            module = importlib.import_module(where.removesuffix(".py").replace("/", "."))
            decides = path.parent.name in ("domain", "workflows")
            for expression in _deciding(ast.parse(path.read_text())) if decides else _answering(path):
                for pattern in _patterns(expression, vars(module)):
                    found.setdefault(pattern, f"{where}:{expression.lineno}")
    return found


def _answering(path: Path) -> Iterator[ast.expr]:
    """What the store and the activities refuse or admit by."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = _called(node)
            if path.stem == "admission" and called in ANSWERS:
                yield node.args[ANSWERS[called]]
            wanted = {"PolicyRefused": "code", "Admission": "rule"}.get(called)
            yield from (each.value for each in node.keywords if each.arg == wanted and wanted)


def _deciding(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        match node:
            case ast.Call():
                yield from _of_call(node)
            case ast.Assign(targets=[ast.Name(id="rule")], value=value):
                yield value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                yield from (value for name, value in zip(names, values, strict=False) if ast.unparse(name) == "rule")


def _of_call(call: ast.Call) -> Iterator[ast.expr]:
    called = _called(call)
    place = PLACES.get(called, _places_of_reasons().get(called))
    if called == "log" and isinstance(call.func, ast.Attribute):
        place = 1 if ast.unparse(call.func.value) in OF_STATE else 0
    if place is not None and len(call.args) > place:
        yield call.args[place]
    if ast.unparse(call.func) == "workflow.update":  # a command is logged under its name
        yield from (each.value for each in call.keywords if each.arg == "name")
    yield from (each.value for each in call.keywords if each.arg == "rule")


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@cache
def _places_of_reasons() -> dict[str, int]:
    """Classes that carry a rule, as ``Objection`` does, with the place of its field."""
    found: dict[str, int] = {}
    for path in (path for room in ("domain", "workflows") for path in (ROOT / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                fields = [ast.unparse(field.target) for field in node.body if isinstance(field, ast.AnnAssign)]
                found |= {node.name: fields.index("rule")} if "rule" in fields else {}
    return found


def _patterns(expression: ast.expr, module: dict[str, object]) -> Iterator[str]:
    match expression:
        case ast.Constant(value=str(value)):
            yield re.escape(value)
        case ast.JoinedStr(values=parts):
            yield "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ANYTHING for p in parts)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _patterns(body, module)
            yield from _patterns(orelse, module)
        case ast.BoolOp(values=values):
            for each in values:
                yield from _patterns(each, module)
        case _:
            written = ast.unparse(expression)
            if written not in HANDED_ON and not written.endswith("rule"):
                named = eval(written, dict(module))  # noqa: S307 our own source: a constant, or this fails
                assert isinstance(named, str), f"{written} names no rule: say in HANDED_ON where it comes from"
                yield re.escape(named)
