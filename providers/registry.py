"""Every provider by name, and the accounts of a configuration made ready. A new provider is one folder and one word."""

import importlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from domain.errors import SetupError
from domain.model import JsonValue
from domain.ports import MessagingProvider, WebhookReader
from domain.templates import Fault, TemplateSpecification
from domain.topology import Account, Topology
from providers.kind import ProviderKind, Resolve, Surroundings

PROVIDERS = ("meta", "recrubo", "truora")
"""Each is ``KIND`` in the module ``kind`` of its folder, which is loaded where an account needs it."""

Made = TypeVar("Made")


def provider_kind(name: str) -> ProviderKind:
    """The provider of this name. Raises ``SetupError`` for one that we do not know."""
    if name not in PROVIDERS:
        raise SetupError(f"there is no provider {name}; known are: {', '.join(PROVIDERS)}")
    kind: ProviderKind = importlib.import_module(f"providers.{name}.kind").KIND
    return kind


def faults_by_provider(
    spec: TemplateSpecification, provider: str, options: Mapping[str, JsonValue] | None
) -> tuple[Fault, ...]:
    """What a provider would refuse in a specification, by an account's options or by the provider's defaults.

    Raises ``SetupError`` for a provider that we do not know and for options that are wrong.
    """
    kind = provider_kind(provider)
    try:
        return kind.faults(spec, options)
    except ValidationError:
        raise SetupError("the account's options are wrong: rapport doctor tells what") from None


class AccountClients:
    """The accounts that this process was given, as ``domain.ports.Accounts``."""

    def __init__(self, clients: Mapping[str, MessagingProvider]) -> None:
        self._clients = dict(clients)

    def provider(self, account: str) -> MessagingProvider:
        """The client of one account."""
        client = self._clients.get(account)
        if client is None:
            raise SetupError(f"account {account} is not configured here; add it to the configuration and restart")
        return client

    async def close(self) -> None:
        """Give back the connections of every account."""
        for client in self._clients.values():
            await client.close()


def build_accounts(topology: Topology, resolve: Resolve) -> AccountClients:
    """A client for every account. Raises ``SetupError`` with everything that is wrong in any of them."""

    def build(account: Account, kind: ProviderKind) -> MessagingProvider:
        around = Surroundings(topology.lines_of(account.slug), resolve)
        return kind.client_among(account, resolve(account.credential), around)

    return AccountClients(_for_every_account(topology, build))


def build_readers(topology: Topology, resolve: Resolve) -> Mapping[str, WebhookReader]:
    """A webhook reader for every account, by its slug.

    Raises ``SetupError`` with everything that is wrong in any of them; an empty or missing webhook secret is.
    """

    def build(account: Account, kind: ProviderKind) -> WebhookReader:
        around = Surroundings(topology.lines_of(account.slug), resolve)
        return kind.reader_among(account, tuple(resolve(secret) for secret in account.webhook_secrets), around)

    return _for_every_account(topology, build)


def _for_every_account(topology: Topology, build: Callable[[Account, ProviderKind], Made]) -> dict[str, Made]:
    made: dict[str, Made] = {}
    wrong: list[str] = []
    for account in topology.accounts:
        try:
            kind = provider_kind(account.provider)
            kind.settings.model_validate(account.options)
            made[account.slug] = build(account, kind)
        except SetupError as error:
            wrong.append(_about(account, str(error)))
        except ValidationError as error:
            mistakes = error.errors(include_input=False, include_url=False, include_context=False)
            places = ((".".join(map(str, m["loc"])) or "options", m["msg"]) for m in mistakes)
            wrong += [_about(account, f"options: {place}: {message}") for place, message in places]
    if wrong:
        raise SetupError("\n".join(wrong))
    return made


def _about(account: Account, text: str) -> str:
    start = f"account {account.slug}: "
    return text if text.startswith(start) else start + text
