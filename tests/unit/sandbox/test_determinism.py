"""The same seed and the same script give the same ids and the same events in the same order."""

import asyncio

from sandbox.ids import Mint
from tests.unit.sandbox.playground import JsonObject, playing, settings

NUMBERS = [f"316000000{last}" for last in ("01", "91", "92", "93", "94", "95", "96", "97", "98")]


async def a_month(seed: str, *, at_once: bool) -> list[JsonObject]:
    async with playing(settings(seed=seed)) as play:
        await play.fault("duplicate", "webhook:flowRuns:finished", persona="answers", options={"new_id": True})
        await play.fault("reorder", "webhook:flowRuns:running", persona="declines")
        if at_once:
            await asyncio.gather(*(play.start(number, f"att_{number}") for number in reversed(NUMBERS)))
        else:
            for number in NUMBERS:
                await play.start(number, f"att_{number}")
        await play.advance(days=30)
        return [hook.body for hook in play.receiver.hooks]


async def test_two_runs_of_the_same_script_are_told_in_the_same_words() -> None:
    first, second = await a_month("one", at_once=False), await a_month("one", at_once=False)
    assert len(first) > 40
    assert first == second


async def test_another_seed_gives_other_ids() -> None:
    def ids(told: list[JsonObject]) -> set[str]:
        return {str(body["data"]["id"]) for body in told}  # type: ignore[index,call-overload] # JSON

    assert not ids(await a_month("one", at_once=False)) & ids(await a_month("two", at_once=False))


async def test_ids_do_not_depend_on_which_request_came_first() -> None:
    def facts(told: list[JsonObject]) -> list[str]:
        return sorted(str(body) for body in told)

    assert facts(await a_month("one", at_once=True)) == facts(await a_month("one", at_once=False))


def test_ids_are_opaque_and_no_uuids() -> None:
    ids = {Mint("seed").id("run", number) for number in range(100)}
    assert len(ids) == 100
    assert {len(found) for found in ids} == {36}
    assert all(set(found) - set("0123456789abcdef-") for found in ids)
