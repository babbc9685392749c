"""Message templates: create, find, read, delete. There is no update."""

import re

from pydantic import JsonValue
from starlette.responses import Response

from sandbox.recrubo.book import Template, variables
from sandbox.recrubo.desk import Asked, Consequence, Desk, Taken, refuse_all
from sandbox.recrubo.envelope import Mistake, Refused, RelayedMetaError, not_found
from sandbox.recrubo.lists import asked_page, listing
from sandbox.recrubo.wire import BodyComponent, FooterComponent, HeaderComponent, NewTemplate, Shape, read
from sandbox.values import JsonObject
from sandbox.webhooks import Event

_FILTERS = frozenset({"name", "language", "status"})
_COMPONENTS: dict[JsonValue, type[Shape]] = {
    "HEADER": HeaderComponent,
    "BODY": BodyComponent,
    "FOOTER": FooterComponent,
}
_NAME = re.compile(r"[a-z0-9_]{1,512}")
EXISTS = 2388024
"""Meta's subcode: content in this language already exists."""


def create(desk: Desk, asked: Asked) -> Taken:
    """POST /message-templates: PENDING until it is reviewed."""
    attributes = asked.read(NewTemplate, desk).data.attributes
    refuse_all(422, _wrong_components(attributes.components, strict=desk.account.strict))
    name, language = attributes.name, attributes.language
    if not _NAME.fullmatch(name):
        mistake = Mistake("template-name", "name: lower-case letters, digits and underscores", "/data/attributes/name")
        raise RelayedMetaError(mistake, None, "Invalid template name")
    same_name = [t for t in desk.book.templates.values() if (t.name, t.language) == (name, language)]
    if same_name:
        mistake = Mistake("template-exists", f"There is already {language} content for this template.")
        raise RelayedMetaError(mistake, EXISTS, "Content in this language already exists")
    now = desk.now()
    template = Template(
        id=desk.book.mint("template", name, language, len(desk.book.templates)),
        name=name,
        language=language,
        category=attributes.category,
        components=list(attributes.components),
        preview=attributes.preview,
        status="PENDING",
        created_at=now,
        updated_at=now,
    )
    desk.book.templates[template.id] = template
    then = [Consequence(0, lambda: desk.hooks.template(template, "create"), template.id)]
    if desk.account.review_delay is not None:
        then.append(Consequence(desk.account.review_delay, lambda: _reviewed(desk, template), template.id))
    return Taken(template.resource().answer(desk.account.success_status), then)


def find(desk: Desk, asked: Asked) -> Taken:
    """GET /message-templates."""
    page = asked_page(asked.request.query_params, _FILTERS, desk.account.page_size)
    return Taken(listing([t.resource() for t in desk.book.templates.values()], page, asked.request.url))


def show(desk: Desk, asked: Asked) -> Taken:
    """GET /message-templates/{id}."""
    return Taken(_template(desk, asked.id).resource().answer())


def delete(desk: Desk, asked: Asked) -> Taken:
    """DELETE /message-templates/{id}."""
    template = _template(desk, asked.id)
    del desk.book.templates[template.id]
    told = Consequence(0, lambda: desk.hooks.template(template, "delete"), template.id)
    return Taken(Response(status_code=204), (told,))


def judge(desk: Desk, template: Template, status: str, reason: str | None) -> list[Event]:
    """Give a template another status, as Meta's review, its quality check or a person does."""
    template.status, template.reason, template.updated_at = status, reason, desk.now()
    return desk.hooks.template(template, "update", "status")


def _reviewed(desk: Desk, template: Template) -> list[Event]:
    if template.status != "PENDING" or template.id not in desk.book.templates:
        return []
    return judge(desk, template, desk.account.review_status, None)


def _template(desk: Desk, template_id: str) -> Template:
    if template_id not in desk.book.templates:
        raise not_found("template")
    return desk.book.templates[template_id]


def _wrong_components(components: tuple[JsonObject, ...], *, strict: bool) -> list[Mistake]:
    mistakes: list[Mistake] = []
    seen: list[JsonValue] = []
    for place, component in enumerate(components):
        at, kind = f"/data/attributes/components/{place}", component.get("type")
        if not isinstance(kind, str) or kind not in _COMPONENTS:
            mistakes.append(Mistake("component-type", "HEADER, BODY or FOOTER", f"{at}/type"))
            continue
        if kind in seen:
            mistakes.append(Mistake("component-twice", f"{kind} is there twice", at))
        seen.append(kind)
        try:
            shape = read(_COMPONENTS[kind], component, strict=strict, at=at)
        except Refused as refused:
            mistakes += refused.mistakes
        else:
            mistakes += _wrong_variables(shape, at)
    if "BODY" not in seen:
        mistakes.append(Mistake("body-missing", "a template has a BODY", "/data/attributes/components"))
    return mistakes


def _wrong_variables(component: Shape, at: str) -> list[Mistake]:
    if isinstance(component, FooterComponent):
        found = variables(component.text)
        return [Mistake("footer-variable", "a footer has no variables", f"{at}/text")] if found else []
    if not isinstance(component, HeaderComponent | BodyComponent):
        return []
    found = variables(component.text)
    if found != list(range(1, len(found) + 1)):
        return [Mistake("variable-numbers", "variables are numbered {{1}}, {{2}} … without a gap", f"{at}/text")]
    if isinstance(component, HeaderComponent) or not found:
        return []
    samples = component.example.body_text if component.example is not None else None
    if samples is None or any(len(row) != len(found) for row in samples) or not samples:
        detail = f"body_text needs rows of {len(found)} sample values"
        return [Mistake("example", detail, f"{at}/example/body_text")]
    return []
