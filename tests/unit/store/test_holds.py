"""Holds and pauses as an operator sees them."""

from store.holds import Hold, Pause, PauseScope
from store.stores import Stores
from tests.unit.store.samples import HOUR, NOON


async def test_holds_are_listed_while_they_are_in_force(stores: Stores) -> None:
    short = Hold(scope_key="line:nl-1", until=NOON + HOUR, reason="throttled", at=NOON)
    endless = Hold(scope_key="account:main", reason="401", actor="kim", at=NOON)
    await stores.holds.hold(short)
    await stores.holds.hold(endless)
    assert await stores.holds.active(NOON) == (endless, short)
    assert await stores.holds.active(NOON + HOUR) == (endless,)
    await stores.holds.release("account:main")
    await stores.holds.release("account:main")
    assert await stores.holds.active(NOON + HOUR) == ()


async def test_a_newer_hold_replaces_an_older_one(stores: Stores) -> None:
    await stores.holds.hold(Hold(scope_key="line:nl-1", until=NOON, reason="throttled", at=NOON))
    newer = Hold(scope_key="line:nl-1", reason="blocked", actor="kim", at=NOON + HOUR)
    await stores.holds.hold(newer)
    assert await stores.holds.active(NOON + HOUR) == (newer,)


async def test_pauses_are_listed_until_they_are_lifted(stores: Stores) -> None:
    pause = Pause(scope=PauseScope.LINE, scope_value="nl-1", reason="complaint", actor="kim", at=NOON)
    await stores.holds.pause(pause)
    await stores.holds.pause(pause)
    assert await stores.holds.pauses() == (pause,)
    await stores.holds.resume(PauseScope.TENANT, "nl-1")
    assert await stores.holds.pauses() == (pause,)
    await stores.holds.resume(PauseScope.LINE, "nl-1")
    assert await stores.holds.pauses() == ()
