"""What we depend on is named, explained and pinned."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: list[str]) -> set[str]:
    """Names without versions and extras: an extra of a package is no other package."""
    return {re.split(r"[\[<>=;~! ]", line, maxsplit=1)[0] for line in requirements}


def explained(section: str) -> dict[str, str]:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    part = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^- `([a-z0-9-]+)`: (.+)$", part, re.MULTILINE))


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_every_dependency_is_explained_and_nothing_else_is() -> None:
    at_run_time = names(PROJECT["project"]["dependencies"])
    for_development = names(PROJECT["dependency-groups"]["dev"]) - at_run_time

    assert set(explained("At run time")) == at_run_time
    assert set(explained("For development")) == for_development
    reasons = {**explained("At run time"), **explained("For development")}
    assert {name: reason for name, reason in reasons.items() if len(reason.split()) < 2} == {}


def test_every_dependency_is_pinned_and_every_pin_has_hashes() -> None:
    assert names(PROJECT["project"]["dependencies"]) <= set(pinned("requirements.lock"))
    assert names(PROJECT["dependency-groups"]["dev"]) <= set(pinned("requirements-dev.lock"))
    for lock in ("requirements.lock", "requirements-dev.lock", "requirements-uv.lock"):
        text = (ROOT / lock).read_text()
        assert len(re.findall(r"^[a-z0-9-]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pinned(lock)) > 0
        assert "://" not in text


def test_what_runs_is_the_same_in_both_lock_files() -> None:
    runs, develops = pinned("requirements.lock"), pinned("requirements-dev.lock")

    assert {name: develops.get(name) for name in runs} == runs


def test_the_build_backend_is_the_one_that_is_pinned() -> None:
    assert PROJECT["build-system"]["requires"] == [f"hatchling=={pinned('requirements-dev.lock')['hatchling']}"]
