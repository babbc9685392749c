"""Every way to operate asks for a role or sits at a shell, and leaves exactly one line of who did what.

The routes are those of the application itself, the commands those that ``rapport`` knows: what is added later is
asked the same.
"""

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr
from typer.testing import CliRunner

from domain.errors import NotFound
from domain.export import EngagementExport
from domain.ids import spoken
from domain.topology import AccessToken, Role
from runtime.temporal import connect
from starter.audit import EVENT, LOOKS, record
from starter.cli import _load, app
from starter.cli.auditing import LOOKS as COMMANDS_THAT_LOOK
from starter.cli.auditing import leaves
from starter.cli.commands import COMMANDS, PROCESSES
from starter.doors import MOST_BYTES, Needs
from starter.engine import Engine
from starter.erasure import ErasureService
from starter.routes import create_rest_app
from starter.tokens import AccessTokens, FailureLimit
from store.stores import Stores
from tests.unit.starter.world import KEYS, NOWHERE, PHONE, sealing_plugin, service_on

Lines = list[MutableMapping[str, Any]]
TOKENS = {role: f"{role.value}-token-" + "0" * 16 for role in Role}
MARKER = "Zebulon-marker"


def entry(name: str, *roles: Role) -> AccessToken:
    return AccessToken(name=name, tenant="acme", token="env:A", roles=frozenset(roles))


ACCESS = AccessTokens([(entry(role.value, role), SecretStr(token)) for role, token in TOKENS.items()])


@pytest.fixture
async def rest(url: str) -> AsyncIterator[FastAPI]:
    """Every route that there is; Temporal is away."""
    async with Stores.open(url, KEYS) as stores:
        client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
        erasing = ErasureService(stores.erasures, stores.contacts, stores.registry, Engine(client))
        yield create_rest_app(
            service_on(stores, client),
            ACCESS,
            stores.idempotency,
            told=stores.told,
            erasing=erasing,
            exporting=NothingToExport(),
            failures=FailureLimit(burst=1_000),
        )


class NothingToExport:
    """Exports no engagement."""

    async def export(self, tenant: str, reference: str) -> EngagementExport:
        raise NotFound(f"tenant {tenant} has no engagement {reference}")


def operations(rest: FastAPI) -> list[tuple[str, str, APIRoute, Role]]:
    """Method, path with something in the place of each name, route, and the role that it is for."""
    found = []
    for route in rest.routes:
        if not isinstance(route, APIRoute):
            continue
        path = route.path_format.format_map(dict.fromkeys(route.param_convertors, "app-nobody"))
        (role,) = [one.call.role for one in route.dependant.dependencies if isinstance(one.call, Needs)]
        found += [(method, path, route, role) for method in route.methods or ()]
    return found


def actions(logs: Lines) -> list[tuple[str, ...]]:
    names = ("who", "role", "tenant", "what", "result")
    return [tuple(line[name] for name in names) for line in logs if line["event"] == EVENT]


