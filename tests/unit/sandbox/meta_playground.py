"""A sandbox that plays Meta, a client that knows the rules, and a receiver that verifies every signature itself."""

import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx
from pydantic import JsonValue, SecretStr

from sandbox.clock import ClockMode
from sandbox.meta.settings import MetaAccount, MetaFlow, MetaLine, MetaTemplate
from sandbox.serve import running
from sandbox.settings import Accounts, SandboxSettings
from tests.unit.sandbox.playground import NOW, TRUST, Hook, JsonObject, Play, Receiver, at, receiving

TOKEN = "test-access-token"
APP_SECRET = "test-app-secret"
VERIFY_TOKEN = "test-verify-token"
WABA = "102290000000001"
LINE = "106540000000001"
LINE_NUMBER = "15550100000"
SECOND_LINE = "106540000000002"
FLOW = "900000000000001"
SCREEN = "WELCOME_SCREEN"
PLAIN = "1689550000000001"
GREETING = "1689550000000002"
CHOICE = "1689550000000003"
NUMBER = "15550100001"
REFERENCE = "att_01J9Z0000000000000000001"
FLOW_TOKEN = "ft_5f1d0c9a7b3e4d2f8a6b1c0d9e8f7a6b"
COLLECTED: JsonObject = {"city": "São Paulo", "file": "a/b", "rate": 100}

TEMPLATES = (
    MetaTemplate(id=PLAIN, name="intake_v1", body="Please fill in the intake form", flow_id=FLOW),
    MetaTemplate(id=GREETING, name="intake_v2", body="Hi {{1}}, please fill in the intake form", flow_id=FLOW),
    MetaTemplate(
        id=CHOICE, name="choice_v1", body="Do you want to go on?", flow_id=FLOW, quick_replies=("Not now", "Stop")
    ),
)


def account(**changes: object) -> MetaAccount:
    """The account of these tests, with what a test wants otherwise."""
    base = MetaAccount(
        token=SecretStr(TOKEN),
        app_secret=SecretStr(APP_SECRET),
        verify_token=SecretStr(VERIFY_TOKEN),
        waba_id=WABA,
        lines=(
            MetaLine(phone_number_id=LINE, display_number=LINE_NUMBER),
            MetaLine(phone_number_id=SECOND_LINE, display_number="15550100009"),
        ),
        flows=(MetaFlow(id=FLOW, name="intake_flow", screens=(SCREEN, "SECOND_SCREEN"), collects=COLLECTED),),
        templates=TEMPLATES,
    )
    return base.model_copy(update=changes)


def settings(*accounts: MetaAccount) -> SandboxSettings:
    """Settings of a sandbox whose clock stands at NOW."""
    return SandboxSettings(
        seed="tests",
        clock=ClockMode.MANUAL,
        now=NOW,
        accounts=Accounts(meta=accounts or (account(),)),
        webhook_timeout=5,
    )


@dataclass
class MetaHook(Hook):
    """One delivery, its signature verified over the bytes."""

    raw: bytes = b""

    @property
    def changes(self) -> list[tuple[str, JsonObject]]:
        """Field and value of every change of every entry."""
        return [(str(at(c)["field"]), at(c, "value")) for e in listed(self.body["entry"]) for c in listed(e["changes"])]

    @property
    def names(self) -> list[str]:
        """A short word for everything that was told: ``sent``, ``text STOP``, ``nfm_reply``, ``APPROVED``."""
        return [name for change_field, value in self.changes for name in _names(change_field, value)]

    @property
    def name(self) -> str:
        return " + ".join(self.names)


def listed(value: JsonValue) -> list[JsonObject]:
    """A list of objects; anything else there is an error of the test."""
    assert isinstance(value, list)
    return [at(item) for item in value]


def _names(change_field: str, value: JsonObject) -> Iterator[str]:
    for status in listed(value.get("statuses", [])):
        yield str(status["status"])
    for message in listed(value.get("messages", [])):
        kind = str(message["type"])
        match kind:
            case "text":
                yield f"text {at(message, 'text')['body']}"
            case "button":
                yield f"button {at(message, 'button')['payload']}"
            case "interactive":
                yield str(at(message, "interactive")["type"])
            case _:
                yield kind
    if change_field != "messages":
        yield f"{change_field} {value.get('event', '')}".strip()


