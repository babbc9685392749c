"""A repeated REST request hears what the first one heard; another request may not borrow its key."""

import pytest

from domain.errors import Conflict
from domain.retention import KeptKind, RetentionTerms
from store.idempotency import Remembered
from store.retention import Retention
from store.stores import Stores
from tests.unit.store.samples import HOUR, NOON

FIRST = Remembered(fingerprint="f-1", status=201, response='{"ok": true}', created_at=NOON)


async def test_an_answer_is_recalled_within_its_tenant(stores: Stores) -> None:
    assert await stores.idempotency.recall("acme", "k", "f-1") is None
    assert await stores.idempotency.remember("acme", "k", FIRST) == FIRST
    assert await stores.idempotency.recall("acme", "k", "f-1") == FIRST
    assert await stores.idempotency.recall("other", "k", "f-1") is None


async def test_the_first_answer_stays(stores: Stores) -> None:
    await stores.idempotency.remember("acme", "k", FIRST)
    assert await stores.idempotency.remember("acme", "k", FIRST.model_copy(update={"status": 200})) == FIRST


async def test_a_key_is_not_lent_to_another_request(stores: Stores) -> None:
    await stores.idempotency.remember("acme", "k", FIRST)
    with pytest.raises(Conflict):
        await stores.idempotency.recall("acme", "k", "f-2")
    with pytest.raises(Conflict):
        await stores.idempotency.remember("acme", "k", FIRST.model_copy(update={"fingerprint": "f-2"}))


async def test_old_answers_are_forgotten(stores: Stores) -> None:
    await stores.idempotency.remember("acme", "old", FIRST)
    await stores.idempotency.remember("acme", "new", FIRST.model_copy(update={"created_at": NOON + HOUR}))
    retention = Retention(stores.database, stores.keys, clock=lambda: NOON + HOUR + RetentionTerms().requests)
    assert (await retention.drop())[KeptKind.REQUESTS] == 1
    assert await stores.idempotency.recall("acme", "old", "f-1") is None
    assert await stores.idempotency.recall("acme", "new", "f-1") is not None
