"""The real Meta client over a transport that records what is asked and answers what a test wants."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import Send, SendNames
from providers.http import Limits
from providers.meta.client import MetaClient, meta_http
from providers.meta.messages import InteractiveFlow
from providers.meta.provisioning import MetaProvisioning
from providers.meta.settings import MetaSettings
from providers.meta.template_spec import FlowButton, TemplateCategory, TemplateSpec

ACCOUNT = "acme-meta"
BASE_URL = "https://graph.facebook.com"
TOKEN = "test-access-token"
WABA = "102290000000001"
SENDER = "106540000000001"
PHONE = "+15550100001"
DIGITS = "15550100001"
FLOW = "900000000000001"
SCREEN = "WELCOME_SCREEN"
WAMID = "wamid.HBgLMTU1NTAxMDAwMDEVAgARGBIwMDAwMDAwMDAwMDAwMDAwMDEA"
TEMPLATE_ID = "1689550000000001"
REFERENCE = "att_01J9Z0000000000000000001"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

NAMES = SendNames(reference=REFERENCE, flow_token="ft_5f1d0c9a7b3e4d2f8a6b1c0d9e8f7a6b")

SETTINGS = MetaSettings(waba_id=WABA, verify_token="env:META_VERIFY_TOKEN")

INTAKE = TemplateRef(name="intake_v1", language="en_US")
GREETING = TemplateRef(name="intake_v2", language="en_US", variables=("first_name",))

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
    flow=FlowRef(id=FLOW, screen=SCREEN, data={"first_name": "Ada"}),
    at=AT,
)

GREETING_SEND = SEND.model_copy(
    update={"template": GREETING, "parameters": (("first_name", "Ada"),), "flow": FlowRef(id=FLOW)}
)

INTERACTIVE = InteractiveFlow(
    line="main",
    address=PHONE,
    header="Intake",
    body="Two minutes, promise",
    footer="Reply STOP to opt out",
    cta="Start",
    flow_id=FLOW,
    screen=SCREEN,
    data={"first_name": "Ada", "vacancy_rate": 100},
)

FLOW_JSON = (
    '{"version":"5.0","screens":[{"id":"WELCOME_SCREEN","layout":{"type":"SingleColumnLayout","children":'
    '[{"type":"TextHeading","text":"Hello World"},{"type":"Footer","label":"Complete","on-click-action":'
    '{"name":"complete","payload":{}}}]},"title":"Welcome","terminal":true,"success":true,"data":{}}]}'
)

BUTTON = FlowButton(text="Open form", flow_id=FLOW, navigate_screen=SCREEN)

SPEC = TemplateSpec(
    name="intake_v1",
    language="en_US",
    category=TemplateCategory.MARKETING,
    body="Please fill in the intake form",
    button=BUTTON,
)

Answering = Callable[[httpx.Request], httpx.Response]


def answer(status: int, body: JsonValue = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """A JSON answer; without a body, an empty one."""
    content = b"" if body is None else json.dumps(body).encode()
    return httpx.Response(status, headers={"content-type": "application/json", **(headers or {})}, content=content)


def refusal(status: int, code: int, subcode: int | None = None, **more: JsonValue) -> httpx.Response:
    error: dict[str, JsonValue] = {"message": f"(#{code}) for {DIGITS}", "type": "OAuthException", "code": code, **more}
    return answer(status, {"error": error | ({"error_subcode": subcode} if subcode else {})})


def taken(message_id: str = WAMID, wa_id: str = DIGITS, **contact: JsonValue) -> httpx.Response:
    contacts: list[JsonValue] = [{"input": DIGITS, "wa_id": wa_id, **contact}]
    return answer(200, {"messaging_product": "whatsapp", "contacts": contacts, "messages": [{"id": message_id}]})


def template(template_id: str = TEMPLATE_ID, **members: JsonValue) -> JsonValue:
    button: dict[str, JsonValue] = {"type": "FLOW", "flow_id": int(FLOW), "navigate_screen": SCREEN}
    told: dict[str, JsonValue] = {
        "id": template_id,
        "name": "intake_v1",
        "language": "en_US",
        "status": "APPROVED",
        "category": "MARKETING",
        "components": [
            {"type": "BODY", "text": "Please fill in the intake form"},
            {"type": "BUTTONS", "buttons": [button]},
        ],
    }
    return told | members


def listing(*items: JsonValue, after: str = "") -> httpx.Response:
    paging: dict[str, JsonValue] = {"cursors": {"before": "b", "after": after}}
    if after:
        paging["next"] = f"https://elsewhere.example/v1/x?access_token=leaked&after={after}"
    return answer(200, {"data": list(items), "paging": paging})


def plausible(request: httpx.Request) -> httpx.Response:
    """What a friendly Meta answers: no template exists, everything else is taken."""
    if request.method == "GET":
        return listing() if request.url.path.endswith("/message_templates") else answer(200, template())
    if request.url.path.endswith("/messages"):
        return taken()
    if request.url.path.endswith("/message_templates") and request.method == "POST":
        return answer(200, {"id": TEMPLATE_ID, "status": "PENDING", "category": "MARKETING"})
    return answer(200, {"success": True})


class Bench:
    """One account: its client, its set-up, and every request that they made."""

    def __init__(
        self,
        answering: Answering = plausible,
        settings: MetaSettings = SETTINGS,
        senders: Mapping[str, str] | None = None,
        base_url: str = BASE_URL,
    ) -> None:
        self.requests: list[httpx.Request] = []
        self._answering = answering
        http = meta_http(
            ACCOUNT,
            base_url,
            SecretStr(TOKEN),
            settings,
            limits=Limits(),
            transport=httpx.MockTransport(self._handle),
        )
        self.client = MetaClient(ACCOUNT, http, settings, senders or {"main": SENDER, "second": "106540000000002"})
        self.provisioning = MetaProvisioning(ACCOUNT, http, settings)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answering(request)

    def asked(self) -> list[str]:
        """The requests as ``METHOD /path``, below the version."""
        return [f"{r.method} {r.url.path.removeprefix('/v23.0')}" for r in self.requests]

    def bodies(self) -> list[JsonValue]:
        """The bodies of the writes."""
        return [json.loads(r.content) for r in self.requests if r.content]


def inside(value: JsonValue, *path: str | int) -> JsonValue:
    """What stands at ``path`` in a JSON value."""
    for step in path:
        match value, step:
            case list(), int():
                value = value[step]
            case dict(), str():
                value = value[step]
            case _:
                pytest.fail(f"nothing at {path}")
    return value


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
