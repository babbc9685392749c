"""``rapport doctor`` and ``rapport migrate`` on real parts: every line says how it stands and what to do."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandbox.serve import running
from sandbox.settings import SandboxSettings
from starter.cli import app

pytestmark = pytest.mark.server

TOPOLOGY = """\
tenants: [{{slug: acme}}]
accounts:
  - slug: acme-recrubo
    provider: recrubo
    base_url: {base_url}
    credential: env:DOCTOR_TOKEN
    webhook_secrets: [env:DOCTOR_WEBHOOK_SECRET]
lines: [{{slug: recruiting, account: acme-recrubo, tenants: [acme]}}]
tokens: [{{name: ats, tenant: acme, token: env:DOCTOR_API_TOKEN, roles: [read]}}]
"""
TOKEN = "a-token-of-the-simulator"


@contextmanager
def simulator() -> Iterator[str]:
    """A simulated provider, in a thread of its own, since the command brings its own event loop."""
    settings = SandboxSettings.model_validate({"accounts": {"recrubo": [{"token": TOKEN}]}})
    up, done, url = threading.Event(), threading.Event(), list[str]()

    async def serve() -> None:
        async with running(settings) as base:
            url.append(base)
            up.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(30)
        yield f"{url[0]}/recrubo/public/v2"
    finally:
        done.set()
        thread.join(30)


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporal: str) -> Iterator[Path]:
    """An environment in which nothing is wrong but that no worker runs and that keys are made for development."""
    with simulator() as base_url:
        config = tmp_path / "rapport.yaml"
        config.write_text(TOPOLOGY.format(base_url=base_url))
        for name, value in {
            "RAPPORT_CONFIG": str(config),
            "RAPPORT_STATE_DIR": str(tmp_path / "state"),
            "TEMPORAL_ADDRESS": temporal,
            "DOCTOR_TOKEN": TOKEN,
            "DOCTOR_WEBHOOK_SECRET": "a-webhook-secret",
            "DOCTOR_API_TOKEN": "an-api-token-0123456789",
        }.items():
            monkeypatch.setenv(name, value)
        yield tmp_path


def findings() -> tuple[int, dict[str, tuple[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    told = json.loads(result.stdout)
    return result.exit_code, {one["part"]: (one["level"], one["text"]) for one in told}


def test_a_set_up_in_order_has_no_fail(set_up: Path) -> None:
    assert CliRunner().invoke(app, ["migrate"]).exit_code == 0

    code, told = findings()

    assert code == 0
    levels = {part: level for part, (level, _) in told.items()}
    assert levels == {
        "settings": "ok",
        "topology": "ok",
        "secrets": "ok",
        "keys": "warn",
        "store": "ok",
        "temporal": "ok",
        "search attributes": "ok",
        "worker": levels["worker"],  # other tests' workers may poll the shared server
        "account acme-recrubo": "ok",
    }


def test_migrating_twice_says_that_nothing_was_to_do(set_up: Path) -> None:
    first, second = CliRunner().invoke(app, ["migrate"]), CliRunner().invoke(app, ["migrate"])

    assert "is at" in first.output
    assert "was up to date" in second.output


def test_a_credential_that_the_provider_refuses_is_a_fail(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_TOKEN", "some-other-token")

    code, told = findings()

    assert code == 1
    level, text = told["account acme-recrubo"]
    assert level == "fail"
    assert "refuses the credential" in text
    assert "some-other-token" not in text


def test_everything_wrong_is_told_at_once(set_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCTOR_API_TOKEN")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")

    code, told = findings()

    assert code == 1
    assert told["secret"] == ("fail", "env:DOCTOR_API_TOKEN: the environment variable is not set")
    assert told["temporal"][0] == "fail"
    assert told["store"][0] == "warn"
    assert told["account acme-recrubo"][0] == "ok"


def test_without_a_configuration_the_doctor_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporal: str
) -> None:
    monkeypatch.setenv("RAPPORT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal)

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert "RAPPORT_CONFIG is not set" in result.output
    assert "Traceback" not in result.output
