"""What a provider's folder offers to the registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from domain.engagements import Capabilities
from domain.model import JsonValue, Written
from domain.ports import MessagingProvider, WebhookReader
from domain.templates import Fault, TemplateSpecification
from domain.topology import Account, Line

Options = Mapping[str, JsonValue] | None
"""``Account.options``; None where there is no account."""

Resolve = Callable[[str], SecretStr]
"""Gives the secret behind a reference; raises ``SetupError`` when it cannot."""


@dataclass(frozen=True)
class Surroundings:
    """What the configuration says around an account: its lines, and where further secrets come from."""

    lines: tuple[Line, ...]
    resolve: Resolve


@dataclass(frozen=True)
class ProviderKind:
    """One provider: what it can do, its settings, and how its client and its webhook reader are made.

    ``client`` gets an account and its resolved credential, ``reader`` an account and its resolved webhook secrets. Both
    read ``Account.options`` as ``settings`` and raise ``SetupError``; pydantic's ``ValidationError`` for bad options is
    met before, by the registry.
    """

    capabilities: Capabilities
    settings: type[Written]
    client: Callable[[Account, SecretStr], MessagingProvider]
    reader: Callable[[Account, tuple[SecretStr, ...]], WebhookReader]
    faults: Callable[[TemplateSpecification, Options], tuple[Fault, ...]]
    """What this provider would refuse in a template specification that is right by WhatsApp's own rules; without
    options by the provider's defaults.
    """

    def client_among(self, account: Account, credential: SecretStr, _around: Surroundings) -> MessagingProvider:
        """The client of an account; a kind that needs what is around the account takes it from there."""
        return self.client(account, credential)

    def reader_among(self, account: Account, secrets: tuple[SecretStr, ...], _around: Surroundings) -> WebhookReader:
        """The webhook reader of an account; a kind that needs what is around the account takes it from there."""
        return self.reader(account, secrets)

    def reconcile_wait(self, _account: Account) -> timedelta | None:
        """How long events may take to settle a lost answer, where this provider needs longer than the default."""
        return None
