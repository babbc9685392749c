"""Rules about templates in a message: which one may go out, and with how many parameters."""

from dataclasses import dataclass

from sandbox.recrubo.book import Book, Template, variables
from sandbox.recrubo.envelope import Mistake, not_found
from sandbox.recrubo.wire import TemplateChoice


@dataclass(frozen=True)
class Filled:
    """A template with the values of its variables, by component."""

    template: Template
    values: dict[str, list[str]]


def filled(book: Book, choice: TemplateChoice, at: str) -> tuple[Filled, list[Mistake]]:
    """Look the template up and judge what fills it.

    Raises:
        Refused: 404, no template of this id.

    """
    if choice.id not in book.templates:
        raise not_found("template", f"{at}/id")
    template = book.templates[choice.id]
    mistakes = []
    if template.status.upper() != "APPROVED":
        mistakes.append(Mistake("template-not-approved", f"the template is {template.status}", f"{at}/id"))
    values: dict[str, list[str]] = {}
    for place, component in enumerate(choice.components):
        if component.type in values:
            where = f"{at}/components/{place}/type"
            mistakes.append(Mistake("component-twice", f"{component.type} is filled twice", where))
        values[component.type] = [parameter.text for parameter in component.parameters]
    for part in ("header", "body"):
        needed, given = len(variables(template.text(part))), len(values.get(part, []))
        if needed != given:
            detail = f"the {part} has {needed} variables, {given} parameters were given"
            mistakes.append(Mistake("parameter-count", detail, f"{at}/components"))
    return Filled(template, values), mistakes
