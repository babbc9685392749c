"""Reads a plan that a person wrote as YAML."""

from pathlib import Path

from pydantic import ValidationError

from domain.errors import BadInput, Mistake
from domain.plans import Plan, TemplateRef
from runtime.yaml_source import YamlSource, field_name, read_yaml
from starter.mistakes import findings


def load_plan(path: Path) -> Plan:
    """The plan in this file. Raises ``BadInput`` with every mistake, each with file, line and field."""
    source = read_yaml(path)
    if source.value is None:
        raise BadInput([Mistake("the file is empty: a plan begins with its name", file=source.name)])
    try:
        plan = Plan.model_validate(source.value)
    except ValidationError as error:
        found = [
            Mistake(text, field=field_name(place), file=source.name, line=source.line(place))
            for place, text in findings(error, Plan)
        ]
        raise BadInput(sorted(found, key=lambda mistake: (mistake.line or 0, mistake.field))) from None
    contradictions = _contradictions(plan, source)
    if contradictions:
        raise BadInput(contradictions)
    return plan


def _contradictions(plan: Plan, source: YamlSource) -> list[Mistake]:
    """One template, named twice, must be described alike: it is one message with one set of variables."""
    first: dict[tuple[str, str], TemplateRef] = {}
    found = []
    places = [("opening", "template"), *(("follow_ups", i, "template") for i in range(len(plan.follow_ups)))]
    for place, template in zip(places, plan.templates(), strict=True):
        known = first.setdefault((template.name, template.language), template)
        if known != template:
            text = (
                f"template {template.name} ({template.language}) is described otherwise above: id or variables differ"
            )
            found.append(Mistake(text, field=field_name(place), file=source.name, line=source.line(place)))
    return found
