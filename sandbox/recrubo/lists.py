"""Lists: filters, order and pages. What the pages do not show is refused, so that a client cannot rely on it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import JsonValue
from starlette.datastructures import URL, QueryParams

from sandbox.recrubo.envelope import JsonApiResponse, Mistake, Refused, Resource
from sandbox.values import JsonObject

_FILTER = re.compile(r"filter\[([A-Za-z]+)\]")
MAX_PAGE = 100


@dataclass(frozen=True)
class Page:
    """Which page is asked for, and the filters that all must fit."""

    filters: Mapping[str, str]
    number: int
    size: int
    newest_first: bool

    def takes(self, resource: Resource) -> bool:
        """Whether the resource fits every filter."""
        return all(_same(resource.attributes.get(name), value) for name, value in self.filters.items())


def asked_page(query: QueryParams, filterable: frozenset[str], default_size: int) -> Page:
    """Read the query of a list request.

    Raises:
        Refused: 400, every parameter that is not documented or has no sense.

    """
    mistakes: list[Mistake] = []
    filters: dict[str, str] = {}
    numbers = {"page[number]": 1, "page[size]": default_size}
    sort = "createdAt"
    for name, value in query.multi_items():
        found = _FILTER.fullmatch(name)
        if found and found.group(1) in filterable and found.group(1) not in filters:
            filters[found.group(1)] = value
        elif name in numbers and value.isascii() and value.isdigit() and 1 <= int(value) <= 10**6:
            numbers[name] = int(value)
        elif name == "sort" and value in ("createdAt", "-createdAt"):
            sort = value
        else:
            mistakes.append(Mistake("query-parameter", "not a documented parameter or value", parameter=name))
    if numbers["page[size]"] > MAX_PAGE:
        mistakes.append(Mistake("query-parameter", f"at most {MAX_PAGE}", parameter="page[size]"))
    if mistakes:
        raise Refused(400, mistakes)
    return Page(filters, numbers["page[number]"], numbers["page[size]"], newest_first=sort.startswith("-"))


def listing(resources: Sequence[Resource], page: Page, url: URL) -> JsonApiResponse:
    """The answer to a list request: one page, ``meta.total``, and ``links.next`` while there is more."""
    found = [resource for resource in resources if page.takes(resource)]
    if page.newest_first:
        found.reverse()
    start = (page.number - 1) * page.size
    shown: list[JsonValue] = [resource.object() for resource in found[start : start + page.size]]
    document: JsonObject = {"data": shown, "meta": {"total": len(found)}}
    if start + page.size < len(found):
        document["links"] = {"next": _link(url, page, page.number + 1)}
    return JsonApiResponse(document)


def _link(url: URL, page: Page, number: int) -> str:
    query = [(f"filter[{name}]", value) for name, value in page.filters.items()]
    query += [("sort", "-createdAt")] if page.newest_first else []
    query += [("page[number]", str(number)), ("page[size]", str(page.size))]
    return str(url.replace(query=urlencode(query)))


def _same(value: JsonValue, asked: str) -> bool:
    return asked == (str(value).lower() if isinstance(value, bool) else str(value))
