"""Sides take turns."""

import pytest

from bench.interleaving import Measure, interleaved


async def test_each_side_is_measured_in_each_round_and_none_always_begins() -> None:
    turns: list[str] = []

    def side(name: str) -> Measure[str]:
        async def measure(number: int) -> str:
            turns.append(f"{name}{number}")
            return f"{name}{number}"

        return measure

    seen = await interleaved({"a": side("a"), "b": side("b")}, 3)
    assert turns == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert seen == {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"]}


async def test_a_side_that_fails_ends_the_run() -> None:
    async def fails(_: int) -> int:
        raise RuntimeError("the receiver closed a connection")

    async def works(_: int) -> int:
        return 1

    with pytest.raises(RuntimeError, match="closed a connection"):
        await interleaved({"works": works, "fails": fails}, 2)
