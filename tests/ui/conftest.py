"""One town and one browser for all tests that look at Temporal UI."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.ui.audited import Audited, open_audited
from tests.ui.browser import NO_BROWSER, Page, chromium, find_chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def audited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Audited]:
    """Engagements of every kind, and the UI to look at them."""
    async with open_audited(Path(tmp_path_factory.mktemp("audited"))) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    """A tab of a headless browser."""
    program = find_chromium()
    if program is None:
        pytest.skip(NO_BROWSER)
    async with chromium(program) as browser:
        yield await browser.page()
