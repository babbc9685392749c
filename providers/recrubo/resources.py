"""Recrubo's resources over JSON:API: one resource or a list, read and written; what each means is told elsewhere."""

from urllib.parse import parse_qsl, quote, urlsplit

from domain.errors import ProviderRejected, Scope
from domain.model import JsonValue
from providers.endings import Answer
from providers.http import JsonBody, ProviderHttp, Request
from providers.recrubo.schemas import Resource, TemplateAttributes
from providers.recrubo.settings import RecruboSettings
from providers.wire import as_object

MEDIA_TYPE = "application/vnd.api+json"

Query = tuple[tuple[str, str], ...]


def path_to(collection: str, resource_id: str) -> str:
    """The path of one resource; its id is opaque, so whatever it holds is quoted."""
    return f"/{collection}/{quote(resource_id, safe='')}"


def document(resource_type: str, attributes: dict[str, JsonValue], resource_id: str = "") -> JsonBody:
    """A JSON:API document that writes one resource."""
    identified: dict[str, JsonValue] = {"id": resource_id} if resource_id else {}
    data: dict[str, JsonValue] = {"type": resource_type, **identified, "attributes": attributes}
    return JsonBody({"data": data}, MEDIA_TYPE)


def resource_in(answer: Answer) -> Resource | None:
    """The resource of an answer; None when it has none with an id."""
    data = Resource.model_validate(as_object(_members(answer.json()).get("data")))
    return data if data.id else None


class RecruboResources:
    """The calls that the client and the operator's set-up share."""

    def __init__(self, http: ProviderHttp, settings: RecruboSettings) -> None:
        self.http, self._settings = http, settings

    async def read(self, what: str, path: str) -> Resource | None:
        """One resource; None when it does not exist."""
        answer = await self.http.call(Request(what, "GET", path), also=frozenset({404}))
        if answer.status == 404:
            return None
        resource = resource_in(answer)
        if resource is None:
            raise answer.unusable("without a resource")
        return resource

    async def every(self, what: str, path: str, filters: Query) -> list[Resource]:
        """Every page of a list.

        Raises ``ProviderRejected`` with code ``incomplete-list`` when it cannot be read to its end: a list that lacks
        something must not be taken for one that holds nothing.
        """
        found: dict[str, Resource] = {}
        query, seen = filters, 0
        for number in range(1, self._settings.most_pages + 1):
            page = await self._page(what, path, query)
            fresh = {item.id: item for item in page.items if item.id not in found}
            found.update(fresh)
            seen += page.length
            if page.is_last(seen, self._settings.full_page, brought_new=bool(fresh)):
                return list(found.values())
            if not fresh:
                raise _incomplete(what, "its next page brings nothing new")
            query = page.next_query or (*filters, ("page[number]", str(number + 1)), ("page[size]", str(page.length)))
        raise _incomplete(what, f"longer than {self._settings.most_pages} pages")

    async def template_named(self, name: str, language: str) -> Resource | None:
        """The template of this name and language; names are unique per language. Filtered here again (A-R4)."""
        filters = (("filter[name]", name), ("filter[language]", language))
        for found in await self.every("find a template", "/message-templates", filters):
            template = TemplateAttributes.model_validate(found.attributes)
            if (template.name, template.language) == (name, language):
                return found
        return None

    async def _page(self, what: str, path: str, query: Query) -> "_Page":
        answer = await self.http.call(Request(what, "GET", path, query))
        body = _members(answer.json())
        data = body.get("data")
        if not isinstance(data, list):
            raise answer.unusable("without a list")
        return _Page(body, data)


class _Page:
    """One page of a list and what it tells about others (A-R4). Of a link to the next one only the query is taken."""

    def __init__(self, body: dict[str, JsonValue], data: list[JsonValue]) -> None:
        self.length = len(data)
        self.items = [item for item in map(Resource.model_validate, map(as_object, data)) if item.id]
        links = _members(body.get("links"))
        link = links.get("next")
        href = link.get("href") if isinstance(link, dict) else link
        address = urlsplit(href).query if isinstance(href, str) else ""
        self.next_query: Query = tuple(parse_qsl(address, keep_blank_values=True))
        self._tells_last = "next" in links and not self.next_query
        total = _members(body.get("meta")).get("total")
        self._total = total if isinstance(total, int) and not isinstance(total, bool) else None

    def is_last(self, seen: int, full: int, *, brought_new: bool) -> bool:
        """Whether no page comes after this one, with ``seen`` elements read up to here."""
        if self.next_query:
            return False
        if self._total is not None:
            return seen >= self._total
        return self._tells_last or self.length < full or not brought_new


def _members(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _incomplete(what: str, why: str) -> ProviderRejected:
    text = f"{what}: the list cannot be read to its end, {why}; check paging of the account's options (A-R4)"
    return ProviderRejected(text, scope=Scope.MESSAGE, code="incomplete-list")
