"""What a sandbox is made of. The command line fills it, or a JSON or YAML file does."""

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, SecretStr, ValidationError, model_validator

from sandbox.clock import ClockMode
from sandbox.meta.settings import MetaAccount
from sandbox.personas import PersonaSettings
from sandbox.truora.settings import TruoraAccount
from sandbox.values import Frozen, Instant, JsonObject

Seconds = Annotated[float, Field(ge=0)]


class BadSandboxSettings(Exception):
    """The sandbox's settings file cannot be used; the text names every mistake."""


def _answers(value: object) -> object:
    """Let a flow name what it collects as a list; each then has the answer ``yes``."""
    return dict.fromkeys(value, "yes") if isinstance(value, list | tuple) else value


def _repeated(what: str, names: list[str]) -> list[str]:
    return [f"{what} {name}: named twice" for name in sorted({n for n in names if names.count(n) > 1})]


def _signing_secret(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value().removeprefix("whsec_") + "==")
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("must be base64, with or without 'whsec_' before it")
    return value


class FlowSettings(Frozen):
    """A chat script of a Recrubo account."""

    id: str
    session_timeout: Annotated[float, Field(gt=0)] = 24 * 60.0
    """Minutes of silence after which the flow ends its run as ``timeout`` (Recrubo: sessionTimeout)."""
    collects: Annotated[JsonObject, BeforeValidator(_answers)] = {}
    """Session variables that the flow fills, with the answer of a candidate who has no other."""


class TemplateSettings(Frozen):
    """A message template that exists from the beginning."""

    id: str
    name: str
    language: str = "en"
    body: str
    header: str | None = None
    footer: str | None = None
    category: str = "UTILITY"
    status: str = "APPROVED"


class Subscription(Frozen):
    """One webhook subscription (Recrubo: POST /webhooks, A-R8). ``fields`` narrow an update."""

    resource: Literal["flowRuns", "messages", "messageTemplates", "messageThreads"]
    event: Literal["create", "update", "delete"]
    fields: tuple[str, ...] = ()
    url: str | None = None
    """Another receiver than the organisation's."""


_NEEDED = (
    Subscription(resource="flowRuns", event="update", fields=("status",)),
    Subscription(resource="messages", event="create"),
    Subscription(resource="messages", event="update", fields=("deliveryStatus",)),
    Subscription(resource="messageTemplates", event="update", fields=("status",)),
)


class RecruboAccount(Frozen):
    """One Recrubo organisation: its token, its webhook, its flows and templates, and how the unknowns are settled."""

    name: str = "recrubo"
    token: SecretStr
    webhook_url: str | None = None
    webhook_secret: SecretStr | None = None
    subscriptions: tuple[Subscription, ...] = _NEEDED
    flows: tuple[FlowSettings, ...] = ()
    templates: tuple[TemplateSettings, ...] = ()

    strict: bool = True
    """Refuse request members that the pages do not show."""
    duplicate_threads: Literal["existing", "new", "409"] = "409"
    """What a second thread for a number does (A-R2)."""
    list_delay: Seconds = 0.0
    """Seconds until a new run shows in lists (A-R11)."""
    first_status: Literal["created", "queued"] = "created"
    """The guide's sample says one, its prose the other."""
    success_status: Literal[200, 201] = 201
    """HTTP status of a successful creation (A-R1)."""
    answers_other_ids: bool = False
    """Answer a trigger with another flow id and template id than were sent, as the guide's sample does."""
    page_size: Annotated[int, Field(ge=1, le=100)] = 25
    """Elements of a page when the client does not say (A-R4)."""
    start_delay: Seconds = 1.0
    """Seconds from the trigger to the start of a run, and from accepting a message to sending it."""
    delivery_delay: Seconds = 1.0
    """Seconds from ``sent`` to ``delivered``."""
    review_delay: Seconds | None = None
    """Seconds until a new template is reviewed; None leaves it PENDING until the control API says more."""
    review_status: str = "APPROVED"
    retry_delays: tuple[Seconds, ...] = (60, 600, 3600, 4 * 3600, 12 * 3600)
    """Seconds before each further attempt of a webhook that was not answered 2xx: five, within 24 h."""
    retries_keep_id: bool = False
    """Whether a retried delivery keeps ``data.id`` (unknown, A-R7)."""
    names_webhook: bool = True
    """Whether deliveries carry ``webhookId``; a documented sample has none."""

    @model_validator(mode="after")
    def _a_webhook_has_a_secret(self) -> "RecruboAccount":
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError("webhook_url needs webhook_secret: Recrubo sets both together")
        return self


