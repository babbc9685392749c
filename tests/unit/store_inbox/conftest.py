"""The same stores as for the gateway, of each kind of database."""

from collections.abc import AsyncIterator

import pytest

from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.conftest import (  # noqa: F401 - fixtures are found by their names in this module
    keys,
    postgres_url,
    sqlite_url,
    url,
)
from tests.unit.gateway.world import World


@pytest.fixture
async def stores(url: str, keys: KeyRing) -> AsyncIterator[Stores]:  # noqa: F811 - the fixtures above
    async with Stores.open(url, keys) as opened:
        yield opened


@pytest.fixture
def world(stores: Stores) -> World:
    return World(stores)
