"""Recrubo's webhook deliveries: verify the raw bytes' sender, then read one resource per delivery.

The secret header signs nothing, so ends are confirmed by reading the run (``confirms_ends``). Recrubo: Webhooks.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pydantic import SecretStr, ValidationError

from domain.contacts import Alias
from domain.errors import WebhookRefused
from domain.events import (
    EventBody,
    FlowRunChanged,
    FlowRunStatus,
    MessageStatus,
    MessageStatusChanged,
    NotUnderstood,
    OptInReceived,
    OptOutReceived,
    ParsedDelivery,
    ProviderEvent,
    TemplateChanged,
    TextReceived,
    Ties,
)
from domain.model import JsonValue
from providers.recrubo import mapping
from providers.recrubo.errors import delivery_codes, is_recipient_fault, is_window_closed, stops_marketing
from providers.recrubo.schemas import MessageAttributes, Notification, Resource, RunAttributes, TemplateAttributes
from providers.recrubo.settings import RecruboSettings
from providers.webhooks import is_one_of, usable_secrets
from providers.wire import Unreadable, as_instant, as_object, digest, plain_word, read_json, stable_key

SECRET_HEADER = "x-recrubo-webhook-secret"  # noqa: S105 - the name of a header, not a secret

_CREATED, _UPDATED, _DELETED = "create", "update", "delete"


def _now() -> datetime:
    return datetime.now(UTC)


class RecruboWebhookReader:
    """Reads the deliveries of one account. ``clock`` dates what carries no instant of its own.

    Raises ``SetupError`` when there is no usable secret.
    """

    def __init__(
        self,
        account: str,
        secrets: tuple[SecretStr, ...],
        settings: RecruboSettings,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._account, self._settings, self._clock = account, settings, clock
        self._secrets = usable_secrets(account, secrets)

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """None: Recrubo has no subscription handshake."""
        return None

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless the header shows one of our secrets."""
        if not is_one_of(self._secrets, headers.get(SECRET_HEADER, "")):
            raise WebhookRefused(f"account {self._account}: a delivery without the right {SECRET_HEADER}")

    def parse(self, body: bytes) -> ParsedDelivery:
        """Read a verified delivery. Never raises."""
        read = read_json(body)
        if isinstance(read, Unreadable):
            return ParsedDelivery(quarantine=read.why)
        if not isinstance(read.value, dict):
            return ParsedDelivery(quarantine="not an object")
        payload = Resource.model_validate(as_object(read.value.get("data")))
        told = Notification.model_validate(payload.attributes)
        if not isinstance(told.resource, dict):
            return ParsedDelivery(quarantine="no resource")
        try:
            return ParsedDelivery(events=self._events(told.event, Resource.model_validate(told.resource)))
        except (ValidationError, ValueError, OverflowError) as error:
            return ParsedDelivery(quarantine=f"wrong shape ({type(error).__name__})")

    def _events(self, event: str, resource: Resource) -> tuple[ProviderEvent, ...]:
        if not resource.id:
            return (self._unknown(event, resource, "without id"),)
        match resource.type:
            case "flowRuns" if event in (_CREATED, _UPDATED):
                return (self._run(event, resource),)
            case "messages" if event == _CREATED:
                return (self._new_message(event, resource),)
            case "messages" if event == _UPDATED:
                return self._delivery(event, resource)
            case "messageTemplates" if event in (_CREATED, _UPDATED, _DELETED):
                return (self._template(event, resource),)
        return (self._unknown(event, resource),)

    def _run(self, event: str, resource: Resource) -> ProviderEvent:
        attributes = RunAttributes.model_validate(resource.attributes)
        status = mapping.run_status(attributes.status)
        if status is FlowRunStatus.UNKNOWN:
            return self._unknown(event, resource, f"status {plain_word(attributes.status)}")
        run = mapping.flow_run(resource.id, attributes, self._settings)
        ties = Ties(reference=run.reference, run_id=run.run_id, thread_id=run.thread_id, flow_id=run.flow_id)
        body = FlowRunChanged(flow_run_status=status, raw_status=run.raw_status, answers=run.answers, cost=run.cost)
        word = attributes.status.strip().lower()
        return self._event(("flowRuns", resource.id, word), resource, body, ties)

    def _new_message(self, event: str, resource: Resource) -> ProviderEvent:
        message = MessageAttributes.model_validate(resource.attributes)
        key = ("messages", resource.id, _CREATED)
        if message.origin.lower() != self._settings.inbound_origin:
            status = self._message_status(message)
            if message.origin.lower() != "outbound" or status is None:
                return self._unknown(event, resource, f"origin {plain_word(message.origin)}")
            ties = Ties(message_id=resource.id, thread_id=message.message_thread_id)
            return self._event(key, resource, self._status_body(message, status), ties)
        if message.payload.type != "text":
            return self._unknown(event, resource, f"payload {plain_word(message.payload.type)}")
        body = self._text_body(message.payload.text.value)
        return self._event(key, resource, body, Ties(thread_id=message.message_thread_id))

    def _text_body(self, text: str) -> EventBody:
        if self._settings.stop_words.is_stop(text):
            return OptOutReceived(scope="line", text=text)
        if self._settings.stop_words.is_start(text):
            return OptInReceived(scope="line", text=text)
        return TextReceived(text=text)

    def _delivery(self, event: str, resource: Resource) -> tuple[ProviderEvent, ...]:
        message = MessageAttributes.model_validate(resource.attributes)
        status = self._message_status(message)
        if status is None:
            return (self._unknown(event, resource, f"deliveryStatus {plain_word(message.delivery_status)}"),)
        key = ("messages", resource.id, "deliveryStatus", message.delivery_status.strip().lower())
        ties = Ties(message_id=resource.id, thread_id=message.message_thread_id)
        body = self._status_body(message, status)
        changed = self._event(key, resource, body, ties)
        if not stops_marketing(body):
            return (changed,)
        return (changed, self._event((*key, "optOut"), resource, OptOutReceived(scope="marketing"), ties))

    def _message_status(self, message: MessageAttributes) -> MessageStatus | None:
        return self._settings.delivery_words.get(message.delivery_status.strip().lower())

    @staticmethod
    def _status_body(message: MessageAttributes, status: MessageStatus) -> MessageStatusChanged:
        codes = delivery_codes(message.error_messages) if status is MessageStatus.FAILED else ()
        is_text = message.payload.type == "text"
        return MessageStatusChanged(
            message_status=status,
            raw_status=message.delivery_status[:60],
            codes=codes,
            recipient_fault=is_recipient_fault(codes),
            window_closed=status is MessageStatus.FAILED and is_text and is_window_closed(codes),
        )

    def _template(self, event: str, resource: Resource) -> ProviderEvent:
        template = TemplateAttributes.model_validate(resource.attributes)
        word = "DELETED" if event == _DELETED else template.status.strip()
        if not word:
            return self._unknown(event, resource, "without status")
        body = TemplateChanged(template_id=resource.id, name=template.name, language=template.language, event=word[:60])
        return self._event(("messageTemplates", resource.id, word, template.updated_at), resource, body, Ties())

    def _unknown(self, event: str, resource: Resource, why: str = "") -> ProviderEvent:
        what = " ".join(part for part in (f"{plain_word(resource.type)}/{plain_word(event)}", why) if part)
        known: JsonValue = {"event": event, "id": resource.id, "type": resource.type, "is": resource.attributes}
        return self._event(("recrubo", "sha256", digest(known)), resource, NotUnderstood(what=what), Ties())

    def _event(self, key: tuple[str, ...], resource: Resource, body: EventBody, ties: Ties) -> ProviderEvent:
        sender: tuple[Alias, ...] = mapping.thread_alias(self._account, ties.thread_id)
        made = resource.attributes.get("createdAt") if isinstance(body, MessageStatusChanged) else None
        return ProviderEvent(
            key=stable_key(*key),
            occurred_at=self._instant_of(resource),
            message_at=as_instant(made) if isinstance(made, str) else None,
            ties=ties,
            sender=sender,
            body=body,
        )

    def _instant_of(self, resource: Resource) -> datetime:
        told = (resource.attributes.get(name) for name in ("updatedAt", "createdAt"))
        return next((i for i in (as_instant(t) for t in told if isinstance(t, str)) if i), None) or self._clock()
