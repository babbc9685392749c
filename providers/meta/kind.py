"""Meta as the registry sees it."""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from domain.errors import SetupError
from domain.ports import MessagingProvider, WebhookReader
from domain.templates import Fault, TemplateSpecification
from domain.topology import Account, Line
from providers.kind import Options, ProviderKind, Surroundings
from providers.meta.client import CAPABILITIES, MetaClient, meta_http
from providers.meta.provisioning import MetaProvisioning
from providers.meta.settings import MetaSettings
from providers.meta.specification import faults_in
from providers.meta.webhook import MetaWebhookReader


def senders_of(account: Account, lines: tuple[Line, ...]) -> dict[str, str]:
    """The phone number id of every line. Raises ``SetupError`` with every line that has none."""
    wrong = [
        f"account {account.slug}: line {line.slug}: sender must be the phone number id, which is not the number"
        for line in lines
        if not (line.sender.isascii() and line.sender.replace("_", "").replace("-", "").isalnum())
    ]
    if wrong:
        raise SetupError("\n".join(wrong))
    return {line.slug: line.sender for line in lines}


def build_client(account: Account, credential: SecretStr, lines: tuple[Line, ...] = ()) -> MetaClient:
    """The client of an account. Without its lines it reads, and refuses every send."""
    settings = MetaSettings.model_validate(account.options)
    senders = senders_of(account, lines)
    http = meta_http(account.slug, account.base_url or settings.base_url, credential, settings)
    return MetaClient(account.slug, http, settings, senders)


def build_provisioning(account: Account, credential: SecretStr) -> MetaProvisioning:
    """What an operator command uses to set an account up."""
    settings = MetaSettings.model_validate(account.options)
    http = meta_http(account.slug, account.base_url or settings.base_url, credential, settings)
    return MetaProvisioning(account.slug, http, settings)


def build_reader(
    account: Account, secrets: tuple[SecretStr, ...], verify_token: SecretStr | None = None
) -> MetaWebhookReader:
    """The webhook reader of an account. Without the verify token it refuses every handshake."""
    settings = MetaSettings.model_validate(account.options)
    return MetaWebhookReader(account.slug, secrets, settings, verify_token=verify_token)


@dataclass(frozen=True)
class MetaKind(ProviderKind):
    """Meta needs its lines, which hold the phone number ids, and a third secret: the verify token."""

    def client_among(self, account: Account, credential: SecretStr, around: Surroundings) -> MessagingProvider:
        """The client of an account and its lines."""
        return build_client(account, credential, around.lines)

    def reader_among(self, account: Account, secrets: tuple[SecretStr, ...], around: Surroundings) -> WebhookReader:
        """The webhook reader of an account, with its verify token. Raises ``SetupError`` without one."""
        token = around.resolve(MetaSettings.model_validate(account.options).verify_token)
        return build_reader(account, secrets, token)

    def reconcile_wait(self, account: Account) -> timedelta | None:
        """Webhooks are the only way in which a lost answer settles, and they may be late (A-M5)."""
        return MetaSettings.model_validate(account.options).reconcile_wait


def faults(spec: TemplateSpecification, options: Options) -> tuple[Fault, ...]:
    """What Meta would refuse in a template specification."""
    nobodys = MetaSettings(waba_id="0", verify_token="env:UNUSED")  # noqa: S106 - a reference, and of no account
    return faults_in(spec, nobodys if options is None else MetaSettings.model_validate(options))


KIND = MetaKind(
    capabilities=CAPABILITIES, settings=MetaSettings, client=build_client, reader=build_reader, faults=faults
)
