"""What Truora tells its customer: events in a signed token that is the whole body."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from sandbox.clock import Clock
from sandbox.truora.book import Book, Outbound, Session, written
from sandbox.truora.settings import TruoraAccount
from sandbox.values import JsonObject
from sandbox.webhooks import Event, Parcel

OUTBOUND, PROCESS, SESSION, INBOUND = "whatsapp_outbound", "whatsapp_process", "whatsapp_session", "whatsapp_inbound"

_ALIASES = {
    (OUTBOUND, "approved"): "accepted",
    (OUTBOUND, "canceled"): "cancelled",
    (PROCESS, "succeeded"): "success",
    (PROCESS, "failed"): "failure",
    (SESSION, "canceled"): "cancelled",
}
_STATUSES = {
    (OUTBOUND, "started"): "sent",
    (PROCESS, "started"): "pending",
    (PROCESS, "succeeded"): "success",
    (PROCESS, "failed"): "failure",
}


@dataclass(frozen=True)
class Fact:
    """One event. Its content is fixed when it happens."""

    name: str
    """``whatsapp_process:succeeded`` and so on, whatever words the hook uses."""
    about: str
    lane: str
    event: JsonObject
    number: str | None = None
    session: str | None = None

    @property
    def id(self) -> str:
        """The id of the event, by which receivers tell repetitions."""
        return str(self.event["id"])


class Hooks:
    """Makes events, and deliveries of one or several."""

    def __init__(self, account: TruoraAccount, book: Book, clock: Clock) -> None:
        self._account = account
        self._book = book
        self._clock = clock
        self._without_session = 0

    def conversation(self, session: Session, kind: str, action: str) -> Fact:
        """Something happened in a conversation, which is shown as it is now."""
        session.told += 1
        session.updated_at = self._clock.now()
        about = session.process_id if kind == PROCESS and session.process_id is not None else session.id
        event_id = self._book.mint("HKE", "event", session.id, session.told)
        event = self._event(event_id, kind, action, self._object(session, kind, action), session.told)
        return Fact(f"{kind}:{action}", about, session.id, event, session.number, session.id)

    def review(self, outbound: Outbound) -> Fact:
        """Meta approved an outbound: the same words as for a candidate who accepts, but no conversation."""
        turn = self._next()
        shown: JsonObject = {
            "outbound_id": outbound.id,
            "client_id": self._book.client_id,
            "status": "approved",
            "update_date": written(self._clock.now(), turn),
        }
        event_id = self._book.mint("HKE", "review", outbound.id, turn)
        event = self._event(event_id, OUTBOUND, "approved", shown, turn)
        return Fact(f"{OUTBOUND}:approved", outbound.id, outbound.id, event)

    def scripted(self, kind: str, action: str, shown: JsonObject) -> Fact:
        """Any event, as a test wants it."""
        turn = self._next()
        event_id = self._book.mint("HKE", "scripted", turn)
        event = self._event(event_id, kind, action, shown, turn, exact=True)
        return Fact(f"{kind}:{action}", event_id, event_id, event)

    def delivery(self, facts: Sequence[Fact]) -> Event:
        """One delivery of these events, signed anew at every attempt."""
        first = facts[0]
        same = len({fact.session for fact in facts}) == 1
        return Event(
            provider="truora",
            account=self._account.name,
            name=first.name if len(facts) == 1 else "batch",
            about=first.about,
            lane=first.lane if same else self._account.name,
            url=self._account.webhook_url,
            pack=self._packing(facts),
            retry_delays=self._account.retry_delays,
            retries_keep_id=False,
            number=first.number if same else None,
            thread=first.session if same else None,
        )

    def _next(self) -> int:
        self._without_session += 1
        return self._without_session

    def _packing(self, facts: Sequence[Fact]) -> Callable[[int], Parcel]:
        events: list[JsonValue] = [fact.event for fact in facts]
        if self._account.strange_elements:
            events[1:1] = [self._foreign(facts[0]), "not an object"]

        def pack(copy: int) -> Parcel:
            # A second after, as in the samples; a later copy or attempt has a later iat and so other bytes.
            issued = int(self._clock.now().timestamp()) + 1 + copy
            key = self._account.signing_key
            token = signed({"iss": "Truora", "iat": issued, "events": events}, key.get_secret_value() if key else "")
            return Parcel(facts[0].id, token, {"Content-Type": self._account.webhook_content_type})

        return pack

    def _event(
        self, event_id: str, kind: str, action: str, shown: JsonObject, turn: int, *, exact: bool = False
    ) -> JsonObject:
        other = self._account.alias_names and not exact
        return {
            "id": event_id,
            "event_type": kind,
            "event_action": _ALIASES.get((kind, action), action) if other else action,
            "object": shown,
            "timestamp": written(self._clock.now(), turn),
            "version": "1.0",
        }

    def _foreign(self, beside: Fact) -> JsonObject:
        event_id = self._book.mint("HKE", "foreign", beside.id)
        return self._event(event_id, "check", "finished", {"check_id": self._book.mint("CHK", beside.id)}, 0)

    def _object(self, session: Session, kind: str, action: str) -> JsonObject:
        other = self._account.alias_names
        shown: JsonObject = {"session_id": session.id} if self._account.names_session else {}
        if session.process_id is not None and session.flow is not None:
            shown["identity_process_id" if other else "process_id"] = session.process_id
            shown["flow_id"] = session.flow.id
        shown["outbound_id"] = session.outbound.id
        if session.account_id is not None and self._account.send_account_id:
            shown["account_id"] = session.account_id
        shown |= {
            "client_id": self._book.client_id,
            "user_phone_number" if other else "phone_number": f"+{session.number}",
            "status": _STATUSES.get((kind, action), action),
            "creation_date": written(session.created_at),
            "update_date": written(session.updated_at, session.told),
        }
        if (kind, action) == (PROCESS, "succeeded") and self._account.tells_variables:
            shown["variables"] = dict(session.collected)
        if (kind, action) == (PROCESS, "failed"):
            shown |= {"failure_status": session.failure_status, "declined_reason": session.declined_reason}
        return shown


def signed(payload: JsonObject, key: str) -> bytes:
    """A compact HS256 token; the key is UTF-8 text even where it looks like hex."""
    parts = ({"alg": "HS256", "typ": "JWT"}, payload)
    content = b".".join(_base64url(json.dumps(p, ensure_ascii=False, separators=(",", ":")).encode()) for p in parts)
    return content + b"." + _base64url(hmac.digest(key.encode(), content, hashlib.sha256))


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
