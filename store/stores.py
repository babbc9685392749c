"""Everything that the store offers, opened together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.errors import SetupError
from store.ats_inbox import AtsInbox
from store.ats_letters import AtsNotices
from store.candidate_keys import DataKeys
from store.contacts import Contacts
from store.database import Database
from store.erasure import Erasures
from store.holds import Holds
from store.idempotency import IdempotencyKeys
from store.keys import KeyRing
from store.leases import QueueLeases
from store.ledger import Ledger
from store.migrate import is_current_within
from store.registry import EngagementRegistry
from store.submissions import Submissions
from store.templates import Templates


@dataclass(frozen=True)
class Stores:
    """One database and every repository on it."""

    database: Database
    keys: KeyRing
    registry: EngagementRegistry
    contacts: Contacts
    ledger: Ledger
    templates: Templates
    submissions: Submissions
    holds: Holds
    idempotency: IdempotencyKeys
    leases: QueueLeases
    told: AtsInbox
    letters: AtsNotices
    data_keys: DataKeys
    erasures: Erasures

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, keys: KeyRing) -> AsyncIterator["Stores"]:
        """Open a migrated store, and close it at the end of the block.

        Raises ``SetupError`` when the schema is not that of this release, and whatever ``Database.open`` raises.
        """
        database = await Database.open(url)
        try:
            if not await database.read(is_current_within):
                raise SetupError("The store's schema is not that of this release: run `rapport migrate` first")
            yield cls.on(database, keys)
        finally:
            await database.close()

    @classmethod
    def on(cls, database: Database, keys: KeyRing) -> "Stores":
        """Every repository on a database that is open."""
        database.veil(keys)
        return cls(
            database=database,
            keys=keys,
            registry=EngagementRegistry(database, keys),
            contacts=Contacts(database, keys),
            ledger=Ledger(database, keys),
            templates=Templates(database),
            submissions=Submissions(database),
            holds=Holds(database),
            idempotency=IdempotencyKeys(database),
            leases=QueueLeases(database),
            told=AtsInbox(database, keys),
            letters=AtsNotices(database, keys),
            erasures=Erasures(database, keys),
            data_keys=DataKeys(database, keys),
        )
