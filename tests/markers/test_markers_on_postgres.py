"""The same life with the store on PostgreSQL, whose dump is searched in place of files."""

from pathlib import Path

import pytest

from tests.markers import test_markers as asked
from tests.postgres import fresh_database

pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(600)]


async def test_nothing_of_anybody_is_read_in_a_dump(postgres: str, tmp_path: Path) -> None:
    with fresh_database(postgres) as url:
        record = await asked.live(tmp_path, url)
    await asked.test_everybody_came_to_the_end_of_their_case(record)
    await asked.test_without_a_key_nothing_of_anybody_is_read_anywhere(record)
    await asked.test_with_the_keys_all_of_it_is_there_so_the_search_can_find(record)
    await asked.test_the_lines_of_the_audit_hold_nothing_of_anybody(record)
    await asked.test_once_everybody_is_erased_the_master_key_opens_nothing_of_them(record)
    await asked.test_the_keys_that_were_destroyed_are_nowhere_any_more(record)
    await asked.test_the_last_words_of_every_process_hold_nothing_either(record)
