"""An engagement that goes over to another line is judged for that line, and found there from then on."""

import pytest

from domain.calls import Admission, LineOfAccount
from domain.contacts import OptOut, OptOutScope
from domain.events import OptOutReceived, ProviderEvent, Ties
from store.correlations import Correlations, Sighting
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.store.samples import A_PHONE, NOON, a_row, an_admission

pytestmark = pytest.mark.asyncio

OVER = LineOfAccount(account="second", provider="meta")
THERE = ("nl-2", "second", "meta")


async def engaged(stores: Stores, reference: str = "a-1", line: str = "nl-1") -> str:
    contact_id = await stores.contacts.resolve([A_PHONE])
    await stores.registry.register(a_row(contact_id, reference=reference, line=line))
    assert (await stores.contacts.admit(an_admission(contact_id, reference=reference, line=line))).admitted
    return contact_id


async def goes_over(stores: Stores, contact_id: str) -> Admission:
    request = an_admission(contact_id, line="nl-2")
    return await stores.contacts.admit(request.model_copy(update={"goes_over_to": OVER}))


async def where(stores: Stores) -> tuple[str, str, str]:
    row = await stores.registry.get("acme", "a-1")
    assert row is not None
    return row.line, row.account, row.provider


async def test_it_is_found_on_the_other_line_and_leaves_the_first_free(stores: Stores, keys: KeyRing) -> None:
    contact_id = await engaged(stores)
    assert (await goes_over(stores, contact_id)).admitted
    assert await where(stores) == THERE
    assert (await goes_over(stores, contact_id)).admitted, "repeating is harmless"
    sighting = Sighting.of(
        ProviderEvent(
            key="e", occurred_at=NOON, ties=Ties(), sender=(A_PHONE,), body=OptOutReceived(scope="line", text="STOP")
        ),
        keys,
        thread_may_tie=True,
    )
    correlations = Correlations(stores.database)
    assert not (await correlations.find("main", [sighting])).engaged
    (found,) = (await correlations.find("second", [sighting])).engaged[contact_id]
    assert found.line == "nl-2"
    await stores.registry.register(a_row(contact_id, reference="a-2"))
    assert (await stores.contacts.admit(an_admission(contact_id, reference="a-2"))).admitted


async def test_an_opt_out_of_the_other_line_keeps_it_where_it_is(stores: Stores) -> None:
    contact_id = await engaged(stores)
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.LINE, scope_value="nl-2", source="cli", at=NOON))
    assert (await goes_over(stores, contact_id)).rule == "opted-out"
    assert await where(stores) == ("nl-1", "main", "recrubo")
    assert (await stores.contacts.admit(an_admission(contact_id))).admitted, "on the first line it stays admitted"


async def test_an_opt_out_of_the_first_line_does_not_reach_the_other(stores: Stores) -> None:
    contact_id = await engaged(stores)
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.LINE, scope_value="nl-1", source="cli", at=NOON))
    assert (await goes_over(stores, contact_id)).admitted
    assert await where(stores) == THERE


async def test_a_person_who_is_busy_on_the_other_line_is_refused_there(stores: Stores) -> None:
    contact_id = await engaged(stores)
    await engaged(stores, "a-2", "nl-2")
    assert (await goes_over(stores, contact_id)).rule == "already-busy"
    assert await where(stores) == ("nl-1", "main", "recrubo")
