"""What concerns every test."""

import pytest

SLOW_FIRST = ("tests/e2e/test_production", "tests/e2e/test_demo", "tests/e2e", "tests/unit/gateway", "tests/workflow")
"""Files that take long begin first, or one of the two processes would wait for them at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by weight; within a file the order stays random."""
    items.sort(key=lambda item: next((n for n, start in enumerate(SLOW_FIRST) if item.nodeid.startswith(start)), 99))
