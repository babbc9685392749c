"""A plan against what surrounds it: the specifications of templates, and the columns of the candidates' file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from domain.errors import BadInput, Mistake
from domain.free_form import FreeForm
from domain.model import Findings, Place
from domain.plans import FALLBACK, Plan, TemplateRef
from domain.templates import TemplateSpecification
from runtime.yaml_source import field_name, read_yaml
from starter.csv_file import records_in, text_of
from starter.mistakes import did_you_mean, findings


def specifications_in(folder: Path) -> tuple[TemplateSpecification, ...]:
    """Every specification of a folder, whomever it is for. Raises ``BadInput`` for what cannot be read as one."""
    found, mistakes = [], list[Mistake]()
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        text = f"cannot be read as a folder of templates: {error.strerror}"
        raise BadInput([Mistake(text, file=str(folder))]) from None
    for file in files:
        source = read_yaml(file)
        try:
            found.append(TemplateSpecification.model_validate(source.value))
        except ValidationError as error:
            mistakes += [
                Mistake(text, field=field_name(place), file=source.name, line=source.line(place))
                for place, text in findings(error, TemplateSpecification)
            ]
    if mistakes:
        raise BadInput(mistakes)
    return tuple(found)


def columns_in(file: Path) -> tuple[str, ...]:
    """The columns that a CSV file names in its first line. Raises ``BadInput`` where there is none."""
    mistakes: list[Mistake] = []

    def wrong(message: str, column: str, line: int | None) -> None:
        mistakes.append(Mistake(message, column, str(file), line))

    text = text_of(file, wrong)
    header = next(records_in(text, wrong), None) if text is not None else None
    if header is None and not mistakes:
        wrong("the file is empty: its first line must name the columns", "", None)
    if header is None:
        raise BadInput(mistakes)
    return tuple(header[1])


def places_of_templates(plan: Plan) -> Iterator[tuple[Place, TemplateRef]]:
    """Where each template of a plan stands, in the order of its steps."""
    yield ("opening", "template"), plan.opening.template
    for n, follow_up in enumerate(plan.follow_ups):
        yield ("follow_ups", n, "template"), follow_up.template
    if plan.fallback is not None:
        yield (*FALLBACK, "opening", "template"), plan.fallback.opening.template


def free_forms_of(plan: Plan) -> Iterator[tuple[Place, FreeForm]]:
    """Where each message stands that may leave without a template."""
    yield from plan.free_forms()
    if plan.fallback is not None and plan.fallback.opening.free_form is not None:
        yield (*FALLBACK, "opening", "free_form"), plan.fallback.opening.free_form


def against_templates(plan: Plan, specifications: Sequence[TemplateSpecification]) -> Findings:
    """Templates that are specified otherwise, or not at all and without the provider's id that would tell them."""
    for place, template in places_of_templates(plan):
        named = [one for one in specifications if one.name == template.name]
        fitting = [one for one in named if one.language == template.language]
        if not named and not template.id:
            hint = did_you_mean(template.name, {one.name for one in specifications})
            yield (*place, "name"), f"no specification of this template, and no id of the provider's{hint}"
        elif named and not fitting:
            languages = ", ".join(sorted(one.language for one in named))
            yield (*place, "language"), f"the template is specified in {languages} only"
        for one in fitting:
            yield from ((place + at, text) for at, text in _against(template, one))


def _against(template: TemplateRef, one: TemplateSpecification) -> Findings:
    if template.category is not None and template.category != one.category:
        yield ("category",), f"it is specified as {one.category}"
    if template.named is not one.is_named:
        kind = "names: write named: true" if one.is_named else "numbers: leave named out"
        yield ("named",), f"the template's own variables have {kind}"
    elif one.is_named:
        for n, name in enumerate(template.variables):
            if name not in one.variables:
                yield ("variables", n), f"the template has no such variable{did_you_mean(name, one.variables)}"
        missing = [name for name in one.variables if name not in template.variables]
        if missing and len(template.variables) < len(one.variables):
            yield ("variables",), f"the template needs {', '.join(missing)} too"
    elif len(template.variables) != len(one.variables):
        yield ("variables",), f"the template takes {len(one.variables)}, the plan gives {len(template.variables)}"


def against_lines(plan: Plan, lines: Sequence[str]) -> Findings:
    """A fallback line that the configuration does not have."""
    if plan.fallback is not None and plan.fallback.line not in lines:
        yield (*FALLBACK, "line"), f"no such line in the configuration{did_you_mean(plan.fallback.line, lines)}"


def against_columns(plan: Plan, columns: Sequence[str], file: str) -> Findings:
    """Variables that no column of the candidates' file gives."""
    for place, template in places_of_templates(plan):
        for n, name in enumerate(template.variables):
            if name not in columns:
                yield (*place, "variables", n), f"{file} has no column of this name{did_you_mean(name, columns)}"
    for place, free_form in free_forms_of(plan):
        for name in free_form.variables():
            if name not in columns:
                yield (*place, "text"), f"{file} has no column {name}{did_you_mean(name, columns)}"
