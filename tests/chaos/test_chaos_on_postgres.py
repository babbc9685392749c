"""The same chaos with what several machines would share: PostgreSQL, two gateways, two workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import Shape
from tests.chaos.run import chaos
from tests.chaos.script import Size
from tests.chaos.test_short_chaos import SEED, check, say
from tests.postgres import fresh_database

pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """An empty database, gone afterwards."""
    with fresh_database(postgres) as url:
        yield url


async def test_nothing_is_lost_doubled_or_crossed_where_gateways_and_workers_share_a_store(
    database: str, tmp_path: Path
) -> None:
    size = Size(engagements=204, kills=32, seed=SEED)
    say(f"{size}")
    check(await chaos(size, Shape(workers=2, gateways=2, store_url=database), tmp_path, say), size)
