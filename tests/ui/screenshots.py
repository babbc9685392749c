"""Makes the pictures of docs/audit.md out of the real Temporal UI: ``python -m tests.ui.screenshots``."""

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import structlog

from tests.ui.audited import ERASED, FINISHED, HELD, UNKNOWN, WAITING, Audited, open_audited
from tests.ui.browser import NO_BROWSER, WIDTH, Page, chromium, find_chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGES: dict[str, tuple[str, str, str, int]] = {
    "held": (HELD, "user-metadata", "Last decisions", 950),
    "held-timeline": (HELD, "timeline", "ensure-template-approved", 1120),
    "waiting": (WAITING, "user-metadata", "Last decisions", 1430),
    "unknown": (UNKNOWN, "user-metadata", "Last decisions", 950),
    "finished-timeline": (FINISHED, "timeline", "open-thread", 1300),
    "erased": (ERASED, "timeline", "close as DECLINED", 1200),
}
"""Engagement, tab, what the page says once it is there, and its height."""
QUERY = "Tenant = 'acme' AND ExecutionStatus = 'Running'"
COLUMNS = ("Workflow ID", "EngagementStage", "HoldRule", "NeedsHuman", "WaitingSince")
"""Of the list of workflows, as its own dialogue puts them there."""


async def main() -> int:
    """Make all of them. 1 where there is no browser."""
    program = find_chromium()
    if program is None:
        print(NO_BROWSER, file=sys.stderr)  # noqa: T201 - a command tells what it did
        return 1
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.CRITICAL)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        async with open_audited(Path(directory)) as audited, chromium(program) as browser:
            await take(audited, await browser.page())
    return 0


async def take(audited: Audited, page: Page) -> None:
    """Take every picture."""
    audited.admit_development()
    for name, (reference, tab, wanted, height) in PAGES.items():
        await page.open(audited.page_of(reference, tab))
        await page.reads(wanted)
        await page.settles(wanted)
        await shot(page, name, height)
    columns = json.dumps({"default": [{"label": label} for label in COLUMNS]})
    await page.evaluate(f"localStorage.setItem('namespace-workflow-table-columns', {json.dumps(columns)})")
    await page.open(f"{audited.ui_url}/namespaces/default/workflows?query={quote(QUERY)}")
    await page.settles("reconciling")
    await shot(page, "list", 560, width=1720)
    audited.admit_tenants()  # and the page has no token
    await page.open(audited.page_of(WAITING, "timeline"))
    await page.settles("open-thread")
    await shot(page, "sealed", 1120)


async def shot(page: Page, name: str, height: int, *, width: int = WIDTH) -> None:
    """Take one picture."""
    file = IMAGES / f"{name}.png"
    await page.picture(file, width=width, height=height)
    print(f"{file.relative_to(IMAGES.parents[1])}: {file.stat().st_size // 1024} KiB")  # noqa: T201 - a command tells what it did


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
