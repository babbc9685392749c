"""What the three providers put on the wire for a fact, signed as they sign it."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from domain.model import JsonValue
from domain.ports import WebhookReader
from domain.sends import SendNames
from gateway.reading import Receiving
from providers.meta.settings import MetaSettings
from providers.meta.webhook import MetaWebhookReader
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import RecruboWebhookReader
from providers.truora.settings import TruoraSettings
from providers.truora.webhook import TruoraWebhookReader
from tests.permutations.scenes import STATUSES, Fact, Kind, Tie

SECRET = "test-webhook-secret-0123456789abcdef"
FORGED = "somebody-elses-secret-0123456789abcd"
FLOW, TEMPLATE = "flow-1", "tpl-1"

JsonObject = dict[str, JsonValue]


def receivers() -> dict[str, Receiving]:
    """An account with two lines per provider, named like it."""
    secrets = (SecretStr(SECRET),)
    readers: dict[str, WebhookReader] = {
        "meta": MetaWebhookReader("meta", secrets, MetaSettings(waba_id="102290000000001", verify_token="env:UNUSED")),
        "recrubo": RecruboWebhookReader("recrubo", secrets, RecruboSettings()),
        "truora": TruoraWebhookReader("truora", secrets, TruoraSettings()),
    }
    return {name: Receiving(name, name, (f"{name}-1", f"{name}-2"), reader) for name, reader in readers.items()}


@dataclass(frozen=True)
class Named:
    """What is known of one send by now: ours, and what the provider calls it."""

    prefix: str
    owner: int
    phone: str
    line: str
    thread: str
    names: SendNames
    sent_at: datetime

    @property
    def run_id(self) -> str:
        return f"run-{self.prefix}-{self.owner}"

    @property
    def message_id(self) -> str:
        return f"wamid.{self.prefix}-{self.owner}"

    @property
    def session_id(self) -> str:
        return f"WDIS{self.prefix}-{self.owner}"

    def ids(self, provider: str) -> dict[str, str]:
        """What the answer of the send tells."""
        match provider:
            case "meta":
                return {"message_id": self.message_id}
            case "recrubo":
                return {"run_id": self.run_id, "thread_id": self.thread}
        return {"session_id": self.session_id}


@dataclass(frozen=True)
class Told:
    """A fact with the send that it is about and the instant in which it happened."""

    fact: Fact
    send: Named
    at: datetime

    @property
    def name(self) -> str:
        return f"{self.send.prefix}-{self.fact.name}"

    @property
    def answer(self) -> JsonObject:
        return {"city": self.name}


def key_of(provider: str, told: Told) -> str:
    """The stable key of the event, as docs/providers tell it."""
    kind, send, foreign = told.fact.kind, told.send, told.fact.tie is Tie.FOREIGN
    match provider:
        case "meta" if kind in STATUSES:
            return f"status:{_foreign(told) if foreign else send.message_id}:{kind.value}"
        case "meta":
            return f"msg:wamid.in-{told.name}"
        case "recrubo" if kind in STATUSES:
            return f"messages:m-{send.prefix}-{send.owner}:deliveryStatus:{kind.value}"
        case "recrubo" if kind is Kind.TEXT:
            return f"messages:in-{told.name}:create"
        case "recrubo":
            return f"flowRuns:{_foreign(told) if foreign else send.run_id}:{_RUN_WORDS[kind]}"
    return f"event:HKE{told.name}"


def delivery_of(provider: str, told: tuple[Told, ...], secret: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one request."""
    match provider:
        case "meta":
            body = json.dumps({"object": "whatsapp_business_account", "entry": [_entry(one) for one in told]}).encode()
            signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            return body, {"x-hub-signature-256": f"sha256={signature}"}
        case "recrubo":
            (one,) = told
            return _notification(one), {"x-recrubo-webhook-secret": secret}
    return _token(told, secret), {"content-type": "application/jwt"}


def _foreign(told: Told) -> str:
    return f"foreign-{told.name}"


def _entry(told: Told) -> JsonObject:
    number = told.send.phone.removeprefix("+")
    value: JsonObject = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": f"id-of-{told.send.line}"},
    }
    if told.fact.kind in STATUSES:
        value["statuses"] = [_status(told, number)]
    else:
        value["contacts"] = [{"profile": {"name": "Ada"}, "wa_id": number}]
        value["messages"] = [_message(told, number)]
    return {"id": "102290000000001", "changes": [{"field": "messages", "value": value}]}


def _status(told: Told, number: str) -> JsonObject:
    fact, send = told.fact, told.send
    status: JsonObject = {
        "id": _foreign(told) if fact.tie is Tie.FOREIGN else send.message_id,
        "status": fact.kind.value,
        "timestamp": str(int(told.at.timestamp())),
        "recipient_id": number,
    }
    if fact.tie is Tie.NAME:
        status["biz_opaque_callback_data"] = send.names.reference
    if fact.tie is Tie.FOREIGN:
        status["biz_opaque_callback_data"] = f"att_{_foreign(told)}"
    if fact.kind is Kind.FAILED:
        status["errors"] = [{"code": 131026, "title": "Message undeliverable"}]
    return status


