"""docs/seed-coverage.md is complete and true: each statement of the guides has code that exists and its own test."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "seed-coverage.md"
STATEMENTS = {"R": 32, "M": 54, "T": 45}
"""How many statements each guide makes: Recrubo, Meta, Truora."""
POINTERS = frozenset({"M2", "T45"})
"""Statements that only point elsewhere. No other row may go without code and test."""

_ROW = re.compile(r"^\|\s*([A-Z]\d+)\s*\|")
_QUOTED = re.compile(r"`([^`]+)`")
_NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class Row:
    """One statement of a guide."""

    id: str
    says: str
    code: str
    tests: str

    @property
    def places(self) -> list[str]:
        """``file:name`` of everything that implements or refuses it."""
        return _QUOTED.findall(self.code)

    @property
    def node_ids(self) -> list[str]:
        """The tests that exercise it."""
        return _QUOTED.findall(self.tests)

    def is_named_by(self, node_id: str) -> bool:
        """Whether the name of a test, or of its parameters, holds this row's id."""
        name = node_id.partition("::")[2]
        return self.id.casefold() in re.split(r"[^a-z0-9]+", name.casefold())


def rows_of(document: str) -> list[Row]:
    """Every row of the tables. Raises ``ValueError`` for one that has not exactly four cells."""
    rows = []
    for line in document.splitlines():
        if not _ROW.match(line):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 4:
            raise ValueError(f"{cells[0]}: has {len(cells)} cells, not 4")
        rows.append(Row(*cells))
    return rows


def expected_ids() -> list[str]:
    return [f"{letter}{n}" for letter, most in STATEMENTS.items() for n in range(1, most + 1)]


def problems_of_ids(rows: list[Row]) -> list[str]:
    """Statements that have no row, or several, or that no guide makes."""
    found = [row.id for row in rows]
    wanted = expected_ids()
    return [
        *(f"{one}: has no row" for one in wanted if one not in found),
        *(f"{one}: has {found.count(one)} rows" for one in dict.fromkeys(found) if found.count(one) > 1),
        *(f"{one}: is no statement of a guide" for one in found if one not in wanted),
    ]


def problems_of_row(row: Row, collected: frozenset[str]) -> list[str]:
    """Why a row is not true."""
    problems = [] if row.says else [f"{row.id}: does not say what the guide says"]
    if row.id in POINTERS:
        why = row.tests.removeprefix(_NOT_APPLICABLE).strip(" :")
        is_told = row.code == _NOT_APPLICABLE and row.tests.startswith(_NOT_APPLICABLE) and bool(why)
        return problems if is_told else [*problems, f"{row.id}: is n/a and must say why"]
    if not row.places:
        problems.append(f"{row.id}: names no code")
    if not row.node_ids:
        problems.append(f"{row.id}: names no test")
    elif not any(row.is_named_by(node_id) for node_id in row.node_ids):
        problems.append(f"{row.id}: no test of it has its id in its name")
    problems += [f"{row.id}: there is no {place}" for place in row.places if not exists(place)]
    return problems + [f"{row.id}: there is no test {one}" for one in row.node_ids if not is_collected(one, collected)]


def exists(place: str) -> bool:
    """Whether ``file:name`` (or ``file:Class.name``) is defined there, at the top or in the class."""
    file, _, name = place.partition(":")
    if not name or not file.endswith(".py") or not (ROOT / file).is_file():
        return False
    return name in definitions(file)


@cache
def definitions(file: str) -> frozenset[str]:
    """Every name that a module defines, and ``Class.name`` for what its classes define."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    found = set[str]()
    for node in tree.body:
        for name in _names_of(node):
            found.add(name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in _names_of(inner)}
    return frozenset(found)


def _names_of(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name() as target):
            return [target.id]
    return []


def is_collected(node_id: str, collected: frozenset[str]) -> bool:
    """Whether pytest knows this id; without brackets it stands for all its parameters."""
    return node_id in collected or any(one.startswith(f"{node_id}[") for one in collected)


def collected_in(files: list[str]) -> frozenset[str]:
    """The ids that pytest itself finds in these files."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    options = ["--collect-only", "-n0", "--assert=plain", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return frozenset(line for line in done.stdout.splitlines() if "::" in line)


