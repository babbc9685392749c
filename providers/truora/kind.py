"""Truora as the registry sees it."""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from domain.errors import SetupError
from domain.ports import MessagingProvider
from domain.templates import Fault, TemplateSpecification
from domain.topology import Account, Line
from providers.kind import Options, ProviderKind, Surroundings
from providers.truora.client import CAPABILITIES, NOT_BY_API, Doors, TruoraClient, truora_http
from providers.truora.errors import refine_process
from providers.truora.outbounds import TruoraOutbounds, line_mistakes
from providers.truora.settings import TruoraSettings
from providers.truora.webhook import TruoraWebhookReader


def senders_of(account: Account, lines: tuple[Line, ...]) -> dict[str, str]:
    """The digits of every line. Raises ``SetupError`` with every line whose ``sender`` is none, without showing it."""
    wrong = [
        f"account {account.slug}: line {line.slug}: sender must be the number's digits, country code first, no plus"
        for line in lines
        if line_mistakes(line.sender)
    ]
    if wrong:
        raise SetupError("\n".join(wrong))
    return {line.slug: line.sender for line in lines}


def build_client(account: Account, credential: SecretStr, lines: tuple[Line, ...] = ()) -> TruoraClient:
    """The client of an account. Without its lines nothing is compared with a line's number."""
    settings = TruoraSettings.model_validate(account.options)
    senders = senders_of(account, lines)
    messaging = truora_http(account.slug, account.base_url or settings.base_url, credential)
    processes = (
        truora_http(account.slug, settings.process_url, credential, refined_by=refine_process)
        if settings.process_url is not None
        else None
    )
    return TruoraClient(account.slug, Doors(messaging, processes), settings, senders)


def build_outbounds(account: Account, credential: SecretStr) -> TruoraOutbounds:
    """What an operator command uses to look up outbound ids."""
    settings = TruoraSettings.model_validate(account.options)
    return TruoraOutbounds(account.slug, truora_http(account.slug, account.base_url or settings.base_url, credential))


def build_reader(account: Account, secrets: tuple[SecretStr, ...]) -> TruoraWebhookReader:
    """The webhook reader of an account."""
    return TruoraWebhookReader(account.slug, secrets, TruoraSettings.model_validate(account.options))


@dataclass(frozen=True)
class TruoraKind(ProviderKind):
    """Truora needs its lines, which hold the sending numbers."""

    def client_among(self, account: Account, credential: SecretStr, around: Surroundings) -> MessagingProvider:
        """The client of an account and its lines."""
        return build_client(account, credential, around.lines)

    def reconcile_wait(self, account: Account) -> timedelta | None:
        """Only events that carry our reference can settle a lost answer; without it waiting for longer is in vain."""
        settings = TruoraSettings.model_validate(account.options)
        return settings.reconcile_wait if settings.send_reference else None


def faults(spec: TemplateSpecification, _options: Options) -> tuple[Fault, ...]:
    """Truora takes no template by its API, so there is nothing that a specification could be submitted to."""
    place = next(name for name in ("provider", "accounts", "lines") if getattr(spec, name) is not None)
    return (Fault((place,), NOT_BY_API),)


KIND = TruoraKind(
    capabilities=CAPABILITIES, settings=TruoraSettings, client=build_client, reader=build_reader, faults=faults
)
