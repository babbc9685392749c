"""The composition gives what the ports of the domain ask for."""

from domain.ports import ContactPolicy, EngagementArchive, SendLedger, TemplateStates
from store.stores import Stores


async def test_the_store_answers_the_ports(stores: Stores) -> None:
    policy: ContactPolicy = stores.contacts
    ledger: SendLedger = stores.ledger
    archive: EngagementArchive = stores.registry
    templates: TemplateStates = stores.templates
    assert {type(port).__name__ for port in (policy, ledger, archive, templates)} == {
        "Contacts",
        "Ledger",
        "EngagementRegistry",
        "Templates",
    }
    await stores.database.ready()