def client_of(rest: FastAPI, token: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"} if token else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(rest), base_url="http://rapport", headers=headers)


async def test_no_route_answers_without_its_role_and_each_refusal_is_one_line(rest: FastAPI, logs: Lines) -> None:
    assert len(operations(rest)) >= 15
    for method, path, route, role in operations(rest):
        what = route.operation_id or route.name
        for token in ("", "x" * 20, TOKENS[role][:-1], TOKENS[role] + "0"):
            async with client_of(rest, token) as nobody:
                assert (await nobody.request(method, path, content=b"{}")).status_code == 401, (method, path)
        assert actions(logs) == [], "nobody is known who could have done it"
        for other in set(Role) - {role}:
            async with client_of(rest, TOKENS[other]) as caller:
                refused = await caller.request(method, path, content=b"{}")
            allowed = other.value, role.value, "acme", what, "refused 403"
            wanted = [] if what in LOOKS else [allowed]
            if refused.status_code == 422:  # the body or the name was wrong, which is told first
                wanted = [(*allowed[:-1], "refused 422")]
            assert (refused.status_code in (403, 422), actions(logs)) == (True, wanted), (method, path)
            logs.clear()


BODIES = {"empty": b"{}", "cut": b"{", "a list": b"[]", "a text": b'"x"', "no text": b"\xff", "deep": b"[" * 50_000}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
async def test_each_request_of_somebody_known_leaves_one_line_however_it_ends(
    rest: FastAPI, logs: Lines, content: bytes
) -> None:
    for method, path, route, role in operations(rest):
        async with client_of(rest, TOKENS[role]) as caller:
            answer = await caller.request(method, path, content=content)
        assert answer.status_code in (200, 202, 400, 404, 422, 503), (method, path, answer.text)
        what = route.operation_id or route.name
        result = "done" if answer.status_code < 400 else f"refused {answer.status_code}"
        wanted = [] if what in LOOKS else [(role.value, role.value, "acme", what, result)]
        assert actions(logs) == wanted, (method, path)
        logs.clear()


async def test_a_body_is_read_for_those_who_may_come_in_and_not_without_end(rest: FastAPI, logs: Lines) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b" " * (256 * 1024)

    async def asked(token: str, content: AsyncIterator[bytes] | bytes, **headers: str) -> int:
        async with client_of(rest, token) as caller:
            return (await caller.post("/v1/engagements", content=content, headers=headers)).status_code

    assert (await asked("x" * 20, endless()), taken) == (401, 0)
    assert await asked(TOKENS[Role.OPERATE], endless()) == 413
    assert taken <= MOST_BYTES // (256 * 1024) + 1
    told = str(100 * 1024 * 1024)
    assert await asked(TOKENS[Role.OPERATE], b"{}", **{"content-length": told}) == 413
    assert [line[4] for line in actions(logs)] == ["refused 413", "refused 413"]


async def test_only_the_description_is_open_and_what_is_not_there_is_told_to_nobody(rest: FastAPI) -> None:
    async with client_of(rest, "") as nobody:
        answers = {path: (await nobody.get(path)).status_code for path in ("/v1/openapi.json", "/v1/docs")}
        hidden = {
            path: (await nobody.get(path)).status_code for path in ("/", "/v1", "/v1/nothing", "/v1/docs/x", "//")
        }
    assert set(answers.values()) == {200}
    assert set(hidden.values()) == {401}


async def test_failures_are_counted_over_all_routes_and_a_valid_token_waits_too(url: str) -> None:
    async with Stores.open(url, KEYS) as stores:
        client = await connect(sealing_plugin(), address=NOWHERE, lazy=True)
        failures = FailureLimit(burst=5, clock=lambda: 0.0)
        limited = create_rest_app(service_on(stores, client), ACCESS, stores.idempotency, failures=failures)
        paths = [path for method, path, _, _ in operations(limited) if method == "POST"][:5]
        async with client_of(limited, "wrong" * 5) as guesser:
            assert [(await guesser.post(path, content=b"{}")).status_code for path in paths] == [401] * 5
        async with client_of(limited, TOKENS[Role.READ]) as reader:
            waits = await reader.get("/v1/engagements")
    assert (waits.status_code, int(waits.headers["retry-after"]) > 0) == (429, True)


@pytest.mark.parametrize("typed", ["31612345678", "06-12345678", "06.12.34.56.78", "31-6-1234-5678", "0031:612345678"])
def test_a_number_where_a_reference_belongs_is_in_no_line_and_no_error(typed: str, logs: Lines) -> None:
    record(who="olga", role="shell", tenant="acme", what="stop", reference=typed, result="done")
    assert [line["reference"] for line in logs] == [""]
    assert typed not in spoken(typed)


@pytest.mark.parametrize("reference", ["4711", "a-1", "app-2026-000123", "ct_0123456789abcdef", "2026-000123"])
def test_what_is_no_number_is_told(reference: str, logs: Lines) -> None:
    record(who="olga", role="shell", tenant="acme", what="stop", reference=reference, result="done")
    assert [line["reference"] for line in logs] == [reference]
    assert spoken(reference) == reference


def commands() -> list[tuple[str, Any]]:
    return [leaf for name, listed in COMMANDS.items() for leaf in leaves(name, _load(name, listed))]


OPERATING = sorted(words for words, _ in commands() if words not in COMMANDS_THAT_LOOK | PROCESSES)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What was given to be recorded; a command sets its own logging up, so that nobody else hears it there."""
    lines: list[dict[str, str]] = []
    monkeypatch.setattr("starter.cli.auditing.record", lambda **line: lines.append(line))
    return lines


@pytest.mark.parametrize("words", OPERATING)
def test_each_command_leaves_one_line_however_it_ends(
    words: str, told: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAPPORT_CONFIG", "/nowhere/rapport.yaml")
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOWHERE)
    for more in ([], ["--nonsense", MARKER, PHONE]):
        CliRunner().invoke(app, [*words.split(), *more])
        (line,) = told
        assert (bool(line["who"]), line["role"], line["what"]) == (True, "shell", words)
        assert line["result"] in ("misspelt", "SetupError", "BadInput", "done") or line["result"].startswith("ended")
        assert MARKER not in repr(line)
        told.clear()
    helped = CliRunner().invoke(app, [*words.split(), "--help"])
    assert (helped.exit_code, told) == (0, [])


def test_a_shell_whose_user_has_no_name_is_a_number(monkeypatch: pytest.MonkeyPatch, logs: Lines) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("starter.cli.auditing.getpass.getuser", nameless)
    CliRunner().invoke(app, ["stop"])
    ((who, *_),) = actions(logs)
    assert who.startswith("uid-")
