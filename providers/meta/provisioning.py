"""What an operator sets up at Meta: templates with a button that opens a WhatsApp Flow.

Nothing here sends a message, so everything may be repeated. Subscriptions are made by hand in the app's dashboard.
"""

from domain.errors import ProviderRejected, Scope
from domain.model import JsonValue, Model
from domain.sends import TemplateReading
from providers.endings import Answer
from providers.http import JsonBody, ProviderHttp, Request
from providers.meta import mapping, rules
from providers.meta.errors import TEMPLATE_EXISTS
from providers.meta.schemas import Success
from providers.meta.settings import MetaSettings
from providers.meta.template_spec import TemplateSpec, attributes, components, mistakes_in
from providers.meta.templates import MetaTemplates, path_to, template_in
from providers.wire import as_object


class TemplateListing(Model):
    """A template as a list shows it."""

    name: str
    language: str
    reading: TemplateReading


class MetaProvisioning:
    """Set-up of one WhatsApp Business Account. Raises ``ProviderUnavailable`` and ``ProviderRejected``."""

    def __init__(self, account: str, http: ProviderHttp, settings: MetaSettings) -> None:
        self._account, self._http, self._settings = account, http, settings
        self._templates = MetaTemplates(http, settings)

    async def create_template(self, spec: TemplateSpec) -> TemplateReading:
        """Create a template, or take up the one that has this name in this language already.

        It is looked up first, because an earlier creation may have arrived although its answer was lost. Review begins
        at once; only APPROVED sends. At most 100 creations an hour.
        """
        rules.refuse_if(mistakes_in(spec, self._settings), self._account, "create a template")
        existing = await self._templates.named(spec.name, spec.language)
        if existing is not None:
            return mapping.template_reading(existing)
        body = JsonBody(attributes(spec))
        request = Request("create a template", "POST", self._templates.path, body=body, rejected_scope=Scope.TEMPLATE)
        try:
            answer = await self._http.call(request)
        except ProviderRejected as refused:
            return await self._existing(spec, refused)
        created = template_in(answer)
        if created is None:
            raise answer.unusable("without the template's id")
        return mapping.template_reading(created)

    async def edit_template(self, template_id: str, spec: TemplateSpec) -> None:
        """Give a template other texts and another button; its name and language stay. Review begins again."""
        rules.refuse_if(mistakes_in(spec, self._settings), self._account, "edit a template")
        body: dict[str, JsonValue] = {"category": spec.category.value, "components": components(spec)}
        request = Request(
            "edit a template", "POST", path_to(template_id), body=JsonBody(body), rejected_scope=Scope.TEMPLATE
        )
        _succeeded(await self._http.call(request))

    async def list_templates(self) -> list[TemplateListing]:
        """Every template of the account, in every language."""
        return [
            TemplateListing(name=t.name, language=t.language, reading=mapping.template_reading(t))
            for t in await self._templates.every("list templates")
        ]

    async def read_template(self, template_id: str) -> TemplateListing:
        """One template by its id. Raises ``ProviderRejected`` where it does not exist."""
        found = await self._templates.by_id(template_id)
        return TemplateListing(name=found.name, language=found.language, reading=mapping.template_reading(found))

    async def delete_template(self, name: str, template_id: str = "") -> None:
        """Delete a template: with its id in its language only, else in every language. What is gone is deleted."""
        only: tuple[tuple[str, str], ...] = (("hsm_id", template_id),) if template_id else ()
        request = Request("delete a template", "DELETE", self._templates.path, (("name", name), *only))
        try:
            answer = await self._http.call(request)
        except ProviderRejected:
            if await self._is_there(name, template_id):
                raise
            return
        _succeeded(answer)

    async def close(self) -> None:
        """Give back connections."""
        await self._http.close()

    async def _existing(self, spec: TemplateSpec, refused: ProviderRejected) -> TemplateReading:
        if refused.code != TEMPLATE_EXISTS:
            raise refused
        existing = await self._templates.named(spec.name, spec.language)
        if existing is None:
            raise refused
        return mapping.template_reading(existing)

    async def _is_there(self, name: str, template_id: str) -> bool:
        listed = await self._templates.every("find a template", (("name", name),))
        return any(t.name == name and template_id in ("", t.id) for t in listed)


def _succeeded(answer: Answer) -> None:
    if Success.model_validate(as_object(answer.json())).success is not True:
        raise answer.unusable("without success")
