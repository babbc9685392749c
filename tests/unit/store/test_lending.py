"""A database that was lent before is as good as a new one, or it is not lent again."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.databases import Lending
from tests.postgres import conninfo


@pytest.fixture
def own(postgres: str, migrated_database: str) -> Iterator[Lending]:
    """A lending of this test's own."""
    lending = Lending(postgres, migrated_database)
    yield lending
    lending.close()


def database(url: str) -> psycopg.Connection:
    return psycopg.connect(conninfo(url), autocommit=True)


def rows_by_table(url: str) -> dict[str, int]:
    with database(url) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        counted = {t: connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(t))) for t in tables}
        return {table: (found.fetchone() or (0,))[0] for table, found in counted.items()}


def test_rows_and_counters_of_one_test_are_gone_for_the_next(own: Lending) -> None:
    add = "INSERT INTO store_host (one, machine, hostname) VALUES (1, 'm', 'h')"
    with own.lend() as first, database(first) as connection:
        connection.execute(add)
        (sequence,) = connection.execute("SELECT sequencename FROM pg_sequences LIMIT 1").fetchone() or ("",)
        for _ in range(3):
            connection.execute("SELECT nextval(%s::regclass)", [sequence])
    with own.lend() as second:
        assert second == first, "it was lent again"
        assert {table for table, rows in rows_by_table(second).items() if rows} == {"alembic_version"}
        with database(second) as connection:
            assert connection.execute("SELECT nextval(%s::regclass)", [sequence]).fetchone() == (1,)


def test_two_at_once_have_one_each(own: Lending) -> None:
    with own.lend() as one, own.lend() as other:
        assert one != other


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE holds DROP COLUMN actor",
        "CREATE TABLE another (one int)",
        "CREATE INDEX another ON holds (actor)",
        "UPDATE alembic_version SET version_num = '0000'",
    ],
)
def test_one_whose_schema_a_test_has_changed_is_not_lent_again(own: Lending, change: str) -> None:
    with own.lend() as first, database(first) as connection:
        connection.execute(change)
    with own.lend() as second:
        assert second != first


def test_connections_that_a_test_forgot_are_ended(own: Lending) -> None:
    with own.lend() as url:
        forgotten = database(url)
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")
    forgotten.close()
