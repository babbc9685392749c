"""What a process loads when it starts: what only others need stays out, since every start would pay for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from store.migrate import upgrade

ROOT = Path(__file__).parents[3]

STARTED = """
import asyncio, sys
from starter.cli import _load
from starter.cli.commands import COMMANDS
from store.keys import KeyRing
from store.migrate import upgrade
from store.stores import Stores

async def opened(url):
    async with Stores.open(url, KeyRing.generate()) as stores:
        await stores.database.leave_no_trace([])

_load(sys.argv[1], COMMANDS[sys.argv[1]])
upgrade(sys.argv[2])
asyncio.run(opened(sys.argv[2]))
print(*sys.modules)
"""

LOADED = """
import sys
from starter.cli import _load
from starter.cli.commands import COMMANDS
_load(sys.argv[1], COMMANDS[sys.argv[1]])
print(*sys.modules)
"""

FOR_OTHERS = {
    "alembic": "only a store that is not up to date is migrated",
    "mako": "comes with alembic",
    "psycopg": "the store is a SQLite file",
    "sqlalchemy.dialects.postgresql": "the store is a SQLite file",
    "jwt": "only the codec server reads tokens of identities",
    "cryptography.x509": "nobody here looks at a certificate",
    "providers.meta.kind": "no account is Meta's",
    "providers.recrubo.kind": "no account is Recrubo's",
    "providers.truora.kind": "no account is Truora's",
}


def modules(program: str, *words: str) -> set[str]:
    """What is loaded once ``program`` has run."""
    done = subprocess.run([sys.executable, "-c", program, *words], check=True, cwd=ROOT, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["worker", "gateway"])
def test_a_process_on_a_file_that_is_up_to_date_loads_nothing_for_others(name: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    upgrade(url)
    loaded = modules(STARTED, name, url)
    assert loaded & FOR_OTHERS.keys() == set()
    assert {f"starter.cli.run.{name}", "sqlalchemy.dialects.sqlite", "providers.registry"} <= loaded


def test_the_sandbox_loads_neither_temporal_nor_the_store() -> None:
    loaded = modules(LOADED, "sandbox")
    assert loaded & {"temporalio", "sqlalchemy", "starter.cli.auditing"} == set()
    assert "sandbox.serve" in loaded
