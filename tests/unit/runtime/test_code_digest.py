"""The digest that tells which code the workflows of a process run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import code_digest as module
from runtime.code_digest import code_digest


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    code_digest.cache_clear()
    yield
    code_digest.cache_clear()


def test_code_that_decides_differently_has_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("domain", "workflows", "gateway"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "one.py").write_text("A = 1\n")
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    digests = []
    for package in ("", "gateway", "domain", "workflows"):
        (tmp_path / package / "one.py").write_text("A = 2\n")
        code_digest.cache_clear()
        digests.append(code_digest())
    first, other, domain, workflows = digests
    assert first == other, "what takes webhooks decides nothing"
    assert len({first, domain, workflows}) == 3
