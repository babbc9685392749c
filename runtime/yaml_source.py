"""Reads a YAML file into a model and tells every mistake with its line. For configuration, plans and candidates."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from domain.errors import BadInput, Mistake

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]
"""A path into a document, as pydantic writes it."""

MOST_BYTES = 4 * 1024 * 1024
MOST_VALUES = 200_000
"""Aliases counted as often as they are used: a small file can stand for a huge document."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: ``no``, ``on``, ``+573…`` and ``12:30`` stay text, which 1.1 would change."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


@dataclass(frozen=True)
class YamlSource:
    """One document: its value, and where each part of it stands."""

    name: str
    value: object
    lines: dict[Loc, int] = field(repr=False)

    def line(self, loc: Loc) -> int:
        """The line, from 1, of the part that ``loc`` names or of the nearest part around it.

        Elements that are no part of the document (pydantic names members of unions) are skipped.
        """
        at: Loc = ()
        for element in loc:
            if (*at, element) in self.lines:
                at = (*at, element)
        return self.lines.get(at, 1)

    def mistakes(self, error: ValidationError) -> list[Mistake]:
        """Pydantic's findings as mistakes, in the order of the file. Values are not repeated."""
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        places = [problem["loc"] for problem in problems]
        found = [
            Mistake(
                message=problem["msg"].removeprefix("Value error, "),
                field=field_name(problem["loc"]),
                file=self.name,
                line=self.line(problem["loc"]),
            )
            for problem in problems
            if not (problem["type"] == "too_short" and _has_mistakes_inside(problem["loc"], places))
        ]
        return sorted(found, key=lambda mistake: (mistake.line or 0, mistake.field))


def _has_mistakes_inside(loc: Loc, places: list[Loc]) -> bool:
    """A list whose items are wrong is called too short besides, since pydantic does not count them."""
    return any(len(place) > len(loc) and place[: len(loc)] == loc for place in places)


def field_name(loc: Loc) -> str:
    """``lines[0].rate`` for ``("lines", 0, "rate")``."""
    text = ""
    for element in loc:
        text += f"[{element}]" if isinstance(element, int) else f".{element}" if text else element
    return text


def load_yaml_model(path: Path, model: type[M]) -> M:
    """Read ``path`` as one ``model``. Raises ``BadInput`` with every mistake, each with file, line and field."""
    source = read_yaml(path)
    try:
        return model.model_validate(source.value)
    except ValidationError as error:
        raise BadInput(source.mistakes(error)) from None


def read_yaml(path: Path) -> YamlSource:
    """Read one YAML document. Raises ``BadInput`` when it is missing, too large, or no YAML."""
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput([Mistake(f"cannot be read: {error.strerror}", file=name)]) from None
    if len(raw) > MOST_BYTES:
        raise BadInput([Mistake(f"is larger than {MOST_BYTES // 1024 // 1024} MiB", file=name)])
    try:
        loader = _Loader(raw.decode("utf-8-sig"))
        try:
            node = loader.get_single_node()
            source = _Reader(name).read(node)
            value = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise BadInput([Mistake("is not UTF-8 text", file=name)]) from None
    except RecursionError:
        raise BadInput([Mistake("is nested too deeply", file=name)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput([_syntax(error, name)]) from None
    return YamlSource(name, value, source)


def _syntax(error: yaml.YAMLError | ValueError, name: str) -> Mistake:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return Mistake(f"not valid YAML: {error.problem}", file=name, line=error.problem_mark.line + 1)
    return Mistake("not valid YAML", file=name)


class _Reader:
    """Walks the parsed nodes once for the lines, and refuses what YAML would silently swallow."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[Loc, int] = {}
        self._wrong: list[Mistake] = []

    def read(self, root: yaml.Node | None) -> dict[Loc, int]:
        """The line of every part. Raises ``BadInput`` for repeated names and endless or huge documents."""
        todo: list[tuple[Loc, yaml.Node, int, frozenset[int]]] = []
        if root is not None:
            todo.append(((), root, root.start_mark.line, frozenset()))
        while todo:
            loc, node, line, around = todo.pop()
            if id(node) in around:
                raise BadInput([Mistake("refers to itself", field_name(loc), self._name, line + 1)])
            if len(self._lines) >= MOST_VALUES:
                raise BadInput([Mistake(f"holds more than {MOST_VALUES} values", file=self._name)])
            self._lines[loc] = line + 1
            inside = around | {id(node)}
            todo += [(*child, inside) for child in self._children(loc, node)]
        if self._wrong:
            raise BadInput(sorted(self._wrong, key=lambda mistake: mistake.line or 0))
        return self._lines

    def _children(self, loc: Loc, node: yaml.Node) -> Iterator[tuple[Loc, yaml.Node, int]]:
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield (*loc, index), item, item.start_mark.line
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, item in node.value:
                name, line = str(key.value), key.start_mark.line
                if name in seen:
                    self._wrong.append(Mistake("written twice", field_name((*loc, name)), self._name, line + 1))
                seen.add(name)
                yield (*loc, name), item, line