def _message(told: Told, number: str) -> JsonObject:
    fact, send = told.fact, told.send
    message: JsonObject = {
        "from": number,
        "id": f"wamid.in-{told.name}",
        "timestamp": str(int(told.at.timestamp())),
    }
    if fact.tie is Tie.ID or (fact.tie is Tie.NAME and fact.kind is Kind.ANSWER):
        message["context"] = {"from": "15550100000", "id": send.message_id}
    if fact.kind is Kind.TEXT:
        if fact.tie is Tie.FOREIGN:
            message["context"] = {"from": "15550100000", "id": _foreign(told)}
        return message | {"type": "text", "text": {"body": told.name}}
    answers = dict(told.answer)
    if fact.tie is Tie.NAME:
        answers["flow_token"] = send.names.flow_token
    if fact.tie is Tie.FOREIGN:
        answers["flow_token"] = f"ft_{_foreign(told)}"
    reply: JsonObject = {"name": "flow", "body": "Sent", "response_json": json.dumps(answers)}
    return message | {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": reply}}


_RUN_WORDS = {Kind.STARTED: "running", Kind.ANSWER: "finished", Kind.EXPIRED: "timeout"}


def _notification(told: Told) -> bytes:
    fact, send = told.fact, told.send
    if fact.kind in STATUSES or fact.kind is Kind.TEXT:
        return _recrubo("messages", *_recrubo_message(told))
    state: JsonObject = dict(told.answer) if fact.kind is Kind.ANSWER else {}
    if fact.tie is Tie.NAME:
        state["clientReference"] = send.names.reference
    foreign = fact.tie is Tie.FOREIGN
    attributes: JsonObject = {
        "createdAt": send.sent_at.isoformat(),
        "updatedAt": told.at.isoformat(),
        "flowId": "flow-of-somebody-else" if foreign else FLOW,
        "messageThreadId": send.thread,
        "state": state,
        "status": _RUN_WORDS[fact.kind],
        "cost": 1,
    }
    return _recrubo("flowRuns", _foreign(told) if foreign else send.run_id, "update", attributes)


def _recrubo_message(told: Told) -> tuple[str, str, JsonObject]:
    send = told.send
    common: JsonObject = {"updatedAt": told.at.isoformat(), "messageThreadId": send.thread}
    if told.fact.kind is Kind.TEXT:
        payload: JsonObject = {"type": "text", "text": {"value": told.name}}
        return (
            f"in-{told.name}",
            "create",
            {**common, "createdAt": told.at.isoformat(), "origin": "inbound", "payload": payload},
        )
    failed = ["(#131026) Message undeliverable"] if told.fact.kind is Kind.FAILED else []
    outbound: JsonObject = {
        "createdAt": send.sent_at.isoformat(),
        "origin": "outbound",
        "payload": {"type": "template", "template": {"id": TEMPLATE, "components": []}},
        "deliveryStatus": told.fact.kind.value,
        "errorMessages": list(failed),
    }
    return f"m-{send.prefix}-{send.owner}", "update", {**common, **outbound}


def _recrubo(resource_type: str, resource_id: str, event: str, attributes: JsonObject) -> bytes:
    resource: JsonObject = {"id": resource_id, "type": resource_type, "attributes": attributes, "relationships": {}}
    payload: JsonObject = {"webhookId": "5e5e5e5e", "event": event, "fields": [], "resource": resource}
    return json.dumps({"data": {"type": "webhookPayload", "id": "b6445194", "attributes": payload}}).encode()


_HOOKS = {
    Kind.SENT: ("whatsapp_outbound", "started"),
    Kind.STARTED: ("whatsapp_process", "started"),
    Kind.ANSWER: ("whatsapp_process", "succeeded"),
    Kind.CANCEL: ("whatsapp_outbound", "canceled"),
    Kind.EXPIRED: ("whatsapp_session", "expired"),
}


def _hook(told: Told) -> JsonObject:
    fact, send = told.fact, told.send
    kind, action = _HOOKS[fact.kind]
    foreign = fact.tie is Tie.FOREIGN
    about: JsonObject = {
        "session_id": f"WDIS{_foreign(told)}" if foreign else send.session_id,
        "process_id": f"IDP{_foreign(told)}" if foreign else f"IDP{send.prefix}-{send.owner}",
        "flow_id": "flow-of-somebody-else" if foreign else FLOW,
        "outbound_id": TEMPLATE,
        "phone_number": send.phone,
        "creation_date": send.sent_at.isoformat(),
        "update_date": told.at.isoformat(),
    }
    if fact.tie is Tie.NAME:
        about["account_id"] = send.names.reference
    if fact.kind is Kind.ANSWER:
        about["variables"] = told.answer
    return {
        "id": f"HKE{told.name}",
        "event_type": kind,
        "event_action": action,
        "object": about,
        "timestamp": told.at.isoformat(),
        "version": "1.0",
    }


def _token(told: tuple[Told, ...], secret: str) -> bytes:
    iat = int(max(one.at for one in told).timestamp())
    payload = {"iss": "Truora", "iat": iat, "events": [_hook(one) for one in told]}
    signed = b".".join(_segment(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, payload))
    return signed + b"." + _segment(hmac.new(secret.encode(), signed, hashlib.sha256).digest())


def _segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
