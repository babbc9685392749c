"""Webhook set-up by the API: the organisation's receiver, and subscriptions."""

from pydantic import JsonValue

from sandbox.recrubo.desk import Asked, Desk, Taken
from sandbox.recrubo.envelope import Resource
from sandbox.recrubo.wire import ChangedOrganization, NewWebhook
from sandbox.settings import Subscription
from sandbox.values import JsonObject


def change_organization(desk: Desk, asked: Asked) -> Taken:
    """PATCH /organizations: URL and secret, both together. The secret is not shown again."""
    attributes = asked.read(ChangedOrganization, desk).data.attributes
    desk.book.webhook_url, desk.book.webhook_secret = attributes.webhookUrl, attributes.webhookSecret
    shown = Resource("organizations", desk.book.mint("organization"), {"webhookUrl": attributes.webhookUrl})
    return Taken(shown.answer())


def subscribe(desk: Desk, asked: Asked) -> Taken:
    """POST /webhooks (A-R8)."""
    wanted = asked.read(NewWebhook, desk).data.attributes
    webhook_id = desk.book.subscribe(
        Subscription(resource=wanted.resource, event=wanted.event, fields=wanted.fields, url=wanted.webhookUrl)
    )
    fields: list[JsonValue] = [*wanted.fields]
    attributes: JsonObject = {"resource": wanted.resource, "event": wanted.event, "fields": fields}
    if wanted.webhookUrl is not None:
        attributes["webhookUrl"] = wanted.webhookUrl
    return Taken(Resource("webhooks", webhook_id, attributes).answer(desk.account.success_status))
