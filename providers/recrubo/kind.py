"""Recrubo as the registry sees it."""

from pydantic import SecretStr

from domain.templates import Fault, TemplateSpecification
from domain.topology import Account
from providers.kind import Options, ProviderKind
from providers.recrubo.client import CAPABILITIES, RecruboClient, recrubo_http
from providers.recrubo.provisioning import RecruboProvisioning
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.specification import faults_in
from providers.recrubo.webhook import RecruboWebhookReader


def build_client(account: Account, credential: SecretStr) -> RecruboClient:
    """The client of an account."""
    settings = RecruboSettings.model_validate(account.options)
    http = recrubo_http(account.slug, account.base_url or settings.base_url, credential)
    return RecruboClient(account.slug, http, settings)


def build_provisioning(account: Account, credential: SecretStr) -> RecruboProvisioning:
    """What an operator command uses to set an account up."""
    settings = RecruboSettings.model_validate(account.options)
    http = recrubo_http(account.slug, account.base_url or settings.base_url, credential)
    return RecruboProvisioning(account.slug, http, settings)


def build_reader(account: Account, secrets: tuple[SecretStr, ...]) -> RecruboWebhookReader:
    """The webhook reader of an account."""
    return RecruboWebhookReader(account.slug, secrets, RecruboSettings.model_validate(account.options))


def faults(spec: TemplateSpecification, _options: Options) -> tuple[Fault, ...]:
    """What Recrubo would refuse in a template specification."""
    return faults_in(spec)


KIND = ProviderKind(
    capabilities=CAPABILITIES, settings=RecruboSettings, client=build_client, reader=build_reader, faults=faults
)
