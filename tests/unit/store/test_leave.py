"""How far an opt-out reaches at the claim, and what becomes of a person's second application."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calls import Admission
from domain.contacts import OptOut, OptOutScope, Reach
from domain.errors import PolicyRefused, Scope
from domain.plans import WhenBusy
from domain.sends import LedgerState, SendFailure, TemplateReading, TemplateStatus
from store.stores import Stores
from tests.unit.store.samples import A_PHONE, HOUR, NOON, a_close, a_row, a_send, an_admission

MARKETED = TemplateReading(template_status=TemplateStatus.APPROVED, provider_id="tpl-1", category="MARKETING")


async def _registered(stores: Stores, *references: str) -> str:
    contact_id = await stores.contacts.resolve([A_PHONE])
    for reference in references:
        await stores.registry.register(a_row(contact_id, reference=reference))
    return contact_id


@pytest.mark.parametrize(("category", "leaves"), [("MARKETING", False), ("UTILITY", True), ("", False)])
async def test_an_opt_out_from_marketing_stops_marketing_and_what_nobody_knows_the_category_of(
    stores: Stores, category: str, *, leaves: bool
) -> None:
    contact_id = await _registered(stores, "a-1")
    reading = MARKETED.model_copy(update={"category": category})
    await stores.templates.write("main", a_send(contact_id).template, reading, NOON)
    stop = OptOut(scope=OptOutScope.MARKETING, scope_value="nl-1", source="preference", at=NOON)
    await stores.contacts.opt_out(contact_id, stop)
    assert (await stores.contacts.admit(an_admission(contact_id))).admitted, "other templates may still leave"
    if leaves:
        await stores.ledger.claim(a_send(contact_id))
    else:
        with pytest.raises(PolicyRefused) as refused:
            await stores.ledger.claim(a_send(contact_id))
        assert refused.value.code == "opted-out"


async def test_lifting_an_opt_out_from_marketing_leaves_a_typed_stop_in_force(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    for scope in (OptOutScope.LINE, OptOutScope.MARKETING):
        await stores.contacts.opt_out(contact_id, OptOut(scope=scope, scope_value="nl-1", source="word", at=NOON))
    await stores.contacts.opt_in(contact_id, OptOutScope.MARKETING, "nl-1", NOON + HOUR)
    with pytest.raises(PolicyRefused):
        await stores.ledger.claim(a_send(contact_id, at=NOON + 2 * HOUR))
    record = await stores.contacts.record(contact_id)
    assert {(one.scope, one.lifted_at is None) for one in record.opt_outs} == {
        (OptOutScope.LINE, True),
        (OptOutScope.MARKETING, False),
    }, "the evidence of both is kept"


async def test_a_provider_that_refused_marketing_is_not_asked_again(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    await stores.templates.write("main", a_send(contact_id).template, MARKETED, NOON)
    claim = await stores.ledger.claim(a_send(contact_id))
    failure = SendFailure(scope=Scope.RECIPIENT, code="131050", reason="stopped", suppress=True)
    await stores.ledger.settle(claim, LedgerState.REJECTED, None, failure, NOON)
    with pytest.raises(PolicyRefused) as refused:
        await stores.ledger.claim(a_send(contact_id, n=2, at=NOON + HOUR))
    assert refused.value.code == "opted-out"


async def test_the_second_application_follows_its_plan(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2")
    assert (await stores.contacts.admit(an_admission(contact_id, exclusive=False))).admitted
    second = an_admission(contact_id, reference="a-2", line="be-1", exclusive=False)

    async def asked(when_busy: WhenBusy) -> Admission:
        return await stores.contacts.admit(second.model_copy(update={"when_busy": when_busy}))

    queued = await asked(WhenBusy.QUEUE)
    assert (queued.admitted, queued.queued, queued.rule) == (False, True, "queued")
    assert (await asked(WhenBusy.QUEUE)).queued, "nothing is decided while it waits"
    await stores.registry.close(a_close(contact_id))
    assert (await asked(WhenBusy.QUEUE)).admitted


async def test_a_second_application_is_refused_for_good_where_the_plan_refuses(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2")
    await stores.contacts.admit(an_admission(contact_id, exclusive=False))
    second = an_admission(contact_id, reference="a-2", exclusive=False)
    refused = await stores.contacts.admit(second.model_copy(update={"when_busy": WhenBusy.REFUSE}))
    assert (refused.admitted, refused.rule) == (False, "already-busy")
    await stores.registry.close(a_close(contact_id))
    assert not (await stores.contacts.admit(second)).admitted, "a decision stands"


@given(
    st.sampled_from(OptOutScope),
    st.sampled_from(["acme", "nl-1", "acme:nurse", "", "nurse"]),
    st.builds(
        Reach,
        tenant=st.sampled_from(["acme", "globex"]),
        line=st.sampled_from(["nl-1", "be-1"]),
        job=st.sampled_from(["", "nurse", "cook"]),
        category=st.sampled_from([None, "", "MARKETING", "UTILITY"]),
    ),
)
def test_an_opt_out_covers_by_the_words_of_its_scope(scope: OptOutScope, value: str, reach: Reach) -> None:
    covers = {
        OptOutScope.ALL: value == "",
        OptOutScope.TENANT: value == reach.tenant,
        OptOutScope.LINE: value == reach.line,
        OptOutScope.MARKETING: value == reach.line and reach.category in ("", "MARKETING"),
        OptOutScope.JOB: bool(reach.job) and value == f"{reach.tenant}:{reach.job}",
    }
    assert OptOut(scope=scope, scope_value=value, source="x", at=NOON).covers(reach) == covers[scope]
