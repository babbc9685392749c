"""Meta: in whatever order its webhooks come, each has its one effect and no other."""

import random

import pytest

from tests.permutations.permute import permute, stage_at

EVERYTHING = {"relayed", "late", "unmatched", "COMPLETED", "UNREACHABLE", "NO_REPLY"}
"""States of events and outcomes that must occur among so many orders, or the orders are not what they should be."""


@pytest.mark.timeout(600)
async def test_thousands_of_orders_have_exactly_the_effects_that_the_model_says(sqlite_url: str) -> None:
    async with stage_at(sqlite_url) as stage:
        occurred = await permute(stage, "meta", 2_000, random.getrandbits(32))
    assert occurred.keys() >= EVERYTHING


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_many_thousands_of_orders_have_exactly_the_effects_that_the_model_says(sqlite_url: str) -> None:
    async with stage_at(sqlite_url) as stage:
        await permute(stage, "meta", 10_000, random.getrandbits(32))
