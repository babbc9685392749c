"""The same recruiter's world at each provider: account, line, flow, templates and plan, told to both sides."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from domain.model import JsonValue
from domain.plans import Plan
from sandbox.meta.settings import MetaAccount, MetaFlow, MetaLine, MetaTemplate
from sandbox.settings import FlowSettings, RecruboAccount, TemplateSettings
from sandbox.truora.settings import OutboundSettings, TruoraAccount, TruoraFlow

SANDBOX_SECRETS = {
    "env:RECRUBO_TOKEN": "org-token",
    "env:RECRUBO_HOOK": "hook-secret",
    "env:META_TOKEN": "graph-token",
    "env:META_HOOK": "app-secret",
    "env:META_VERIFY": "verify-token",
    "env:TRUORA_TOKEN": "api-key",
    "env:TRUORA_HOOK": "signing-key-of-thirty-two-bytes!",
}
SESSION = timedelta(days=2)
COLLECTS: dict[str, JsonValue] = {"available": "yes", "city": "Utrecht"}
META_FLOW, META_LINE = "900000000000001", "106540352242922"
TRUORA_LINE = "15550100001"

DECLINE = "No, thanks"
"""The label of the button that declines."""

SandboxAccount = RecruboAccount | MetaAccount | TruoraAccount


def _secret(ref: str) -> SecretStr:
    return SecretStr(SANDBOX_SECRETS[ref])


@dataclass(frozen=True)
class Side:
    """One provider. ``path`` is where the sandbox plays it; ``sends`` is its name for a send in faults."""

    name: str
    path: str
    options: dict[str, object]
    sender: str
    flow: dict[str, str]
    invitation: dict[str, str]
    reminder: dict[str, str]
    sends: str
    account: Callable[[str], SandboxAccount]

    @property
    def line(self) -> str:
        """The slug of its one line."""
        return f"{self.name}-line"

    def topology_account(self, base: str) -> dict[str, object]:
        """The account as a configuration file writes it."""
        upper = self.name.upper()
        return {
            "slug": self.name,
            "provider": self.name,
            "base_url": f"{base}{self.path}",
            "credential": f"env:{upper}_TOKEN",
            "webhook_secrets": [f"env:{upper}_HOOK"],
            "rate": 10_000,
            "options": self.options,
        }

    def topology_line(self) -> dict[str, object]:
        """The line as a configuration file writes it."""
        return {"slug": self.line, "account": self.name, "tenants": ["acme"], "rate": 10_000, "sender": self.sender}

    def plan(self, **changes: object) -> Plan:
        """Invite, remind after three days, give up after five more."""
        variables = {"language": "en", "variables": ("first_name",)}
        written = {
            "name": "intake",
            "opening": {"template": {**variables, **self.invitation}, "flow": self.flow},
            "follow_ups": ({"after": "3d", "template": {**variables, **self.reminder}, "flow": self.flow},),
            "silence": {"after": "5d"},
            "declined_when": ({"field": "available", "equals": "no"}, {"field": "text", "equals": DECLINE}),
            **changes,
        }
        return Plan.model_validate(written)


def _recrubo(webhook_url: str) -> RecruboAccount:
    return RecruboAccount(
        token=_secret("env:RECRUBO_TOKEN"),
        webhook_secret=_secret("env:RECRUBO_HOOK"),
        webhook_url=webhook_url,
        flows=(FlowSettings(id="flow-1", session_timeout=SESSION / timedelta(minutes=1), collects=COLLECTS),),
        templates=(
            TemplateSettings(id="tpl-invitation", name="invitation", body="Hi {{1}}, two minutes?"),
            TemplateSettings(id="tpl-reminder", name="reminder", body="Hi {{1}}, still there?"),
        ),
    )


def _meta(webhook_url: str) -> MetaAccount:
    return MetaAccount(
        token=_secret("env:META_TOKEN"),
        app_secret=_secret("env:META_HOOK"),
        verify_token=_secret("env:META_VERIFY"),
        waba_id="102290129340398",
        lines=(MetaLine(phone_number_id=META_LINE, display_number="15550100000"),),
        webhook_url=webhook_url,
        flows=(MetaFlow(id=META_FLOW, name="intake", screens=("WELCOME",), collects=COLLECTS),),
        templates=(
            MetaTemplate(
                id="11",
                name="invitation",
                language="en",
                body="Hi {{1}}, two minutes?",
                flow_id=META_FLOW,
                quick_replies=(DECLINE,),
            ),
            MetaTemplate(id="12", name="reminder", language="en", body="Hi {{1}}, still there?", flow_id=META_FLOW),
        ),
    )


def _truora(webhook_url: str) -> TruoraAccount:
    return TruoraAccount(
        api_key=_secret("env:TRUORA_TOKEN"),
        signing_key=_secret("env:TRUORA_HOOK"),
        webhook_url=webhook_url,
        lines=(TRUORA_LINE,),
        flows=(TruoraFlow(id="IPF1", collects=COLLECTS),),
        outbounds=(
            OutboundSettings(id="OTB1", name="invitation", body="Hi {{.first_name}}, two minutes?", line=TRUORA_LINE),
            OutboundSettings(id="OTB2", name="reminder", body="Hi {{.first_name}}, still there?", line=TRUORA_LINE),
        ),
    )


SIDES = {
    "recrubo": Side(
        name="recrubo",
        path="/recrubo/public/v2",
        options={},
        sender="",
        flow={"id": "flow-1"},
        invitation={"name": "invitation", "id": "tpl-invitation"},
        reminder={"name": "reminder", "id": "tpl-reminder"},
        sends="run-create",
        account=_recrubo,
    ),
    "meta": Side(
        name="meta",
        path="/meta",
        options={"waba_id": "102290129340398", "verify_token": "env:META_VERIFY"},
        sender=META_LINE,
        flow={"id": META_FLOW, "screen": "WELCOME"},
        invitation={"name": "invitation"},
        reminder={"name": "reminder"},
        sends="message-send",
        account=_meta,
    ),
    "truora": Side(
        name="truora",
        path="/truora/v1/whatsapp",
        options={},
        sender=TRUORA_LINE,
        flow={"id": "IPF1"},
        invitation={"name": "invitation", "id": "OTB1"},
        reminder={"name": "reminder", "id": "OTB2"},
        sends="outbound-send",
        account=_truora,
    ),
}
