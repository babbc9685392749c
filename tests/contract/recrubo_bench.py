"""The real Recrubo client over a transport that records what is asked and answers what a test wants."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr

from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import FlowRunSearch, Send, SendNames
from providers.http import Limits
from providers.recrubo.client import RecruboClient, recrubo_http
from providers.recrubo.provisioning import RecruboProvisioning, TemplateText
from providers.recrubo.settings import RecruboSettings

ACCOUNT = "acme-recrubo"
BASE_URL = "https://api.recrubo.com/public/v2"
TOKEN = "test-org-token"
PHONE = "+31600000001"
DIGITS = "31600000001"
THREAD = "7125853f-0000-4000-8000-000000000001"
FLOW = "eb3c92e9-0000-4000-8000-0000000000f1"
TEMPLATE = "7fqa9715-0000-4000-8000-0000000000a1"
RUN = "cbb3835f-0000-4000-8000-0000000000c1"
REFERENCE = "att_01J9Z0000000000000000001"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

NAMES = SendNames(reference=REFERENCE, flow_token="ft_01J9Z0000000000000000001")

INTAKE = TemplateRef(name="intake_invite", language="en", id=TEMPLATE, variables=("first_name",))

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
    thread_id=THREAD,
    template=INTAKE,
    parameters=(("first_name", "Ada"),),
    flow=FlowRef(id=FLOW),
    at=AT,
)

SEARCH = FlowRunSearch(thread_id=THREAD, reference=REFERENCE, flow_id=FLOW, template_id=TEMPLATE, not_before=AT)

INTAKE_TEXT = TemplateText(
    template=INTAKE,
    category="UTILITY",
    header="Your application",
    body="Hi {{1}}, reply to start your intake.",
    footer="Reply STOP to opt out",
    examples=("Ada",),
)

Answering = Callable[[httpx.Request], httpx.Response]


def answer(status: int, body: JsonValue = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """A JSON:API answer; without a body, an empty one."""
    content = b"" if body is None else json.dumps(body).encode()
    return httpx.Response(
        status, headers={"content-type": "application/vnd.api+json", **(headers or {})}, content=content
    )


def resource(resource_type: str, resource_id: str, **attributes: JsonValue) -> dict[str, JsonValue]:
    return {"id": resource_id, "type": resource_type, "attributes": attributes}


def listing(*items: JsonValue, **members: JsonValue) -> httpx.Response:
    return answer(200, {"data": list(items), **members})


def thread(thread_id: str = THREAD, identifier: str = DIGITS, **attributes: JsonValue) -> JsonValue:
    told: dict[str, JsonValue] = {"channel": "whatsapp", "identifier": identifier, "chatbotPaused": False}
    return resource("messageThreads", thread_id, **(told | attributes))


def run(run_id: str = RUN, **attributes: JsonValue) -> JsonValue:
    told: dict[str, JsonValue] = {
        "createdAt": "2026-03-02T09:00:01+00:00",
        "flowId": FLOW,
        "messageThreadId": THREAD,
        "state": {},
        "initialMessage": {"type": "template", "template": {"id": TEMPLATE}},
        "status": "running",
    }
    return resource("flowRuns", run_id, **(told | attributes))


def template(template_id: str = TEMPLATE, **attributes: JsonValue) -> JsonValue:
    told: dict[str, JsonValue] = {
        "name": "intake_invite",
        "language": "en",
        "category": "UTILITY",
        "status": "APPROVED",
        "components": [{"type": "BODY", "text": "Hi {{1}} and {{ 2 }}, {{1}} again"}],
    }
    return resource("messageTemplates", template_id, **(told | attributes))


def plausible(request: httpx.Request) -> httpx.Response:
    """What a friendly Recrubo answers: lists are empty, everything else is created or found."""
    last = request.url.path.rsplit("/", maxsplit=1)[-1]
    if request.method == "GET" and last in ("message-threads", "flow-runs", "message-templates"):
        return answer(200, {"data": [], "meta": {"total": 0}})
    if request.method == "DELETE":
        return answer(204)
    return answer(201 if request.method == "POST" else 200, {"data": resource("any", "id-1", status="created")})


class Bench:
    """One account: its client, its set-up, and every request that they made."""

    def __init__(
        self, answering: Answering = plausible, settings: RecruboSettings | None = None, base_url: str = BASE_URL
    ) -> None:
        self.requests: list[httpx.Request] = []
        self._answering = answering
        chosen = settings or RecruboSettings()
        http = recrubo_http(
            ACCOUNT, base_url, SecretStr(TOKEN), limits=Limits(), transport=httpx.MockTransport(self._handle)
        )
        self.client = RecruboClient(ACCOUNT, http, chosen)
        self.provisioning = RecruboProvisioning(ACCOUNT, http, chosen)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answering(request)

    def asked(self) -> list[str]:
        """The requests as ``METHOD /path``, below the base path."""
        return [f"{r.method} {r.url.path.removeprefix('/public/v2')}" for r in self.requests]


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
