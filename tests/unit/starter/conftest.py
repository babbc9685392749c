"""A real dev server for the whole session, and a fresh store for each test."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from runtime.dev_server import DevServer
from tests.logged import logging_put_back
from tests.unit.starter.world import World, open_world
from workflows import search_attributes


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set must not decide a test."""
    for name in list(os.environ):
        if name.startswith(("RAPPORT_", "TEMPORAL_")) and name != "TEMPORAL_CLI":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged, in place of writing it; what a command configures is undone."""
    with logging_put_back(), capture_logs() as captured:
        yield captured


@pytest.fixture(scope="session")
def temporal() -> Iterator[str]:
    """Address of a dev server that knows our search attributes."""
    server = asyncio.run(DevServer.start(search_attributes=search_attributes.ALL))
    yield server.address
    asyncio.run(server.stop())


@pytest.fixture
def url(migrated_file: Path, tmp_path: Path) -> str:
    """A migrated, empty store."""
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    return f"sqlite:///{file}"


@pytest.fixture
def ref() -> str:
    """A reference that no other test uses: the server is shared."""
    return f"app-{uuid.uuid4().hex[:12]}x"


@pytest.fixture
async def world(url: str, temporal: str) -> AsyncIterator[World]:
    async with open_world(url, temporal) as opened:
        yield opened
