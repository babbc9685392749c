"""Templates over the Graph API: lists read to their end, one template by its id. What each means is told elsewhere."""

from urllib.parse import parse_qs, quote, urlsplit

from domain.errors import ProviderRejected, Scope
from providers.endings import Answer
from providers.http import ProviderHttp, Request
from providers.meta import mapping
from providers.meta.schemas import Paging, Template
from providers.meta.settings import MetaSettings
from providers.wire import as_object

Query = tuple[tuple[str, str], ...]


def path_to(object_id: str, edge: str = "") -> str:
    """The path of an object, or of one of its lists; ids are opaque, so whatever they hold is quoted."""
    return "/" + quote(object_id, safe="") + (f"/{edge}" if edge else "")


def template_in(answer: Answer) -> Template | None:
    """The template of an answer; None when it has none with an id."""
    found = Template.model_validate(as_object(answer.json()))
    return found if found.id else None


class MetaTemplates:
    """The templates of one WhatsApp Business Account."""

    def __init__(self, http: ProviderHttp, settings: MetaSettings) -> None:
        self._http, self._settings = http, settings

    @property
    def path(self) -> str:
        """The path of the account's list of templates."""
        return path_to(self._settings.waba_id, "message_templates")

    async def named(self, name: str, language: str) -> Template | None:
        """The template of exactly this name and language; None when there is none on any page."""
        return mapping.the_one(await self.every("find a template", (("name", name),)), name, language)

    async def by_id(self, template_id: str) -> Template:
        """One template by its id. Raises ``ProviderRejected`` where it does not exist."""
        query = (("fields", ",".join(self._settings.list_fields)),)
        answer = await self._http.call(Request("read a template", "GET", path_to(template_id), query))
        found = template_in(answer)
        if found is None:
            raise answer.unusable("without a template")
        return found

    async def every(self, what: str, filters: Query = ()) -> list[Template]:
        """Every page of the list.

        Raises ``ProviderRejected`` with code ``incomplete-list`` when it cannot be read to its end: a list that lacks
        something must not be taken for one that holds nothing. Of a link only the cursor is taken: links carry tokens.
        """
        size = ("limit", str(self._settings.page_size))
        asked: Query = (*filters, ("fields", ",".join(self._settings.list_fields)), size)
        found: list[Template] = []
        cursor, cursors = "", set[str]()
        for _ in range(self._settings.most_pages):
            query = (*asked, ("after", cursor)) if cursor else asked
            page, paging = await self._page(what, query)
            found += page
            if not paging.next:
                return found
            cursor = _cursor_in(paging)
            if not cursor or cursor in cursors:
                raise _incomplete(what, "its next page cannot be told from those before")
            cursors.add(cursor)
        raise _incomplete(what, f"longer than {self._settings.most_pages} pages")

    async def _page(self, what: str, query: Query) -> tuple[list[Template], Paging]:
        answer = await self._http.call(Request(what, "GET", self.path, query))
        body = answer.json()
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(data, list):
            raise answer.unusable("without a list")
        page = [Template.model_validate(item) for item in data if isinstance(item, dict)]
        return page, Paging.model_validate(as_object(body.get("paging")))


def _cursor_in(paging: Paging) -> str:
    try:
        told = parse_qs(urlsplit(paging.next).query).get("after", [])
    except ValueError:
        told = []
    return told[0] if told else paging.cursors.after


def _incomplete(what: str, why: str) -> ProviderRejected:
    text = f"{what}: the list cannot be read to its end, {why}; check most_pages of the account's options"
    return ProviderRejected(text, scope=Scope.MESSAGE, code="incomplete-list")