ROWS = rows_of(DOCUMENT.read_text("utf-8"))


def test_every_statement_of_the_guides_has_its_row() -> None:
    assert problems_of_ids(ROWS) == []


def test_every_row_names_code_that_exists_and_a_test_that_pytest_finds() -> None:
    named = {node_id.partition("::")[0] for row in ROWS for node_id in row.node_ids}
    collected = collected_in(sorted(file for file in named if (ROOT / file).is_file()))

    assert [problem for row in ROWS for problem in problems_of_row(row, collected)] == []


# -- that this can fail

CLIENT = "providers/recrubo/client.py"
GOOD = f"| R1 | a trigger | `{CLIENT}:RecruboClient.trigger_flow` | `tests/a.py::test_r1_a[x-1]` |"
KNOWN = frozenset({"tests/a.py::test_r1_a[x-1]", "tests/a.py::test_of_nothing", "tests/a.py::test_says[R1]"})


def problem_in(line: str) -> str:
    [row] = rows_of(line)
    return "; ".join(problems_of_row(row, KNOWN))


def test_a_true_row_has_no_problem() -> None:
    assert problem_in(GOOD) == ""
    assert problem_in(GOOD.replace("test_r1_a[x-1]", "test_r1_a")) == "", "all parameters together"
    assert problem_in(GOOD.replace("test_r1_a[x-1]", "test_says[R1]")) == ""


@pytest.mark.parametrize(
    ("part", "instead", "problem"),
    [
        ("test_r1_a[x-1]", "test_r1_a[x-2]", "there is no test tests/a.py::test_r1_a[x-2]"),
        ("test_r1_a[x-1]", "test_r1", "there is no test"),
        ("test_r1_a[x-1]", "test_of_nothing", "no test of it has its id"),
        ("`tests/a.py::test_r1_a[x-1]`", "", "names no test"),
        ("`tests/a.py::test_r1_a[x-1]`", "n/a: too hard", "names no test"),
        ("RecruboClient.trigger_flow", "RecruboClient.start_flow", "there is no providers/recrubo/client.py:Rec"),
        ("RecruboClient.trigger_flow", "trigger_flow", "there is no providers"),
        (CLIENT, "providers/recrubo/gone.py", "there is no providers/recrubo/gone.py"),
        (f"`{CLIENT}:RecruboClient.trigger_flow`", "", "names no code"),
        ("a trigger", "", "does not say"),
        ("| R1 |", "| M2 |", "is n/a and must say why"),
    ],
)
def test_a_row_that_is_not_true_is_found(part: str, instead: str, problem: str) -> None:
    assert part in GOOD
    assert problem in problem_in(GOOD.replace(part, instead))


def test_a_pointer_says_why_it_has_no_test() -> None:
    assert problem_in("| M2 | a collection exists | n/a | n/a: a pointer |") == ""
    assert "say why" in problem_in("| M2 | a collection exists | n/a | n/a |")


def test_a_statement_without_a_row_or_with_two_is_found() -> None:
    one, *others = ROWS
    stranger = Row("R33", "x", "y", "z")

    assert problems_of_ids(others) == [f"{one.id}: has no row"]
    assert problems_of_ids([*ROWS, one]) == [f"{one.id}: has 2 rows"]
    assert problems_of_ids([*ROWS, stranger]) == ["R33: is no statement of a guide"]


def test_a_row_with_a_cell_too_many_is_no_row() -> None:
    with pytest.raises(ValueError, match="R1: has 5 cells"):
        rows_of("| R1 | a | b | c | d |")
