"""In which form a message leaves: chosen in the claim, by when the person last wrote to that very line."""

from datetime import timedelta

import pytest

from domain.errors import ProviderRejected
from domain.free_form import MARGIN, WINDOW, FreeFormMessage, MessageForm
from domain.sends import LedgerState, Send, SendFailure, SendReceipt
from store.stores import Stores
from tests.unit.store.samples import A_PHONE, HOUR, NOON, a_send

FREE = FreeFormMessage(text="Hi Ada", button="Open")


@pytest.fixture
async def contact_id(stores: Stores) -> str:
    return await stores.contacts.resolve([A_PHONE])


def a_free_send(contact_id: str, **more: object) -> Send:
    return a_send(contact_id).model_copy(update={"free_form": FREE, **more})


async def test_a_send_that_has_no_other_form_is_not_asked_which(stores: Stores, contact_id: str) -> None:
    await stores.contacts.record_inbound(contact_id, "nl-1", NOON - HOUR)
    claim = await stores.ledger.claim(a_send(contact_id))
    assert (claim.form, claim.inbound_at) == (None, None)


@pytest.mark.parametrize(
    ("ago", "form"),
    [
        (None, MessageForm.TEMPLATE),
        (3 * HOUR, MessageForm.FREE_FORM),
        (WINDOW - MARGIN - timedelta(seconds=1), MessageForm.FREE_FORM),
        (WINDOW - MARGIN, MessageForm.TEMPLATE),
        (48 * HOUR, MessageForm.TEMPLATE),
    ],
)
async def test_the_last_message_of_the_person_decides_at_the_moment_of_the_claim(
    stores: Stores, contact_id: str, ago: timedelta | None, form: MessageForm
) -> None:
    leaves = NOON + 5 * HOUR  # what was wanted at noon has come to its turn
    wrote = None if ago is None else leaves - ago
    if wrote is not None:
        await stores.contacts.record_inbound(contact_id, "nl-1", wrote)
    claim = await stores.ledger.claim(a_free_send(contact_id), leaves)
    entry = await stores.ledger.find(claim.key)
    assert entry is not None
    assert (claim.form, claim.inbound_at) == (entry.form, entry.inbound_at) == (form, wrote)


async def test_what_the_person_wrote_to_another_line_opens_nothing_here(stores: Stores, contact_id: str) -> None:
    await stores.contacts.record_inbound(contact_id, "be-1", NOON - HOUR)
    assert (await stores.ledger.claim(a_free_send(contact_id))).form is MessageForm.TEMPLATE


async def test_what_did_not_leave_is_chosen_anew_when_it_is_claimed_again(stores: Stores, contact_id: str) -> None:
    await stores.contacts.record_inbound(contact_id, "nl-1", NOON - HOUR)
    claim = await stores.ledger.claim(a_free_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.NOT_SENT, None, None, NOON)
    again = await stores.ledger.claim(a_free_send(contact_id), NOON + 24 * HOUR)
    assert (claim.form, again.form) == (MessageForm.FREE_FORM, MessageForm.TEMPLATE)


async def test_the_row_remembers_for_whoever_claims_again_in_which_form_it_left(
    stores: Stores, contact_id: str
) -> None:
    await stores.contacts.record_inbound(contact_id, "nl-1", NOON - HOUR)
    claim = await stores.ledger.claim(a_free_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.SENT, SendReceipt(message_id="m-1"), None, NOON)
    earlier = (await stores.ledger.claim(a_free_send(contact_id), NOON + 48 * HOUR)).earlier
    assert earlier is not None
    assert (earlier.message_id, earlier.form, earlier.inbound_at) == ("m-1", MessageForm.FREE_FORM, NOON - HOUR)


@pytest.mark.parametrize("wrote", [True, False])
async def test_a_refusal_that_stands_in_the_row_says_which_form_was_refused(
    stores: Stores, contact_id: str, *, wrote: bool
) -> None:
    if wrote:
        await stores.contacts.record_inbound(contact_id, "nl-1", NOON - HOUR)
    claim = await stores.ledger.claim(a_free_send(contact_id))
    await stores.ledger.settle(claim, LedgerState.REJECTED, None, SendFailure(code="131047"), NOON)
    with pytest.raises(ProviderRejected) as told:
        await stores.ledger.claim(a_free_send(contact_id))
    assert (told.value.code, told.value.free_form) == ("131047", wrote)
