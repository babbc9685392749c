"""Templates over the API: create, list, read, edit, delete."""

import base64
import binascii
from urllib.parse import urlencode

from pydantic import JsonValue
from starlette.datastructures import QueryParams

from sandbox.meta.book import Template
from sandbox.meta.components import Components, Judged
from sandbox.meta.desk import Asked, Consequence, Desk, Taken
from sandbox.meta.errors import (
    EXISTS,
    PARAMETER,
    GraphResponse,
    Mistake,
    Refused,
    refuse,
    refuse_all,
    unknown_object,
)
from sandbox.meta.hooks import Change
from sandbox.meta.limits import refuse_too_many_creations
from sandbox.meta.wire import OF_TEMPLATES, EditedTemplate, NewTemplate
from sandbox.values import JsonObject

_FIELDS = (
    "id",
    "name",
    "language",
    "status",
    "category",
    "components",
    "quality_score",
    "rejected_reason",
    "parameter_format",
)
_SHOWN_UNASKED = frozenset({"id", "name", "language", "status", "category", "components", "parameter_format"})
_LIST_PARAMETERS = frozenset({"name", "fields", "limit", "after"})


def create(desk: Desk, asked: Asked) -> Taken:
    """POST /{waba}/message_templates: PENDING until it is reviewed."""
    wanted = asked.read(NewTemplate, OF_TEMPLATES, desk)
    template_id = desk.book.template_id(wanted.name, wanted.language)
    named = wanted.parameter_format == "NAMED"
    judged = Components(desk.book, template_id, named=named, strict=desk.account.strict).judge(wanted.components)
    refuse_all(judged.mistakes)
    if desk.book.template_named(wanted.name, wanted.language) is not None:
        detail = f"There is already {wanted.language} content for this template. You can create a new one."
        title = "Content in this language already exists"
        raise Refused([Mistake(PARAMETER, "template-exists", detail, "/name", EXISTS, title)])
    refuse_too_many_creations(desk.account, desk.book, desk.now())
    desk.book.creations.append(desk.now())
    template = desk.book.add_template(
        Template(
            id=template_id,
            place=desk.book.next_place(),
            name=wanted.name,
            language=wanted.language,
            category=desk.account.category_becomes or wanted.category,
            parameter_format=wanted.parameter_format,
            components=judged.components,
            status="PENDING",
        )
    )
    _keep_new_flow(desk, judged)
    answer: JsonObject = {"id": template.id, "status": template.status, "category": template.category}
    return Taken(GraphResponse(answer), _review(desk, template))


def find(desk: Desk, asked: Asked) -> Taken:
    """GET /{waba}/message_templates: a page, with cursors, and ``next`` while there is more."""
    query = asked.request.query_params
    _judge_list_query(query)
    fields, after = _fields(query.get("fields")), _place_in(query.get("after"))
    size = min(_limit(query.get("limit"), desk.account.page_size), desk.account.most_per_page)
    found = sorted(desk.book.templates.values(), key=lambda template: template.place)
    name = query.get("name")
    if name is not None:
        exact = desk.account.name_filter == "exact"
        found = [t for t in found if (t.name == name if exact else name in t.name)]
    rest = [t for t in found if t.place > after]
    page = rest[:size]
    data: list[JsonValue] = [_shown(template, fields) for template in page]
    document: JsonObject = {"data": data}
    if page:
        cursor = _cursor(page[-1].place)
        paging: JsonObject = {"cursors": {"before": _cursor(page[0].place), "after": cursor}}
        if len(rest) > size:
            more = [(key, value) for key, value in query.multi_items() if key not in ("after", "limit")]
            more += [("limit", str(size)), ("after", cursor)]
            paging["next"] = str(asked.request.url.replace(query=urlencode(more)))
        document["paging"] = paging
    return Taken(GraphResponse(document))


def show(desk: Desk, asked: Asked) -> Taken:
    """GET /{template-id}."""
    query = asked.request.query_params
    _refuse_unknown(query, frozenset({"fields"}))
    return Taken(GraphResponse(_shown(_template(desk, asked.object_id), _fields(query.get("fields")))))


