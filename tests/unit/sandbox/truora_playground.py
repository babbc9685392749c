"""A sandbox that plays Truora, a client that knows the rules, and a receiver that verifies every token with PyJWT."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import jwt
from pydantic import JsonValue, SecretStr

from sandbox.clock import ClockMode
from sandbox.serve import running
from sandbox.settings import Accounts, SandboxSettings
from sandbox.truora.settings import Button, OutboundSettings, TruoraAccount, TruoraFlow
from tests.unit.sandbox.playground import NOW, TRUST, Hook, JsonObject, Play, Receiver, at, receiving

KEY = "test-truora-api-key"
SIGNING_KEY = "test-truora-signing-key-0123456789"
LINE = "15550100000"
OTHER_LINE = "15550100001"
FLOW = "IPF00000000000000000000000000000001"
OUTBOUND = "OTB00000000000000000000000000000001"
NOTIFICATION = "OTB00000000000000000000000000000002"
PLAIN = "OTB00000000000000000000000000000003"
DEFAULT_FLOW = "OTB00000000000000000000000000000004"
PENDING = "OTB00000000000000000000000000000005"
PHONE = "3140000001"
NUMBER = f"57{PHONE}"
COLLECTED: JsonObject = {"city": "Bogotá", "disponible": True}

STARTED, APPROVED, CANCELED = (f"whatsapp_outbound {action}" for action in ("started", "approved", "canceled"))
BEGUN, SUCCEEDED, FAILED = (f"whatsapp_process {action}" for action in ("started", "succeeded", "failed"))
EXPIRED, EXITED = (f"whatsapp_session {action}" for action in ("expired", "canceled"))


def _asks(going_on: str, going_away: str) -> tuple[Button, ...]:
    return (
        Button(message=going_on, action="continue_process"),
        Button(message=going_away, action="cancel_process"),
    )


_OUTBOUNDS = (
    OutboundSettings(
        id=OUTBOUND,
        name="Intake EN",
        body="Hi {{.name}} {{.lastname}}! Select “Continue” to start.",
        line=LINE,
    ),
    OutboundSettings(
        id=PLAIN,
        name="Intake PT",
        body="Olá! Selecione “Continuar” para começar.",
        line=LINE,
        answers=_asks("Continuar", "Cancelar"),
    ),
    OutboundSettings(
        id=DEFAULT_FLOW,
        name="Intake ES",
        body="¡Hola! Seleccione “Continuar” y empiece.",
        line=LINE,
        default_flow_id=FLOW,
        answers=_asks("Continuar", "Cancelar"),
    ),
    OutboundSettings(
        id=NOTIFICATION,
        name="Interview reminder EN",
        body="Your interview is tomorrow. Reply EXIT to stop.",
        line=OTHER_LINE,
        is_notification=True,
    ),
    OutboundSettings(id=PENDING, name="Intake FR", body="Bonjour!", line=OTHER_LINE, status="PENDING"),
)
"""Those of the wire vectors, in the order of the list there, and one that is not approved."""


def account(**changes: object) -> TruoraAccount:
    """The account of these tests, with what a test wants otherwise."""
    base = TruoraAccount(
        api_key=SecretStr(KEY),
        client_id="TCI00000000000000000000000000000001",
        signing_key=SecretStr(SIGNING_KEY),
        lines=(LINE, OTHER_LINE),
        flows=(TruoraFlow(id=FLOW, collects=COLLECTED),),
        outbounds=_OUTBOUNDS,
    )
    return base.model_copy(update=changes)


def settings(*accounts: TruoraAccount, clock: ClockMode = ClockMode.MANUAL, seed: str = "tests") -> SandboxSettings:
    """Settings of a sandbox whose clock stands at NOW."""
    return SandboxSettings(
        seed=seed,
        clock=clock,
        now=NOW if clock is ClockMode.MANUAL else None,
        accounts=Accounts(truora=accounts or (account(),)),
        webhook_timeout=5,
    )


@dataclass
class Tokens(Receiver):
    """Takes tokens. One that PyJWT does not accept is an error of the sandbox."""

    raw: list[bytes] = field(default_factory=list)

    def read(self, headers: dict[str, str], body: bytes) -> Hook:
        assert headers["content-type"] == "application/jwt"
        payload = jwt.decode(
            body,
            SIGNING_KEY,
            algorithms=["HS256"],
            issuer="Truora",
            options={"require": ["iss", "iat"], "verify_iat": False},  # the sandbox's time is not the machine's
        )
        self.raw.append(body)
        return Hook(headers, payload)

    @property
    def events(self) -> list[JsonObject]:
        return [event for hook in self.hooks for event in events_of(hook)]

    @property
    def told(self) -> list[str]:
        return [told(event) for event in self.events]


def events_of(hook: Hook) -> list[JsonObject]:
    """The events of one delivery."""
    events = hook.body["events"]
    assert isinstance(events, list)
    return [event for event in events if isinstance(event, dict)]


def told(event: JsonObject) -> str:
    """A short word for an event: ``whatsapp_process succeeded``."""
    return f"{event['event_type']} {event['event_action']}"


def form(phone: str = PHONE, **changes: str | None) -> dict[str, str]:
    """The form of a good send; ``var_name`` stands for ``var.name``, None takes a field away."""
    given: dict[str, str | None] = {
        "phone_number": phone,
        "country_code": "+57",
        "outbound_id": OUTBOUND,
        "user_authorized": "true",
        "flow_id": FLOW,
        "var.name": "Ada",
        "var.lastname": "Pérez",
    }
    given |= {name.replace("var_", "var."): value for name, value in changes.items()}
    return {name: value for name, value in given.items() if value is not None}


@dataclass
class TruoraPlay(Play):
    """A running sandbox, seen by a customer of Truora."""

    tokens: Tokens

    async def send(self, fields: dict[str, str] | None = None) -> httpx.Response:
        return await self.api.post("whatsapp/outbounds/send", data=form() if fields is None else fields)

    async def send_bytes(self, body: str | bytes) -> httpx.Response:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.api.post("whatsapp/outbounds/send", content=body, headers=headers)

    async def open(self, phone: str = PHONE, **changes: str | None) -> str:
        """Send; returns the session's id."""
        answer = await self.send(form(phone, **changes))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["session_id"])

    async def session(self, session_id: str) -> JsonObject:
        sessions = (await self.ask("truora/sessions"))["sessions"]
        assert isinstance(sessions, list)
        return next(found for found in map(at, sessions) if found["id"] == session_id)

    async def status(self, session_id: str) -> str:
        return str((await self.session(session_id))["status"])

    async def fault(self, kind: str, operation: str = "*", **more: JsonValue) -> str:
        return await super().fault(kind, operation, **{"provider": "truora", **more})


@contextlib.asynccontextmanager
async def playing(chosen: SandboxSettings | None = None, *, heard: bool = True) -> AsyncIterator[TruoraPlay]:
    """Run a sandbox; ``heard`` sends its hooks to a receiver."""
    chosen = chosen or settings()
    tokens = Tokens()
    async with receiving(tokens):
        if heard:
            told_of = tuple(a.model_copy(update={"webhook_url": tokens.url}) for a in chosen.accounts.truora)
            chosen = chosen.model_copy(update={"accounts": Accounts(truora=told_of)})
        async with (
            running(chosen) as url,
            httpx.AsyncClient(
                base_url=f"{url}/truora/v1/", headers={"Truora-API-Key": KEY}, trust_env=False, verify=TRUST
            ) as api,
            httpx.AsyncClient(base_url=f"{url}/control/", trust_env=False, verify=TRUST) as control,
        ):
            yield TruoraPlay(url, api, control, tokens, tokens)
