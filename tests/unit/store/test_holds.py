"""Holds as gates and operators see them, and pauses."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from domain.holds import HoldRow
from domain.ids import paused_scope
from store.holds import Pause, PauseScope, hold_within
from store.stores import Stores
from store.tables import holds
from tests.unit.store.samples import HOUR, NOON

LINE, ACCOUNT = "line:nl-1", "account:main"
MINUTE = timedelta(minutes=1)


def _hold(until: datetime | None = None, at: datetime = NOON, **told: str) -> HoldRow:
    return HoldRow(**({"scope_key": LINE, "reason": "throttled"} | told), until=until, at=at)


async def test_holds_are_listed_while_they_are_in_force(stores: Stores) -> None:
    short = _hold(NOON + HOUR, code="130429")
    endless = _hold(scope_key=ACCOUNT, reason="401", actor="kim")
    await stores.holds.hold(short)
    await stores.holds.hold(endless)
    assert await stores.holds.active(NOON) == (endless, short)
    assert await stores.holds.active(NOON + HOUR) == (endless,)
    await stores.holds.lift(ACCOUNT)
    await stores.holds.lift(ACCOUNT)
    assert await stores.holds.active(NOON + HOUR) == ()


async def test_the_first_scope_asked_for_that_is_held_is_told(stores: Stores) -> None:
    line, account = _hold(NOON + HOUR), _hold(scope_key=ACCOUNT)
    await stores.holds.hold(line)
    await stores.holds.hold(account)
    assert await stores.holds.standing([LINE, ACCOUNT], NOON) == line
    assert await stores.holds.standing([ACCOUNT, LINE], NOON) == account
    assert await stores.holds.standing([LINE, ACCOUNT], NOON + HOUR) == account
    assert await stores.holds.standing([LINE], NOON + HOUR) is None
    assert await stores.holds.standing([], NOON) is None


@pytest.mark.parametrize(
    "newer",
    [
        _hold(None, NOON + MINUTE, code="131031", reason="locked"),
        _hold(NOON + 2 * HOUR, NOON + MINUTE, code="131048", reason="spam limit"),
        _hold(NOON + 2 * MINUTE, NOON + MINUTE, reason="only until the phone is back", actor="kim"),
    ],
    ids=["without-end", "longer", "by-a-person"],
)
async def test_a_newer_hold_replaces_an_older_one_and_ends_its_trial(stores: Stores, newer: HoldRow) -> None:
    await stores.holds.hold(_hold(NOON + HOUR, code="130429"))
    await stores.holds.let_try(LINE, "engagement:acme:a-1")
    await stores.holds.hold(newer)
    assert await stores.holds.active(NOON) == (newer,)


async def test_a_hold_that_was_told_late_does_not_replace_a_newer_one(stores: Stores) -> None:
    newer = _hold(NOON + HOUR, NOON + MINUTE)
    await stores.holds.hold(newer)
    await stores.holds.let_try(LINE, "engagement:acme:a-1")
    await stores.holds.hold(_hold(None, NOON, reason="refused"))
    assert await stores.holds.active(NOON) == (newer.model_copy(update={"trial": "engagement:acme:a-1"}),)


@pytest.mark.parametrize("until", [None, NOON + HOUR])
async def test_a_throttle_never_shortens_what_holds_longer(stores: Stores, until: datetime | None) -> None:
    longer = _hold(until, code="131048", reason="spam limit")
    await stores.holds.hold(longer)
    await stores.holds.let_try(LINE, "engagement:acme:a-1")
    await stores.holds.hold(_hold(NOON + 2 * MINUTE, NOON + MINUTE, code="130429"))
    assert await stores.holds.active(NOON) == (longer,), "and the trial was refused, so it is over"


async def test_one_engagement_may_try_and_the_last_one_named_is_it(stores: Stores) -> None:
    await stores.holds.let_try(LINE, "engagement:acme:a-1")
    assert await stores.holds.active(NOON) == ()
    await stores.holds.hold(_hold())
    for tried in ("engagement:acme:a-1", "engagement:acme:a-2"):
        await stores.holds.let_try(LINE, tried)
    assert await stores.holds.active(NOON) == (_hold(trial="engagement:acme:a-2"),)


A_HOLD = st.builds(
    lambda at, length, actor: _hold(None if length is None else at + length * MINUTE, at, actor=actor),
    at=st.integers(0, 5).map(lambda n: NOON + n * MINUTE),
    length=st.none() | st.integers(1, 10),
    actor=st.sampled_from(["", "", "", "kim"]),
)


@given(told=st.lists(A_HOLD, min_size=1, max_size=8))
def test_whatever_is_told_in_whatever_order_only_a_person_shortens_a_hold(told: list[HoldRow]) -> None:
    engine = create_engine("sqlite://")
    stood: list[HoldRow] = []
    with engine.begin() as connection:
        holds.create(connection)
        for hold in told:
            hold_within(connection, hold)
            row = connection.execute(holds.select()).mappings().one()
            stood.append(HoldRow.model_validate(dict(row)))
    engine.dispose()
    for (before, after), hold in zip(pairwise(stood), told[1:], strict=True):
        assert after.at >= before.at
        if _end(after) < _end(before):
            assert hold.actor
            assert after == hold
        if hold.at >= before.at:
            assert _end(after) >= _end(hold), "what was told last holds at least as long as it says"


def _end(hold: HoldRow) -> datetime:
    return hold.until or NOON + 1000 * HOUR


async def test_pauses_are_listed_until_they_are_lifted(stores: Stores) -> None:
    pause = Pause(scope=PauseScope.LINE, scope_value="nl-1", reason="complaint", actor="kim", at=NOON)
    await stores.holds.pause(pause)
    await stores.holds.pause(pause)
    assert await stores.holds.pauses() == (pause,)
    await stores.holds.resume(PauseScope.TENANT, "nl-1")
    assert await stores.holds.pauses() == (pause,)
    await stores.holds.resume(PauseScope.LINE, "nl-1")
    assert await stores.holds.pauses() == ()


async def test_a_pause_stands_under_its_own_key_with_who_and_why_until_it_is_resumed(stores: Stores) -> None:
    key = paused_scope("tenant", "acme")
    assert await stores.holds.standing([key], NOON) is None
    await stores.holds.pause(
        Pause(scope=PauseScope.TENANT, scope_value="acme", reason="contract", actor="kim", at=NOON)
    )
    stands = await stores.holds.standing([LINE, key], NOON + HOUR)
    assert stands is not None
    assert (stands.scope_key, stands.until, stands.actor, stands.at) == (key, None, "kim", NOON)
    assert stands.reason == "tenant acme is paused since 2026-03-02T12:00:00+00:00 by kim: contract"
    assert await stores.holds.standing([paused_scope("line", "acme")], NOON) is None
    await stores.holds.resume(PauseScope.TENANT, "acme")
    assert await stores.holds.standing([key], NOON) is None


async def test_a_gate_that_opens_lifts_no_pause(stores: Stores) -> None:
    key = paused_scope("line", "nl-1")
    pause = Pause(scope=PauseScope.LINE, scope_value="nl-1", reason="complaint", actor="kim", at=NOON)
    await stores.holds.pause(pause)
    await stores.holds.let_try(key, "engagement:acme:a-1")
    await stores.holds.lift(key)
    assert await stores.holds.pauses() == (pause,), "only a resume does: a pause that was set anew meanwhile counts"
