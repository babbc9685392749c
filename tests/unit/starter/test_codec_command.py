"""``rapport codec-server``: what it refuses to begin with, line by line."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from domain.errors import RapportError
from starter.cli import app
from store.keys import KeyRing
from store.stores import Stores

KEY, OTHER, PEPPER = "01" * 32, "02" * 32, "03" * 32
GIVEN = {"RAPPORT_KEYS__MASTER": KEY, "RAPPORT_KEYS__PEPPER": PEPPER}
TOKEN = ("--token", "auditor=env:AUDITOR")
Run = Callable[..., Result]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where a server came up; it ends at once."""
    where: list[tuple[str, int]] = []

    class Ends:
        def __init__(self, config: object) -> None:
            assert getattr(config, "proxy_headers", True) is False, "an address that a caller claims is not believed"
            where.append((getattr(config, "host", ""), getattr(config, "port", -1)))

        async def serve(self) -> None:
            return None

    monkeypatch.setattr("starter.cli.run.codec_server.uvicorn.Server", Ends)
    return where


@pytest.fixture
def rapport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: str, **environment: str) -> Result:
        monkeypatch.setenv("RAPPORT_STATE_DIR", str(tmp_path))
        result = CliRunner().invoke(app, ["codec-server", *words], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit | RapportError), result.exception
        return result

    return run


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_for_development_it_serves_this_machine(rapport: Run, served: list[tuple[str, int]], host: str) -> None:
    done = rapport("--dev", RAPPORT_CODEC__HOST=host, RAPPORT_CODEC__PORT="8099")
    assert (done.exit_code, served) == (0, [(host, 8099)]), done.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "codec.example", "127.0.0.1.evil.example"])
def test_for_development_it_listens_to_nobody_else(rapport: Run, served: list[tuple[str, int]], host: str) -> None:
    refused = rapport("--dev", RAPPORT_CODEC__HOST=host)
    assert (refused.exit_code, served) == (1, [])
    assert "listens on 127.0.0.1 only" in refused.stderr


def test_for_development_it_takes_no_keys_but_the_generated_ones(rapport: Run, served: list[tuple[str, int]]) -> None:
    refused = rapport("--dev", **GIVEN)
    assert (refused.exit_code, "--dev serves development keys only" in refused.stderr, served) == (1, True, [])
    assert KEY not in refused.output
    half = rapport("--dev", RAPPORT_KEYS__MASTER=KEY)
    former = rapport("--dev", RAPPORT_KEYS__FORMER=KEY)
    assert (half.exit_code, former.exit_code, served) == (1, 1, [])
    shared = rapport("--dev", RAPPORT_STORE__URL="postgresql://nobody@127.0.0.1:1/x")
    assert (shared.exit_code, "keys that others have" in shared.stderr.replace("\n", " "), served) == (1, True, [])


def test_for_development_it_takes_no_tokens(rapport: Run, served: list[tuple[str, int]]) -> None:
    refused = rapport("--dev", *TOKEN, AUDITOR="a" * 20)
    assert (refused.exit_code, "not together with --dev" in refused.stderr, served) == (2, True, [])


@pytest.mark.parametrize(
    ("words", "environment", "why"),
    [
        ((), {}, "somebody who may read"),
        (TOKEN, {"AUDITOR": "short"}, "shorter than 16"),
        (TOKEN, {}, "the environment variable is not set"),
        (("--token", "auditor"), {}, "must be name=env:VARIABLE"),
        (("--token", "auditor=" + "s" * 20), {}, "is neither"),
        ((), {"RAPPORT_CODEC__OIDC_ISSUER": "https://login.example"}, "OIDC_AUDIENCE"),
    ],
    ids=["nobody", "short", "not set", "no name", "no reference", "half an issuer"],
)
def test_elsewhere_it_needs_somebody_who_may_read(
    rapport: Run, served: list[tuple[str, int]], words: tuple[str, ...], environment: dict[str, str], why: str
) -> None:
    refused = rapport(*words, **GIVEN, **environment)
    assert (refused.exit_code in (1, 2), served) == (True, [])
    assert why in refused.stderr
    assert "s" * 20 not in refused.output


def test_elsewhere_it_serves_whoever_has_a_token(rapport: Run, served: list[tuple[str, int]]) -> None:
    done = rapport(*TOKEN, AUDITOR="a" * 20, RAPPORT_CODEC__HOST="0.0.0.0", **GIVEN)
    assert (done.exit_code, served) == (0, [("0.0.0.0", 8082)]), done.output


def test_without_a_master_key_of_its_store_it_does_not_begin(
    rapport: Run, served: list[tuple[str, int]], url: str
) -> None:
    ring = KeyRing(bytes.fromhex(OTHER), bytes.fromhex(PEPPER))

    async def make_a_key() -> None:
        async with Stores.open(url, ring) as stores:
            await stores.data_keys.service_key()

    asyncio.run(make_a_key())
    store = {"AUDITOR": "a" * 20, "RAPPORT_STORE__URL": url}
    refused = rapport(*TOKEN, **store, **GIVEN)
    assert (refused.exit_code, ring.current_id in refused.stderr, served) == (1, True, [])
    taken = rapport(*TOKEN, **store, **GIVEN, RAPPORT_KEYS__FORMER=OTHER)
    assert (taken.exit_code, len(served)) == (0, 1)
