"""What an operator sets up at Recrubo: templates, webhook subscriptions, and the erasure of what a run collected.

Nothing here sends a message, so everything may be repeated.
"""

from pydantic import Field, SecretStr

from domain.errors import ProviderRejected, Scope
from domain.model import JsonValue, Model, Written
from domain.plans import TemplateRef
from domain.sends import TemplateReading
from providers.http import JsonBody, ProviderHttp, Request
from providers.recrubo import mapping
from providers.recrubo.errors import TEMPLATE_EXISTS
from providers.recrubo.resources import MEDIA_TYPE, RecruboResources, document, path_to, resource_in
from providers.recrubo.schemas import Resource, TemplateAttributes
from providers.recrubo.settings import RecruboSettings


class TemplateText(Written):
    """A template to create: text only, no buttons. ``examples`` fill ``{{1}}``, ``{{2}}`` … for Meta's reviewers.

    Recrubo: Message templates.
    """

    template: TemplateRef
    category: str
    body: str = Field(min_length=1)
    header: str = ""
    footer: str = ""
    examples: tuple[str, ...] = ()
    preview: str = ""
    """Default: the body."""


class TemplateListing(Model):
    """A template as a list shows it."""

    name: str
    language: str
    reading: TemplateReading


class Subscription(Written):
    """What a webhook tells: a resource, an event (``create``, ``update``, ``delete``), and fields that narrow it."""

    resource: str
    event: str
    fields: tuple[str, ...] = ()


NEEDED_SUBSCRIPTIONS = (
    Subscription(resource="flowRuns", event="update", fields=("status",)),
    Subscription(resource="messages", event="create"),
    Subscription(resource="messages", event="update", fields=("deliveryStatus",)),
    Subscription(resource="messageTemplates", event="update", fields=("status",)),
)
"""Everything that the webhook reader understands and an engagement needs."""


class RecruboProvisioning:
    """Set-up of one Recrubo organisation. Raises ``ProviderUnavailable`` and ``ProviderRejected``."""

    def __init__(self, account: str, http: ProviderHttp, settings: RecruboSettings) -> None:
        self._account, self._http, self._settings = account, http, settings
        self._resources = RecruboResources(http, settings)

    async def create_template(self, text: TemplateText) -> TemplateReading:
        """Create a template, or take up the one that has this name in this language already (Meta 100/2388024)."""
        body = document("messageTemplates", template_attributes(text))
        request = Request("create a template", "POST", "/message-templates", body=body, rejected_scope=Scope.TEMPLATE)
        try:
            answer = await self._http.call(request)
        except ProviderRejected as refused:
            if refused.code != TEMPLATE_EXISTS:
                raise
            existing = await self._resources.template_named(text.template.name, text.template.language)
            if existing is None:
                raise
            return self._reading(existing)
        created = resource_in(answer)
        if created is None:
            raise answer.unusable("without the template's id")
        return self._reading(created)

    async def list_templates(self) -> list[TemplateListing]:
        """Every template of the organisation."""
        found = await self._resources.every("list templates", "/message-templates", ())
        return [self._listing(item) for item in found]

    async def delete_template(self, template_id: str) -> None:
        """Delete a template; one that does not exist is deleted already. There is no update: delete and create."""
        request = Request("delete a template", "DELETE", path_to("message-templates", template_id))
        await self._http.call(request, also=frozenset({404}))

    async def erase_state(self, run_id: str) -> None:
        """Empty what a run collected; refused by Recrubo while it is running. A run that is gone is erased."""
        body = document("flowRuns", {"state": {}}, run_id)
        request = Request("erase a flow run's state", "PATCH", path_to("flow-runs", run_id), body=body)
        await self._http.call(request, also=frozenset({404}))

    async def set_webhook(self, url: str, secret: SecretStr) -> None:
        """Tell Recrubo where to deliver and which secret to show; both go together. Recrubo: Webhooks."""
        attributes: dict[str, JsonValue] = {"webhookUrl": url, "webhookSecret": secret.get_secret_value()}
        body = document("organizations", attributes, self._settings.organization_id)
        await self._http.call(Request("set the webhook", "PATCH", "/organizations", body=body))

    async def subscribe(self, subscriptions: tuple[Subscription, ...] = NEEDED_SUBSCRIPTIONS) -> int:
        """Make one subscription after the other and give back how many; configured bodies take their place (A-R8).

        Subscribing twice doubles deliveries, which the inbox drops: harmless, but delete the older ones by hand.
        """
        bodies = self._settings.webhook_bodies or tuple(_subscription_body(each) for each in subscriptions)
        for body in bodies:
            request = Request("subscribe to a webhook", "POST", "/webhooks", body=JsonBody(body, MEDIA_TYPE))
            await self._http.call(request)
        return len(bodies)

    async def close(self) -> None:
        """Give back connections."""
        await self._http.close()

    def _reading(self, found: Resource) -> TemplateReading:
        attributes = TemplateAttributes.model_validate(found.attributes)
        return mapping.template_reading(found.id, attributes, self._settings)

    def _listing(self, found: Resource) -> TemplateListing:
        attributes = TemplateAttributes.model_validate(found.attributes)
        return TemplateListing(name=attributes.name, language=attributes.language, reading=self._reading(found))


def template_attributes(text: TemplateText) -> dict[str, JsonValue]:
    """A template as Recrubo wants it."""
    example: dict[str, JsonValue] = {"example": {"body_text": [list(text.examples)]}} if text.examples else {}
    header: list[JsonValue] = [{"type": "HEADER", "format": "Text", "text": text.header}] if text.header else []
    body: list[JsonValue] = [{"type": "BODY", "text": text.body, **example}]
    footer: list[JsonValue] = [{"type": "FOOTER", "text": text.footer}] if text.footer else []
    return {
        "name": text.template.name,
        "language": text.template.language,
        "category": text.category,
        "components": [*header, *body, *footer],
        "preview": text.preview or text.body,
    }


def _subscription_body(subscription: Subscription) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {"fields": list(subscription.fields)} if subscription.fields else {}
    attributes: dict[str, JsonValue] = {
        "resource": subscription.resource,
        "event": subscription.event,
        **fields,
    }
    return {"data": {"type": "webhooks", "attributes": attributes}}
