"""Meta's webhook deliveries: verify the signature of the raw bytes, then read every element of every array.

The wire JSON escapes what is not ASCII, so a body that was written again never verifies. Meta: Webhooks; A-C2.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from pydantic import SecretStr, ValidationError

from domain.contacts import Alias
from domain.errors import HandshakeRefused, WebhookRefused
from domain.events import (
    EventBody,
    FlowChanged,
    MessageStatus,
    MessageStatusChanged,
    NotUnderstood,
    OptOutReceived,
    ParsedDelivery,
    ProviderEvent,
    TemplateChanged,
    Ties,
)
from domain.model import JsonValue
from providers.meta import inbound, mapping
from providers.meta.errors import MARKETING_STOPPED, WINDOW_CLOSED, codes_of, is_recipient_fault
from providers.meta.schemas import (
    Change,
    Entry,
    FlowChange,
    Inbound,
    MessagesValue,
    Metadata,
    Person,
    Preference,
    PreferencesValue,
    Status,
    TemplateChange,
)
from providers.meta.settings import MetaSettings
from providers.webhooks import is_one_of, usable_secrets
from providers.wire import Unreadable, as_object, digest, plain_word, read_json, stable_key

SIGNATURE_HEADER = "x-hub-signature-256"
SCHEME = "sha256="
OBJECT = "whatsapp_business_account"


def _now() -> datetime:
    return datetime.now(UTC)


class MetaWebhookReader:
    """Reads the deliveries of one account. ``clock`` dates what carries no instant of its own.

    ``secrets`` are app secrets, all valid at once. Without a ``verify_token`` every handshake is refused. Raises
    ``SetupError`` when there is no usable secret, or the token is given and not usable.
    """

    def __init__(
        self,
        account: str,
        secrets: tuple[SecretStr, ...],
        settings: MetaSettings,
        clock: Callable[[], datetime] = _now,
        verify_token: SecretStr | None = None,
    ) -> None:
        self._account, self._settings, self._clock = account, settings, clock
        self._secrets = usable_secrets(account, secrets)
        self._tokens = usable_secrets(account, [verify_token]) if verify_token is not None else ()

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """The challenge, verbatim. Raises ``HandshakeRefused``: 403 for a wrong mode or token, 400 for no challenge."""
        if query.get("hub.mode") != "subscribe" or not is_one_of(self._tokens, query.get("hub.verify_token", "")):
            raise HandshakeRefused(f"account {self._account}: a handshake with a wrong mode or verify token", 403)
        challenge = query.get("hub.challenge", "")
        if not challenge:
            raise HandshakeRefused(f"account {self._account}: a handshake without a challenge", 400)
        return challenge

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless one of our secrets signed these very bytes."""
        shown = headers.get(SIGNATURE_HEADER, "").encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(_signature(secret, body), shown) for secret in self._secrets]
        if not any(matches):
            raise WebhookRefused(f"account {self._account}: a delivery without the right {SIGNATURE_HEADER}")

    def parse(self, body: bytes) -> ParsedDelivery:
        """Read a verified delivery. Never raises; one bad element never drops the others."""
        read = read_json(body)
        if isinstance(read, Unreadable):
            return ParsedDelivery(quarantine=read.why if body else "empty body")
        if not isinstance(read.value, dict):
            return ParsedDelivery(quarantine="not an object")
        about, entries = read.value.get("object"), read.value.get("entry")
        if isinstance(about, str) and about != OBJECT:
            return ParsedDelivery(events=(self._unknown(f"object {plain_word(about)}", read.value, ""),))
        if about != OBJECT or not isinstance(entries, list):
            return ParsedDelivery(quarantine="no object or no entries")
        return ParsedDelivery(events=tuple(event for entry in entries for event in self._entry(entry)))

    def _entry(self, entry: JsonValue) -> Iterator[ProviderEvent]:
        told = Entry.model_validate(as_object(entry))
        if not told.changes:
            yield self._unknown("entry without changes", entry, told.time)
        for change in told.changes:
            yield from self._change(change, told.time)

    def _change(self, change: JsonValue, time: str) -> Iterator[ProviderEvent]:
        told = Change.model_validate(as_object(change))
        value = as_object(told.value)
        match told.field:
            case "messages":
                messages = MessagesValue.model_validate(value)
                yield from _of_line(messages.metadata, self._messages(messages, change, time))
            case "user_preferences":
                preferences = PreferencesValue.model_validate(value)
                yield from _of_line(preferences.metadata, self._preferences(preferences, time))
            case "flows" | "message_template_status_update" | "message_template_quality_update":
                yield from self._guarded(self._published, change, time)
            case "template_category_update" | "message_template_components_update":
                yield from self._guarded(self._published, change, time)
            case _:
                yield self._unknown(f"field {plain_word(told.field)}", change, time)

    def _messages(self, value: MessagesValue, change: JsonValue, time: str) -> Iterator[ProviderEvent]:
        for message in value.messages:
            yield from self._guarded(lambda m, t: self._message(m, value.contacts, t), message, time)
        for status in value.statuses:
            yield from self._guarded(self._status, status, time)
        for error in value.errors:
            yield self._unknown("messages/errors", error, time)
        if not (value.messages or value.statuses or value.errors):
            yield self._unknown("messages without any", change, time)

    def _preferences(self, value: PreferencesValue, time: str) -> Iterator[ProviderEvent]:
        for preference in value.user_preferences:
            yield from self._guarded(lambda p, t: self._preference(p, value.contacts, t), preference, time)

    def _guarded(
        self, read: Callable[[JsonValue, str], Iterator[ProviderEvent]], element: JsonValue, time: str
    ) -> list[ProviderEvent]:
        """The events of one element; what breaks drops only this one, and leaves a trace."""
        if not isinstance(element, dict):
            return [self._unknown("element of wrong shape", element, time)]
        try:
            return list(read(element, time))
        except (ValidationError, ValueError, OverflowError, RecursionError) as error:
            return [self._unknown(f"element of wrong shape {type(error).__name__}", element, time)]

    def _message(self, element: JsonValue, contacts: tuple[Person, ...], time: str) -> Iterator[ProviderEvent]:
        message = Inbound.model_validate(element)
        body, token = inbound.body_of(message, self._settings.stop_words)
        who = inbound.writer_of(message, contacts)
        yield ProviderEvent(
            key=stable_key("msg", message.id or digest(element)),
            occurred_at=self._at(message.timestamp, time),
            ties=Ties(flow_token=token, replied_to=message.context.id),
            sender=self._person(who.wa_id, who.user_id, who.parent_user_id),
            body=body,
        )

    def _status(self, element: JsonValue, time: str) -> Iterator[ProviderEvent]:
        told = Status.model_validate(element)
        word = told.status.strip().lower()
        status, at = mapping.message_status(word), self._at(told.timestamp, time)
        key = ("status", told.id or digest(element), word)
        ties = Ties(reference=told.biz_opaque_callback_data, message_id=told.id)
        number = "" if told.recipient_type == "group" else told.recipient_id
        whom = self._person(number, told.user_id, told.parent_user_id)
        body: EventBody = NotUnderstood(what=f"status {plain_word(word)}")
        codes = codes_of(told.errors) if status is MessageStatus.FAILED else ()
        if status is not MessageStatus.UNKNOWN:
            body = MessageStatusChanged(
                message_status=status,
                raw_status=word[:60],
                codes=codes,
                recipient_fault=is_recipient_fault(told.errors),
                window_closed=WINDOW_CLOSED in codes,
            )
        yield ProviderEvent(key=stable_key(*key), occurred_at=at, ties=ties, sender=whom, body=body)
        if MARKETING_STOPPED in codes:
            stopped = OptOutReceived(scope="marketing")
            yield ProviderEvent(key=stable_key(*key, "opt-out"), occurred_at=at, ties=ties, sender=whom, body=stopped)

    def _preference(self, element: JsonValue, contacts: tuple[Person, ...], time: str) -> Iterator[ProviderEvent]:
        told = Preference.model_validate(element)
        body = inbound.preference_of(told)
        if body is None:
            yield self._unknown(f"user_preferences {plain_word(told.value)}", element, time)
            return
        who = inbound.chooser_of(told, contacts)
        name = who.wa_id or who.user_id or digest(element)
        yield ProviderEvent(
            key=stable_key("pref", name, told.value.strip().lower(), told.timestamp or digest(element)),
            occurred_at=self._at(told.timestamp, time),
            sender=self._person(who.wa_id, who.user_id, who.parent_user_id),
            body=body,
        )

    def _published(self, element: JsonValue, time: str) -> Iterator[ProviderEvent]:
        """Something happened to a template or a Flow. An event is not a status: the thing is read again."""
        change = Change.model_validate(element)
        value, when = as_object(change.value), time or digest(element)
        if change.field == "flows":
            flow = FlowChange.model_validate(value)
            if flow.event != "FLOW_STATUS_CHANGE" or not flow.flow_id or not flow.new_status:
                yield self._unknown(f"flows {plain_word(flow.event)}", element, time)
                return
            key = stable_key("flow", flow.flow_id, flow.new_status, when)
            body: EventBody = FlowChanged(flow_id=flow.flow_id, old=flow.old_status, new=flow.new_status)
        else:
            template = TemplateChange.model_validate(value)
            event = mapping.template_event(change.field, template)
            if not event or not (template.message_template_id or template.message_template_name):
                yield self._unknown(f"{plain_word(change.field)} without event", element, time)
                return
            template_id = template.message_template_id
            name = template_id or f"{template.message_template_name}/{template.message_template_language}"
            key = stable_key("template", name, event, when)
            body = TemplateChanged(
                template_id=template_id,
                name=template.message_template_name,
                language=template.message_template_language,
                event=event[:60],
                reason=mapping.template_reason(template),
                detail=mapping.template_detail(template),
            )
        yield ProviderEvent(key=key, occurred_at=self._at("", time), body=body)

    def _unknown(self, what: str, element: JsonValue, time: str) -> ProviderEvent:
        key = stable_key("meta", "sha256", digest(element))
        return ProviderEvent(key=key, occurred_at=self._at("", time), body=NotUnderstood(what=what[:100]))

    def _person(self, number: str, *user_ids: str) -> tuple[Alias, ...]:
        return mapping.person(self._account, [number], user_ids)

    def _at(self, timestamp: str, entry_time: str) -> datetime:
        return mapping.instant_of(timestamp) or mapping.instant_of(entry_time) or self._clock()


def _signature(secret: bytes, body: bytes) -> bytes:
    return (SCHEME + hmac.new(secret, body, hashlib.sha256).hexdigest()).encode()


def _of_line(metadata: Metadata, events: Iterable[ProviderEvent]) -> Iterator[ProviderEvent]:
    """The events with the number of ours that they are about."""
    for event in events:
        yield event.model_copy(update={"ties": event.ties.model_copy(update={"line_sender": metadata.phone_number_id})})
