"""The service and its tokens out of the parts of a process; gateway and CLI build them alike."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from pydantic import SecretStr
from temporalio.client import Client

from domain.engagements import Capabilities
from domain.ports import AtsNotifier
from domain.topology import Account, Topology
from providers.ats.client import StandardWebhookNotifier, ats_endpoints
from providers.registry import provider_kind
from runtime.processes import ProcessParts
from runtime.secrets import resolve
from starter.contacts import ContactService
from starter.engine import Engine
from starter.erasure import ErasureService
from starter.exporting import ExportService
from starter.gates import GateService
from starter.letters import AtsService
from starter.looking_back import LookingBack
from starter.retention import RetentionService
from starter.service import EngagementService
from starter.templates import TemplateService
from starter.tokens import AccessTokens
from store.inbox_desk import InboxDesk
from store.keys import KeyRing
from store.quiet_people import QuietPeople
from store.retention import Retention
from store.stores import Stores


def service_of(parts: ProcessParts) -> EngagementService:
    """The service on the parts of a process."""
    return service_on(parts.stores, parts.client, parts.topology, parts.keys)


def service_on(stores: Stores, client: Client, topology: Topology, keys: KeyRing) -> EngagementService:
    """The service on a store and a client, with the providers that are built in."""
    return EngagementService(
        registry=stores.registry,
        contacts=stores.contacts,
        ledger=stores.ledger,
        client=client,
        topology=topology,
        capabilities_of=capabilities_of,
        reconcile_wait_of=reconcile_wait_of,
        keys=keys,
    )


def gates_of(parts: ProcessParts) -> GateService:
    """Gates and holds on the parts of a process."""
    return GateService(parts.client, parts.stores.holds)


def templates_of(parts: ProcessParts) -> TemplateService:
    """The registry of templates on the parts of a process."""
    stores = parts.stores
    return TemplateService(parts.settings.templates, parts.topology, stores.templates, stores.submissions)


def contacts_of(parts: ProcessParts) -> ContactService:
    """Leave to write to people, on the parts of a process."""
    stores = parts.stores
    return ContactService(stores.contacts, stores.registry, Engine(parts.client), parts.topology)


def erasing_of(parts: ProcessParts) -> ErasureService:
    """Erasing people, on the parts of a process."""
    stores = parts.stores
    return ErasureService(stores.erasures, stores.contacts, stores.registry, Engine(parts.client))


def exporting_of(parts: ProcessParts) -> ExportService:
    """Exports of engagements, on the parts of a process."""
    stores = parts.stores
    looking = LookingBack(stores.registry, stores.ledger, Engine(parts.client))
    return ExportService(looking, stores.contacts, InboxDesk(stores.database, stores.keys))


def retention_of(parts: ProcessParts) -> RetentionService:
    """Dropping what is past its time, on the parts of a process."""
    stores = parts.stores
    retention = Retention(stores.database, stores.keys, parts.settings.retention)
    return RetentionService(retention, QuietPeople(stores.database), stores.erasures, Engine(parts.client))


def ats_of(parts: ProcessParts) -> AtsService:
    """What goes between us and tenants' systems, on the parts of a process. Keys are read when something is sent."""

    @asynccontextmanager
    async def notifier() -> AsyncIterator[AtsNotifier]:
        opened = StandardWebhookNotifier(ats_endpoints(parts.topology, resolve))
        try:
            yield opened
        finally:
            await opened.close()

    return AtsService(parts.stores.letters, parts.stores.told, notifier)


def tokens_of(topology: Topology, resolve: Callable[[str], SecretStr]) -> AccessTokens:
    """The tokens that the configuration names. Raises ``SetupError`` for one that cannot be read."""
    return AccessTokens([(entry, resolve(entry.token)) for entry in topology.tokens])


def capabilities_of(provider: str) -> Capabilities:
    """What a provider can do. Raises ``SetupError`` for one that is not built in."""
    return provider_kind(provider).capabilities


def reconcile_wait_of(account: Account) -> timedelta | None:
    """How long this account's events may take to settle a lost answer; None where our default does."""
    return provider_kind(account.provider).reconcile_wait(account)
