"""The composition gives what the ports of the domain ask for."""

from domain.ports import ContactPolicy, EngagementArchive, HoldRows, SendLedger, TemplateStates, TemplateSubmissions
from store.stores import Stores


async def test_the_store_answers_the_ports(stores: Stores) -> None:
    policy: ContactPolicy = stores.contacts
    ledger: SendLedger = stores.ledger
    archive: EngagementArchive = stores.registry
    templates: TemplateStates = stores.templates
    holds: HoldRows = stores.holds
    submissions: TemplateSubmissions = stores.submissions
    assert {type(port).__name__ for port in (policy, ledger, archive, templates, holds, submissions)} == {
        "Contacts",
        "Ledger",
        "EngagementRegistry",
        "Templates",
        "Holds",
        "Submissions",
    }
    await stores.database.ready()
