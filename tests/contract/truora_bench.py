"""The real Truora client over a transport that records what is asked and answers what a test wants."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import httpx
import jwt
from pydantic import SecretStr

from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import Send, SendNames
from providers.http import Limits
from providers.truora.client import Doors, TruoraClient, truora_http
from providers.truora.errors import refine_process
from providers.truora.outbounds import TruoraOutbounds
from providers.truora.settings import TruoraSettings

ACCOUNT = "acme-truora"
BASE_URL = "https://api.connect.truora.com/v1/whatsapp"
PROCESS_URL = "https://api.identity.truora.com/v1"
API_KEY = "test-truora-api-key"
SIGNING_KEY = "test-truora-signing-key-0123456789"
PHONE = "+573140000001"
LINE_DIGITS = "15550100000"
SENDERS = {"main": LINE_DIGITS}
OUTBOUND = "OTB00000000000000000000000000000001"
NOTIFICATION = "OTB00000000000000000000000000000002"
FLOW = "IPF00000000000000000000000000000001"
OTHER_FLOW = "IPF00000000000000000000000000000009"
SESSION = "WDIS00000000000000000000000000000001"
PROCESS = "IDP00000000000000000000000000000001"
REFERENCE = "att_01J9Z0000000000000000001"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

NAMES = SendNames(reference=REFERENCE, flow_token="ft_01J9Z0000000000000000001")

INTAKE = TemplateRef(name="intake", language="en", id=OUTBOUND, variables=("name", "lastname"))
REMINDER = TemplateRef(name="reminder", language="en", id=NOTIFICATION)

SEND = Send(
    key="engagement:acme:app-1/opening/1",
    workflow_id="engagement:acme:app-1",
    tenant="acme",
    account=ACCOUNT,
    line="main",
    step="opening",
    n=1,
    contact_id="contact-1",
    address=PHONE,
    template=INTAKE,
    parameters=(("name", "Ana & José"), ("lastname", "Pérez")),
    flow=FlowRef(id=FLOW),
    at=AT,
)

NOTICE = SEND.model_copy(update={"template": REMINDER, "parameters": (), "flow": None, "step": "reminder"})

Answering = Callable[[httpx.Request], httpx.Response]


def answer(status: int, body: JsonValue = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """A JSON answer; without a body, an empty one."""
    content = b"" if body is None else json.dumps(body).encode()
    return httpx.Response(status, headers={"content-type": "application/json", **(headers or {})}, content=content)


def outbound(outbound_id: str = OUTBOUND, **members: JsonValue) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "client_id": "TCI00000000000000000000000000000001",
        "outbound_id": outbound_id,
        "outbound_name": "Intake EN",
        "outbound_status": "APPROVED",
        "failure_reason": "",
        "is_notification": False,
        "outbound_message": "Hi {{.name}} {{.lastname}}! Select “Continue” to start. | [Continue] | [Cancel]",
        "outbound_answers": [
            {"message": "Continue", "action": "continue_process"},
            {"message": "Cancel", "action": "cancel_process"},
        ],
        "waba_phone_number": f"+{LINE_DIGITS}",
        "outbound_type": "text",
        "media_id": "",
    }
    return told | members


def started(**members: JsonValue) -> httpx.Response:
    return answer(200, {"session_id": SESSION, "user_phone_number": PHONE, **members})


def plausible(request: httpx.Request) -> httpx.Response:
    """What a friendly Truora answers."""
    if request.method == "POST":
        return started()
    asked = request.url.path.rsplit("/", maxsplit=1)[-1]
    if asked == "outbounds":
        return answer(200, [outbound()])
    if asked == "result":
        return answer(200, {"process_id": PROCESS, "status": "pending"})
    return answer(200, outbound(asked))


def in_turn(*answers: httpx.Response | Exception) -> Answering:
    """Answers one request after the other; a request too many fails the test."""
    left = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        assert left, f"one request too many: {request.method} {request.url.path}"
        following = left.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    return handle


class Bench:
    """One account: its client, its reading of outbounds, and every request that they made."""

    def __init__(
        self,
        answering: Answering = plausible,
        settings: TruoraSettings | None = None,
        senders: Mapping[str, str] = SENDERS,
    ) -> None:
        self.requests: list[httpx.Request] = []
        self._answering = answering
        chosen = settings or TruoraSettings()
        transport = httpx.MockTransport(self._handle)
        key = SecretStr(API_KEY)
        http = truora_http(ACCOUNT, BASE_URL, key, limits=Limits(), transport=transport)
        reads = chosen.process_url
        processes = truora_http(ACCOUNT, reads, key, refined_by=refine_process, transport=transport) if reads else None
        self.client = TruoraClient(ACCOUNT, Doors(http, processes), chosen, senders)
        self.outbounds = TruoraOutbounds(ACCOUNT, http)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answering(request)

    def asked(self) -> list[str]:
        """The requests as ``METHOD /path``, below the base path."""
        return [f"{r.method} {r.url.path.removeprefix('/v1/whatsapp')}" for r in self.requests]


def event(event_type: str, action: str, event_id: str = "HKE1", /, **members: JsonValue) -> dict[str, JsonValue]:
    """One event of a delivery about the session of ``SEND``; ``None`` leaves a member out."""
    told: dict[str, JsonValue] = {
        "session_id": SESSION,
        "process_id": PROCESS,
        "flow_id": FLOW,
        "outbound_id": OUTBOUND,
        "phone_number": PHONE,
    }
    chosen: dict[str, JsonValue] = {name: value for name, value in (told | members).items() if value is not None}
    return {
        "id": event_id,
        "event_type": event_type,
        "event_action": action,
        "object": chosen,
        "timestamp": "2026-03-02T09:10:00Z",
        "version": "1.0",
    }


def signed(payload: JsonValue, key: str = SIGNING_KEY) -> bytes:
    """A token over ``payload`` as JSON."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), key).encode()


def handmade(header: dict[str, JsonValue], payload: bytes, *, stripped: bool = False) -> bytes:
    """A token with any header, signed with HMAC-SHA256 and the right key whatever the header says."""
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), payload)]
    signature = hmac.new(SIGNING_KEY.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, b"" if stripped else base64.urlsafe_b64encode(signature).rstrip(b"=")])


def delivery(events: Iterable[JsonValue], key: str = SIGNING_KEY, /, **members: JsonValue) -> bytes:
    """A delivery of Truora's."""
    return signed({"iss": "Truora", "iat": 1772442601, "events": list(events), **members}, key)
