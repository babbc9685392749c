"""Reads a plan that a person wrote as YAML, and checks it: every mistake at once, with file, line and field."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from domain.budgets import Price
from domain.errors import BadInput, Mistake
from domain.model import Findings, Place
from domain.plans import FALLBACK, Plan, TemplateRef
from domain.templates import TemplateSpecification
from runtime.yaml_source import YamlSource, field_name, read_yaml
from starter.mistakes import choices_at, did_you_mean, findings
from starter.plan_against import against_columns, against_lines, against_templates, places_of_templates
from starter.plan_rest import rest_of, touches

_PRICES: TypeAdapter[tuple[Price, ...]] = TypeAdapter(tuple[Price, ...])
_TABLE = ("budget", "prices")
_OTHER_SIGNALS = "; an answer is written {field: …, equals: …}, a word of the ATS {ats: moved}"
_ROUNDS = 8
"""How often what is wrong is taken out to see what else is. Wrong parts of parts take a round each."""


@dataclass(frozen=True)
class Surroundings:
    """What a plan is checked against besides itself; None where that is not known."""

    specifications: Sequence[TemplateSpecification] | None = None
    columns: Sequence[str] | None = None
    candidates: str = ""
    """The file that has these columns."""
    lines: Sequence[str] | None = None
    """The lines of the configuration."""


def load_plan(path: Path, surroundings: Surroundings | None = None) -> Plan:
    """The plan in this file. Raises ``BadInput`` with every mistake, each with file, line and field."""
    source = read_yaml(path)
    if source.value is None:
        raise BadInput([Mistake("the file is empty: a plan begins with its name", file=source.name)])
    return _Reading(source, path, surroundings or Surroundings()).read()


class _Reading:
    def __init__(self, source: YamlSource, path: Path, surroundings: Surroundings) -> None:
        self._source, self._path, self._surroundings = source, path, surroundings
        self._table: YamlSource | None = None
        self._mistakes: list[Mistake] = []

    def read(self) -> Plan:
        value = self._with_prices(self._source.value)
        changed: set[Place] = set()
        for _ in range(_ROUNDS):
            plan, found = _read(value)
            self._tell((at, self._suggested(at, text)) for at, text in found if not touches(at, changed))
            if plan is not None:
                break
            value, places = rest_of(value, (at for at, _ in found))
            changed |= places
        if plan is not None:
            self._tell((at, text) for at, text in self._besides(plan) if not touches(at, changed))
        if self._mistakes or plan is None:
            found_once = dict.fromkeys(self._mistakes)
            raise BadInput(sorted(found_once, key=lambda mistake: (mistake.line or 0, mistake.field)))
        return plan

    def _tell(self, found: Iterable[tuple[Place, str]]) -> None:
        for place, text in found:
            source, at = self._source, place
            if self._table is not None and place[:2] == _TABLE and len(place) > len(_TABLE):
                source, at = self._table, place[2:]
            self._mistakes.append(Mistake(text, field=field_name(at), file=source.name, line=source.line(at)))

    def _besides(self, plan: Plan) -> Findings:
        around = self._surroundings
        yield from _contradictions(plan)
        if around.specifications is not None:
            yield from against_templates(plan, around.specifications)
        if around.columns is not None:
            yield from against_columns(plan, around.columns, around.candidates)
        if around.lines is not None:
            yield from against_lines(plan, around.lines)

    def _suggested(self, place: Place, text: str) -> str:
        """With the word that was probably meant, where only a few words may stand."""
        value: object = self._source.value
        for part in place:
            inside = dict(enumerate(value)) if isinstance(value, list) else value
            value = inside.get(part) if isinstance(inside, dict) else None
        if place[-1:] == ("on",) and not isinstance(value, dict):
            hint = did_you_mean(value, choices_at(Plan, place)) if isinstance(value, str) else ""
            return text + (hint or _OTHER_SIGNALS)
        return text + did_you_mean(value, choices_at(Plan, place)) if isinstance(value, str) else text

    def _with_prices(self, value: object) -> object:
        """The plan with the price table that it names as a file."""
        budget = value.get("budget") if isinstance(value, dict) else None
        name = budget.get("prices") if isinstance(budget, dict) else None
        if not (isinstance(value, dict) and isinstance(budget, dict) and isinstance(name, str)):
            return value
        try:
            table = read_yaml(self._path.parent / name)
            _PRICES.validate_python(table.value)
        except BadInput as error:
            line = self._source.line(_TABLE)
            self._mistakes += [
                Mistake(f"{name}: {m.message}", "budget.prices", self._source.name, line) for m in error.mistakes
            ]
        except ValidationError as error:
            self._mistakes += [
                Mistake(text, field=field_name(place), file=table.name, line=table.line(place))
                for place, text in findings(error, Price)
            ]
        else:
            self._table = table
            return {**value, "budget": {**budget, "prices": table.value}}
        return {member: part for member, part in value.items() if member != "budget"}


def _read(value: object) -> tuple[Plan | None, list[tuple[Place, str]]]:
    try:
        return Plan.model_validate(value), []
    except ValidationError as error:
        return None, findings(error, Plan)


def _contradictions(plan: Plan) -> Findings:
    """One template, named twice, must be described alike: it is one message with one set of variables.

    On the fallback line it is another one, of another account.
    """
    first: dict[tuple[str, str], TemplateRef] = {}
    for place, template in places_of_templates(plan):
        if place[: len(FALLBACK)] == FALLBACK:
            continue
        known = first.setdefault((template.name, template.language), template)
        if known != template:
            yield (
                place,
                f"template {template.name} ({template.language}) is described otherwise above: id or variables differ",
            )