class Accounts(Frozen):
    """The accounts of every provider that the sandbox plays."""

    recrubo: tuple[RecruboAccount, ...] = ()
    truora: tuple[TruoraAccount, ...] = ()
    meta: tuple[MetaAccount, ...] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> "Accounts":
        tokens = [account.token.get_secret_value() for account in self.recrubo]
        wrong = _repeated("account", [account.name for account in self.recrubo])
        wrong += ["two accounts of recrubo have the same token"] if len(set(tokens)) < len(tokens) else []
        wrong += _repeated("template", [template.id for account in self.recrubo for template in account.templates])
        wrong += _truora_mistakes(self.truora)
        wrong += _meta_mistakes(self.meta)
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def _truora_mistakes(accounts: tuple[TruoraAccount, ...]) -> list[str]:
    keys = [account.api_key.get_secret_value() for account in accounts]
    wrong = _repeated("account", [account.name for account in accounts])
    wrong += ["two accounts of truora have the same api_key"] if len(set(keys)) < len(keys) else []
    wrong += _repeated("line", [line for account in accounts for line in account.lines])
    wrong += _repeated("outbound", [outbound.id for account in accounts for outbound in account.outbounds])
    return wrong


def _meta_mistakes(accounts: tuple[MetaAccount, ...]) -> list[str]:
    tokens = [account.token.get_secret_value() for account in accounts]
    wrong = _repeated("account", [account.name for account in accounts])
    wrong += ["two accounts of meta have the same token"] if len(set(tokens)) < len(tokens) else []
    wrong += _repeated("waba", [account.waba_id for account in accounts])
    wrong += _repeated("line", [line.phone_number_id for account in accounts for line in account.lines])
    wrong += _repeated("template", [template.id for account in accounts for template in account.templates])
    return wrong


class SandboxSettings(Frozen):
    """All that a sandbox is told when it starts."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0 takes a free port."""
    seed: str = "rapport"
    """Ids are derived from it."""
    clock: ClockMode = ClockMode.REAL
    now: Instant | None = None
    """Where a manual clock begins; the wall clock's time when left out."""
    accounts: Accounts = Accounts()
    personas: PersonaSettings = PersonaSettings()
    ats: dict[str, Annotated[SecretStr, AfterValidator(_signing_secret)]] = {}
    """By tenant, the Standard Webhooks secret (``whsec_…``) that signs what the ATS hears."""
    webhook_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Real seconds that a webhook receiver has."""


def load(path: Path) -> SandboxSettings:
    """Read the settings from a JSON or YAML file.

    Raises:
        BadSandboxSettings: the file is missing, not YAML, or wrong; every mistake is named, no value is shown.

    """
    try:
        written: JsonValue = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as unreadable:
        raise BadSandboxSettings(f"{path}: cannot be read ({type(unreadable).__name__})") from None
    except yaml.YAMLError as broken:
        raise BadSandboxSettings(f"{path}: is neither YAML nor JSON{_place(broken)}") from None
    try:
        return SandboxSettings.model_validate(written if written is not None else {})
    except ValidationError as wrong:
        mistakes = [f"{'.'.join(map(str, error['loc'])) or 'file'}: {error['msg']}" for error in wrong.errors()]
        raise BadSandboxSettings("\n".join(f"{path}: {mistake}" for mistake in mistakes)) from None


def _place(broken: yaml.YAMLError) -> str:
    mark = broken.problem_mark if isinstance(broken, yaml.MarkedYAMLError) else None
    return f" (line {mark.line + 1})" if mark is not None else ""
