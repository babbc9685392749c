"""Truora's webhook deliveries: verify the token that the body is, then read every event of it.

Which words mean what is assumed and stands in one table (A-T2, A-T3). Truora: Webhooks/Automations; hook description.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pydantic import SecretStr, ValidationError

from domain.errors import WebhookRefused
from domain.events import (
    EventBody,
    FlowRunChanged,
    FlowRunStatus,
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
from providers.truora import mapping
from providers.truora.schemas import Envelope, HookEvent
from providers.truora.settings import Happening, TruoraSettings
from providers.truora.tokens import is_signed, payload_of
from providers.webhooks import usable_secrets
from providers.wire import Read, Unreadable, as_instant, digest, plain_word, read_json, stable_key

_RUN_STATUS = {
    Happening.ACCEPTED: FlowRunStatus.RUNNING,  # the flow begins with the tap
    Happening.STARTED: FlowRunStatus.RUNNING,
    Happening.SUCCEEDED: FlowRunStatus.FINISHED,
    Happening.FAILED: FlowRunStatus.FAILED,
    Happening.EXPIRED: FlowRunStatus.TIMED_OUT,
    Happening.DECLINED: FlowRunStatus.CANCELLED,
}


def _now() -> datetime:
    return datetime.now(UTC)


class TruoraWebhookReader:
    """Reads the deliveries of one account. ``clock`` dates what carries no instant of its own.

    ``secrets`` are signing keys as text, all valid at once. Raises ``SetupError`` when there is no usable one.
    """

    def __init__(
        self,
        account: str,
        secrets: tuple[SecretStr, ...],
        settings: TruoraSettings,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._account, self._settings, self._clock = account, settings, clock
        self._keys = usable_secrets(account, secrets)

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """None: Truora has no subscription handshake."""
        return None

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless the body is a token of Truora's that one of our keys signed.

        A signed payload that cannot be read names no issuer either; it is authentic by its signature and quarantined.
        """
        if not is_signed(body, self._keys):
            raise WebhookRefused(f"account {self._account}: a delivery that is no HS256 token signed with our key")
        read = read_json(payload_of(body) or b"")
        if isinstance(read, Read) and isinstance(read.value, dict) and read.value.get("iss") != self._settings.issuer:
            raise WebhookRefused(f"account {self._account}: a delivery whose issuer is not {self._settings.issuer}")

    def parse(self, body: bytes) -> ParsedDelivery:
        """Read a verified delivery. Never raises; one bad event never drops the others."""
        payload = payload_of(body)
        if payload is None:
            return ParsedDelivery(quarantine="not a token")
        read = read_json(payload)
        if isinstance(read, Unreadable):
            return ParsedDelivery(quarantine=read.why)
        if not isinstance(read.value, dict):
            return ParsedDelivery(quarantine="not an object")
        envelope = Envelope.model_validate(read.value)
        if not isinstance(envelope.events, list):
            return ParsedDelivery(quarantine="no events")
        return ParsedDelivery(events=tuple(self._guarded(element, envelope.iat) for element in envelope.events))

    def _guarded(self, element: JsonValue, iat: str) -> ProviderEvent:
        """One event; what breaks drops only itself, and leaves a trace."""
        try:
            if isinstance(element, dict):
                return self._event(element, iat)
        except (ValidationError, ValueError, OverflowError, RecursionError) as error:
            return self._unknown(element, iat, f"event of wrong shape {type(error).__name__}")
        return self._unknown(element, iat, "event of wrong shape")

    def _event(self, element: dict[str, JsonValue], iat: str) -> ProviderEvent:
        told, members = HookEvent.model_validate(element), self._settings.members
        actions = self._settings.event_words.get(told.event_type.strip().lower(), {})
        happening = actions.get(told.event_action.strip().lower())
        ties = mapping.ties_in(told.object, members)
        if happening is None:
            body: EventBody = NotUnderstood(what=f"{plain_word(told.event_type)}/{plain_word(told.event_action)}")
        else:
            body = self._body(happening, told, ties)
        if isinstance(body, OptOutReceived) and ties.session_id:
            # a process id that we never learned would keep the person's own address from tying the opt-out
            ties = ties.model_copy(update={"run_id": ""})
        return ProviderEvent(
            key=_key(told.id, element),
            occurred_at=self._instant_of(told, iat),
            ties=ties,
            sender=mapping.person(mapping.member(told.object, members.phone)),
            body=body,
        )

    def _body(self, happening: Happening, told: HookEvent, ties: Ties) -> EventBody:
        word, members = told.event_action[:60], self._settings.members
        match happening:
            case Happening.SENT:
                return MessageStatusChanged(message_status=MessageStatus.SENT, raw_status=word)
            case Happening.LEFT:
                return OptOutReceived(scope="engagement")
            case Happening.ACCEPTED if not (ties.reference or ties.run_id or ties.session_id):
                # without a tie to one send the word may as well be Meta's review: the outbound is read again
                outbound = mapping.member(told.object, members.outbound_id)
                if not outbound:
                    return NotUnderstood(what=f"{plain_word(told.event_type)}/{plain_word(word)} of nothing")
                return TemplateChanged(template_id=outbound, event=word)
            case _:
                return FlowRunChanged(
                    flow_run_status=_RUN_STATUS[happening],
                    raw_status=self._raw_status(happening, told),
                    answers=mapping.answers_in(told.object, members) if happening is Happening.SUCCEEDED else {},
                    cancelled_by_candidate=happening is Happening.DECLINED,
                )

    def _raw_status(self, happening: Happening, told: HookEvent) -> str:
        why = mapping.member(told.object, self._settings.members.failure) if happening is Happening.FAILED else ""
        return "/".join(part for part in (told.event_action[:60], plain_word(why)) if part)

    def _unknown(self, element: JsonValue, iat: str, what: str) -> ProviderEvent:
        at = self._instant_of(HookEvent(), iat)
        return ProviderEvent(key=_key("", element), occurred_at=at, body=NotUnderstood(what=what))

    def _instant_of(self, told: HookEvent, iat: str) -> datetime:
        texts = [told.timestamp, *(mapping.member(told.object, (name,)) for name in self._settings.members.changed_at)]
        known = next((instant for instant in map(as_instant, texts) if instant), None)
        return known or _unix(iat) or self._clock()


def _key(event_id: str, element: JsonValue) -> str:
    return stable_key("event", event_id) if event_id else stable_key("event", "sha256", digest(element))


def _unix(seconds: str) -> datetime | None:
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 12):
        return None
    return datetime.fromtimestamp(int(seconds), UTC)