def signed(body: bytes, secret: str = APP_SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class MetaReceiver(Receiver):
    """Verifies like a good customer: over the bytes, before parsing."""

    told: list[MetaHook] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """Every body that was signed rightly, also one that nobody can read."""

    def read(self, headers: dict[str, str], body: bytes) -> Hook:
        assert headers["x-hub-signature-256"] == signed(body)
        self.bodies.append(body)
        assert headers["content-type"] == "application/json"
        assert body.isascii()
        assert b"/" not in body.replace(b"\\/", b"")
        document: JsonValue = json.loads(body)
        hook = MetaHook(headers, at(document), body)
        assert hook.body["object"] == "whatsapp_business_account"
        self.told.append(hook)
        return hook

    @property
    def words(self) -> list[str]:
        """Everything that was told, in order."""
        return [name for hook in self.told for name in hook.names]

    def values(self, name: str) -> list[JsonObject]:
        """Each ``statuses[]`` or ``messages[]`` element, or other value, of this short name."""
        found = []
        for hook in self.told:
            for change_field, value in hook.changes:
                elements = [*listed(value.get("statuses", [])), *listed(value.get("messages", []))]
                for element, told in zip(elements or [value], _names(change_field, value), strict=True):
                    found += [element] if told.split(" ")[0] == name or told == name else []
        return found


@dataclass
class MetaPlay(Play):
    """A running sandbox with a Meta account."""

    meta: MetaReceiver = field(default_factory=MetaReceiver)

    async def send(self, document: JsonObject, line: str = LINE) -> httpx.Response:
        return await self.api.post(f"{line}/messages", content=json.dumps(document))

    async def create(self, document: JsonObject) -> httpx.Response:
        return await self.api.post(f"{WABA}/message_templates", content=json.dumps(document))

    async def write(self, number: str = NUMBER, text: str = "Hello") -> None:
        """Let the candidate write, which opens the window."""
        await self.tell("meta/inbound", number=number, text=text)

    async def status(self, template: str) -> str:
        return str((await self.api.get(template)).json()["status"])

    async def reasons(self) -> list[tuple[str, str]]:
        """Rule and code of every refusal."""
        refusals = listed((await self.ask("refusals"))["refusals"])
        return [(str(r["rule"]), str(r["detail"]).partition(":")[0]) for r in refusals]


def template_message(name: str = "intake_v1", *, to: str = NUMBER, **action: JsonValue) -> JsonObject:
    """A send of a template with a FLOW button."""
    button: JsonObject = {
        "type": "button",
        "sub_type": "flow",
        "index": "0",
        "parameters": [{"type": "action", "action": action or {"flow_token": FLOW_TOKEN}}],
    }
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
        "type": "template",
        "biz_opaque_callback_data": REFERENCE,
        "template": {"name": name, "language": {"code": "en_US"}, "components": [button]},
    }


def flow_message(*, to: str = NUMBER, **changes: JsonValue) -> JsonObject:
    """A send of an interactive flow message; ``changes`` are laid over its parameters, None takes one away."""
    parameters: JsonObject = {
        "flow_message_version": "3",
        "flow_token": FLOW_TOKEN,
        "flow_id": FLOW,
        "flow_cta": "Let us begin",
        "mode": "published",
        "flow_action": "navigate",
        "flow_action_payload": {"screen": SCREEN, "data": {"first_name": "Ada"}},
    }
    whole: JsonObject = {name: value for name, value in {**parameters, **changes}.items() if value is not None}
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
        "type": "interactive",
        "biz_opaque_callback_data": REFERENCE,
        "interactive": {
            "type": "flow",
            "body": {"text": "Two minutes"},
            "action": {"name": "flow", "parameters": whole},
        },
    }


def new_template(**button: JsonValue) -> JsonObject:
    """A creation by flow id; ``button`` is laid over the FLOW button, None takes a member away."""
    written: JsonObject = {
        "type": "FLOW",
        "text": "Open form",
        "flow_id": FLOW,
        "flow_action": "navigate",
        "navigate_screen": SCREEN,
    }
    whole: JsonObject = {name: value for name, value in {**written, **button}.items() if value is not None}
    return {
        "name": "intake_v3",
        "language": "en_US",
        "category": "MARKETING",
        "components": [
            {"type": "body", "text": "Please fill in the intake form"},
            {"type": "BUTTONS", "buttons": [whole]},
        ],
    }


def refused(answer: httpx.Response) -> tuple[int, int, int | None]:
    """HTTP status, code and subcode of a refusal in Graph's envelope."""
    error = answer.json()["error"]
    assert error["message"].startswith(f"(#{error['code']}) ")
    assert error["fbtrace_id"]
    assert error["type"] in ("OAuthException", "GraphMethodException")
    return answer.status_code, error["code"], error.get("error_subcode")


def message_id(answer: httpx.Response) -> str:
    """The id of a message that was taken."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["messages"][0]["id"])


@contextlib.asynccontextmanager
async def playing_meta(*accounts: MetaAccount, told: bool = True) -> AsyncIterator[MetaPlay]:
    """Run a sandbox with Meta accounts; ``told`` gives them a receiver."""
    chosen = accounts or (account(),)
    receiver = MetaReceiver()
    async with receiving(receiver):
        if told:
            chosen = tuple(one.model_copy(update={"webhook_url": receiver.url}) for one in chosen)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        async with (
            running(settings(*chosen)) as url,
            httpx.AsyncClient(base_url=f"{url}/meta/v23.0/", headers=headers, trust_env=False, verify=TRUST) as api,
            httpx.AsyncClient(base_url=f"{url}/control/", trust_env=False, verify=TRUST) as control,
        ):
            yield MetaPlay(url, api, control, receiver, receiver)
