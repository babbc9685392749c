"""What Recrubo tells its customer: one delivery per subscription that fits, in its webhook envelope."""

import json
from collections.abc import Callable

from pydantic import JsonValue

from sandbox.recrubo.book import Book, Run, Template, Thread, ThreadMessage
from sandbox.recrubo.envelope import MEDIA_TYPE, Resource
from sandbox.settings import RecruboAccount, Subscription
from sandbox.values import JsonObject
from sandbox.webhooks import Event, Parcel

SECRET_HEADER = "X-Recrubo-Webhook-Secret"  # noqa: S105 - a header's name, not a secret


class Hooks:
    """Turns what happened to a resource into deliveries. The resource is shown as it is after the event."""

    def __init__(self, account: RecruboAccount, book: Book) -> None:
        self._account = account
        self._book = book

    def run(self, run: Run, *fields: str) -> list[Event]:
        """A run was changed: ``flowRuns:running`` and so on, or ``flowRuns:state``; without fields it was created."""
        name = "create" if not fields else run.status if "status" in fields else "state"
        return self._events(run.resource(), "update" if fields else "create", fields, f"flowRuns:{name}", run.thread)

    def message(self, message: ThreadMessage, *fields: str) -> list[Event]:
        """A message: ``messages:create:inbound``, ``messages:deliveryStatus:failed`` and so on."""
        name = f"deliveryStatus:{message.delivery}" if fields else f"create:{message.origin}"
        event = "update" if fields else "create"
        return self._events(message.resource(), event, fields, f"messages:{name}", message.thread)

    def template(self, template: Template, event: str, *fields: str) -> list[Event]:
        """A template: ``messageTemplates:APPROVED`` and so on, ``messageTemplates:create``, ``…:delete``."""
        name = template.status if event == "update" else event
        return self._events(template.resource(), event, fields, f"messageTemplates:{name}", None)

    def thread(self, thread: Thread, *fields: str) -> list[Event]:
        """A thread was created or changed."""
        event = "update" if fields else "create"
        return self._events(thread.resource(), event, fields, f"messageThreads:{event}", thread)

    def _events(
        self, resource: Resource, event: str, fields: tuple[str, ...], name: str, thread: Thread | None
    ) -> list[Event]:
        return [
            Event(
                provider="recrubo",
                account=self._account.name,
                name=name,
                about=resource.id,
                lane=thread.id if thread is not None else resource.id,
                url=subscription.url or self._book.webhook_url,
                pack=self._packing(webhook_id, resource, event, fields, name),
                retry_delays=self._account.retry_delays,
                retries_keep_id=self._account.retries_keep_id,
                number=thread.identifier if thread is not None else None,
                thread=thread.id if thread is not None else None,
            )
            for webhook_id, subscription in self._book.subscriptions.items()
            if _wants(subscription, resource.type, event, fields)
        ]

    def _packing(
        self, webhook_id: str, resource: Resource, event: str, fields: tuple[str, ...], name: str
    ) -> Callable[[int], Parcel]:
        shown: JsonObject = {**resource.object(), "relationships": {}}

        def pack(copy: int) -> Parcel:
            parcel_id = self._book.mint("delivery", webhook_id, resource.id, name, copy)
            attributes: JsonObject = {"webhookId": webhook_id} if self._account.names_webhook else {}
            attributes["event"] = event
            if fields:
                named: list[JsonValue] = [*fields]
                attributes["fields"] = named
            attributes["resource"] = shown
            document = {"data": {"type": "webhookPayload", "id": parcel_id, "attributes": attributes}}
            body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
            headers = {"Content-Type": MEDIA_TYPE}
            if self._book.webhook_secret is not None:
                headers[SECRET_HEADER] = self._book.webhook_secret
            return Parcel(parcel_id, body, headers)

        return pack


def _wants(subscription: Subscription, resource: str, event: str, fields: tuple[str, ...]) -> bool:
    if (subscription.resource, subscription.event) != (resource, event):
        return False
    return event != "update" or not subscription.fields or bool(set(subscription.fields) & set(fields))