def edit(desk: Desk, asked: Asked) -> Taken:
    """POST /{template-id}: other components, or another category; name and language stay, review restarts."""
    template = _template(desk, asked.object_id)
    wanted = asked.read(EditedTemplate, OF_TEMPLATES, desk)
    if wanted.components is None and wanted.category is None:
        raise refuse(PARAMETER, "missing-member", "category or components is required", "body")
    if wanted.components is not None:
        named = template.parameter_format == "NAMED"
        judging = Components(desk.book, f"{template.id}:edited", named=named, strict=desk.account.strict)
        judged = judging.judge(wanted.components)
        refuse_all(judged.mistakes)
        template.components = judged.components
        _keep_new_flow(desk, judged)
    template.category = wanted.category or template.category
    told = desk.review.judge(template, "PENDING")
    return Taken(GraphResponse({"success": True}), [_tell(told, template), *_review(desk, template)])


def delete(desk: Desk, asked: Asked) -> Taken:
    """DELETE /{waba}/message_templates: by name in every language, with ``hsm_id`` that one only."""
    query = asked.request.query_params
    _refuse_unknown(query, frozenset({"name", "hsm_id"}))
    name, only = query.get("name"), query.get("hsm_id")
    if not name:
        raise refuse(PARAMETER, "missing-parameter", "name is required", "name")
    gone = [t for t in desk.book.templates.values() if t.name == name and only in (None, t.id)]
    if not gone:
        raise refuse(PARAMETER, "unknown-template", "no template of this name and id", "name")
    then = []
    for template in gone:
        del desk.book.templates[template.id]
        then.append(_tell(desk.review.judge(template, "DELETED"), template))
    return Taken(GraphResponse({"success": True}), then)


def _template(desk: Desk, template_id: str) -> Template:
    if template_id not in desk.book.templates:
        raise unknown_object()
    return desk.book.templates[template_id]


def _tell(changes: list[Change], template: Template) -> Consequence:
    return Consequence(0, lambda: changes, template.id)


def _review(desk: Desk, template: Template) -> list[Consequence]:
    delay = desk.account.review_delay
    return [] if delay is None else [Consequence(delay, lambda: desk.review.by_setting(template), template.id)]


def _keep_new_flow(desk: Desk, judged: Judged) -> None:
    if judged.new_flow is not None:
        desk.book.flows[judged.new_flow.of.id] = judged.new_flow


def _shown(template: Template, fields: frozenset[str]) -> JsonObject:
    return {name: value for name, value in template.document().items() if name in fields}


def _judge_list_query(query: QueryParams) -> None:
    _refuse_unknown(query, _LIST_PARAMETERS)
    if query.get("name") == "":
        raise refuse(PARAMETER, "query-parameter", "name is empty", "name")


def _refuse_unknown(query: QueryParams, known: frozenset[str]) -> None:
    names = [name for name, _ in query.multi_items()]
    wrong = [name for name in dict.fromkeys(names) if name not in known or names.count(name) > 1]
    refuse_all([Mistake(PARAMETER, "query-parameter", "not documented, or there twice", name) for name in wrong])


def _fields(asked: str | None) -> frozenset[str]:
    if asked is None:
        return _SHOWN_UNASKED
    names = asked.split(",")
    refuse_all(
        [
            Mistake(PARAMETER, "unknown-field", "Tried accessing nonexisting field", "fields")
            for name in names
            if name not in _FIELDS
        ]
    )
    return frozenset({*names, "id"})


def _limit(asked: str | None, usual: int) -> int:
    if asked is None:
        return usual
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= 10**6):
        raise refuse(PARAMETER, "query-parameter", "limit is a number above zero", "limit")
    return int(asked)


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"template:{place}".encode()).decode().rstrip("=")


def _place_in(cursor: str | None) -> int:
    """The place after which a page begins. Cursors are opaque: one that we did not give is refused."""
    if cursor is None:
        return 0
    try:
        kind, _, place = (
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode().partition(":")
        )
        if kind == "template":
            return int(place)
    except (binascii.Error, ValueError):
        pass
    raise refuse(PARAMETER, "cursor", "the cursor is not one of ours", "after")
