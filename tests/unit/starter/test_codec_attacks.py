"""The codec server under attack: whatever it is sent, it shows nothing, tells nothing, breaks nothing."""

import asyncio
import base64
import json
import shutil
import tracemalloc
from collections.abc import AsyncIterator, Callable, Collection, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from google.protobuf import json_format
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload, Payloads

from runtime.codec_desk import CodecDesk
from runtime.codec_requests import AT_ONCE, MOST_BYTES, MOST_PARTS, MOST_PAYLOADS
from runtime.codec_server import create_codec_app
from runtime.keyed_codec import key_id_of
from starter.codec_access import CodecEntrance
from starter.tokens import AccessTokens, FailureLimit, ServiceTokens
from store.candidate_keys import DataKey, DataKeys, destroy_within
from store.stores import Stores
from tests.databases import Lending
from tests.unit.starter.test_codec_access import (
    ACME,
    GLOBEX,
    SERVICE,
    TOKENS,
    WORD,
    Sealed,
    decoded,
    sealed_in,
    served,
    shown,
)
from tests.unit.starter.world import KEYS, NOW

MIB = 1024 * 1024
UI = "https://temporal.example"
HYPOTHESIS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


class WatchedKeys(DataKeys):
    """Data keys that note which of them were opened."""

    opened: list[str]

    async def open(self, key_id: str) -> DataKey:
        self.opened.append(key_id)
        return await super().open(key_id)


@dataclass
class Town:
    """The server, what is sealed in its store, and a client that sends no token of its own."""

    app: FastAPI
    ask: httpx.AsyncClient
    sealed: Sealed
    keys: WatchedKeys
    stores: Stores


@pytest.fixture
async def stores(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Stores]:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    async with Stores.open(f"sqlite:///{file}", KEYS) as opened:
        yield opened


@pytest.fixture
async def town(stores: Stores) -> AsyncIterator[Town]:
    services = ServiceTokens([("auditor", SecretStr(SERVICE))])
    entrance = CodecEntrance(TOKENS, services, failures=FailureLimit(burst=10_000))
    keys = WatchedKeys(stores.database, KEYS)
    keys.opened = []
    app = create_codec_app(CodecDesk(keys, KEYS), [UI], entrance)
    transport = httpx.ASGITransport(app, client=("10.0.0.7", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://codec.example") as ask:
        yield Town(app, ask, await sealed_in(stores), keys, stores)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def page(*payloads: Payload) -> str:
    return json_format.MessageToJson(Payloads(payloads=payloads))


# --- altered payloads -------------------------------------------------------------------------------------------------

Alter = Callable[[Payload], Payload]


def with_data(change: Callable[[bytes], bytes]) -> Alter:
    return lambda one: Payload(metadata=dict(one.metadata), data=change(one.data))


def with_metadata(**changes: bytes | None) -> Alter:
    def altered(one: Payload) -> Payload:
        kept = {name: value for name, value in one.metadata.items() if name not in changes}
        return Payload(metadata=kept | {k: v for k, v in changes.items() if v is not None}, data=one.data)

    return altered


def flipped(place: int, mask: int) -> Alter:
    return with_data(lambda data: bytes(b ^ mask if n == place % len(data) else b for n, b in enumerate(data)))


KEY_IDS = st.binary(max_size=80) | st.sampled_from(
    [b"", b"dk_", b"dk_\x00", b"dk_nobody\x00", b"\xff" * 29, b"dk_" + b"a" * 26, b"dk_" + b"a" * 5000, b"dk_' or 1=1"]
)
ENCODINGS = st.binary(max_size=20) | st.sampled_from([b"binary/encrypted ", b"BINARY/ENCRYPTED", b"json/plain", b""])
ALTERED: st.SearchStrategy[Alter] = st.one_of(
    st.builds(flipped, st.integers(0, 4000), st.integers(1, 255)),
    st.integers(1, 60).map(lambda n: with_data(lambda data: data[:-n])),
    st.integers(1, 60).map(lambda n: with_data(lambda data: data[n:])),  # the nonce is too short, all else has moved
    st.binary(min_size=1, max_size=20).map(lambda more: with_data(lambda data: more + data)),
    st.binary(min_size=1, max_size=20).map(lambda more: with_data(lambda data: data + more)),
    st.binary(max_size=60).map(lambda other: with_data(lambda _: other)),
    KEY_IDS.map(lambda kid: with_metadata(kid=kid)),
    st.just(with_metadata(kid=None)),
    ENCODINGS.map(lambda encoding: with_metadata(encoding=encoding)),
    st.just(with_metadata(encoding=None)),
)


@HYPOTHESIS
@given(alter=ALTERED, which=st.integers(0, 4), token=st.sampled_from([ACME, GLOBEX, SERVICE]))
async def test_an_altered_payload_comes_back_as_it_was_sent_to_everybody(
    town: Town, alter: Alter, which: int, token: str
) -> None:
    original = town.sealed.page[which]
    altered = alter(original)
    is_whole = (altered.data, altered.metadata.get("encoding")) == (original.data, original.metadata["encoding"])
    # what an earlier release sealed says in its bytes which key it was: what stands beside them changes nothing
    assume(not (is_whole and original == town.sealed.older and token == SERVICE))
    assert await decoded(town.ask, token, [altered]) == [altered]


@HYPOTHESIS
@given(more=st.dictionaries(st.text(max_size=20), st.binary(max_size=20), max_size=5), token=st.text(max_size=40))
async def test_no_metadata_and_no_token_of_ones_own_opens_what_is_not_ones_own(
    town: Town, more: dict[str, bytes], token: str
) -> None:
    mine = town.sealed.mine
    dressed = Payload(metadata=more | dict(mine.metadata), data=mine.data)
    assert shown(await decoded(town.ask, ACME, [dressed])) == [f'"{WORD}"'], "what else it carries is nobody's"
    assert await decoded(town.ask, GLOBEX, [dressed]) == [dressed]
    raw = {b"authorization": b"Bearer " + token.encode().replace(b"\n", b"").replace(b"\r", b"")}
    refused = await town.ask.post("/decode", content=page(dressed), headers=raw)
    assert (refused.status_code, WORD in refused.text) == (401, False)


# --- an oracle for what others have -----------------------------------------------------------------------------------


async def test_a_foreign_key_an_erased_one_and_one_that_never_was_get_the_same_bytes_and_no_key_is_touched(
    town: Town,
) -> None:
    sealed = town.sealed
    unknown = b"dk_" + b"a" * (len(sealed.theirs.metadata["kid"]) - 3)

    async def answers(foreign: Payload) -> Iterator[tuple[int, list[tuple[str, str]], bytes]]:
        told = []
        for kid in (foreign.metadata["kid"], unknown):
            named = Payload(metadata={"encoding": foreign.metadata["encoding"], "kid": kid}, data=foreign.data)
            answer = await town.ask.post("/decode", content=page(named), headers=bearer(ACME))
            without_kid = answer.content.replace(base64.b64encode(kid), b"KID")
            told.append((answer.status_code, sorted(answer.headers.items()), without_kid))
        return iter(told)

    for foreign in (sealed.theirs, sealed.gate):
        known, absent = await answers(foreign)
        assert known == absent
    await town.stores.database.write(lambda connection: destroy_within(connection, "ct_1", NOW))
    erased, absent = await answers(sealed.theirs)
    assert erased == absent
    assert town.keys.opened == [], "a foreign key is not even unwrapped, so no time passes over it"


async def test_the_key_id_of_a_payload_is_text_that_any_database_takes(town: Town, lending: Lending) -> None:
    strange = [Payload(metadata={"encoding": b"binary/encrypted", "kid": kid}, data=bytes(40)) for kid in STRANGE]
    with lending.lend() as url:
        async with Stores.open(url, KEYS) as stores:
            app = create_codec_app(CodecDesk(stores.data_keys, KEYS), [], CodecEntrance(TOKENS, ServiceTokens([])))
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://codec.example") as ask:
                assert await decoded(ask, ACME, strange) == strange


STRANGE = (b"dk_\x00", b"dk_\xff\xfe", "dk_ä".encode(), b"dk_%", b"dk_'; drop table keys; --")


def test_a_key_id_is_never_more_than_a_line_of_a_log() -> None:
    for kid in (*STRANGE, b"dk_\x1b[31m", b"x" * 1000):
        told = key_id_of(Payload(metadata={"kid": kid}))
        assert told.isascii()
        assert told.isprintable()
        assert len(told) <= 64


# --- bodies -----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PAYLOAD_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(st.sampled_from(["encoding", "kid", "x"]), JSON | st.just("YmluYXJ5"), max_size=3),
        "data": JSON | st.just("AAAA"),
        "externalPayloads": JSON | st.just([{"sizeBytes": "7"}]),
        "@type": JSON,
    },
)


@HYPOTHESIS
@given(body=st.fixed_dictionaries({"payloads": st.lists(PAYLOAD_LIKE | JSON, max_size=3)}) | JSON)
@pytest.mark.parametrize("path", ["/decode", "/encode"])
async def test_whatever_json_it_is_sent_it_answers(town: Town, body: object, path: str) -> None:
    answer = await town.ask.post(path, content=json.dumps(body), headers=bearer(SERVICE))
    assert answer.status_code in (200, 400)


BODIES: dict[str, tuple[Callable[[], bytes], int]] = {
    "many": (lambda: b'{"payloads":[' + b"{}," * 5_000_000 + b"{}]}", 413),
    "wide": (lambda: b'{"payloads":[{"metadata":{' + b'"a":"",' * 2_000_000 + b'"b":""}}]}', 413),
    "brackets": (lambda: b"[" * MOST_BYTES, 413),
    "deep": (lambda: b'{"a":' * 40_000 + b"1" + b"}" * 40_000, 400),
    "a long number": (lambda: b'{"payloads":' + b"9" * 10_000_000 + b"}", 400),
    "one large payload": (lambda: b'{"payloads":[{"data":"' + b"A" * 15_000_000 + b'"}]}', 200),
    "a byte order mark": (lambda: b"\xef\xbb\xbf{}", 400),
    "utf-16": (lambda: '{"payloads":[]}'.encode("utf-16"), 400),
    "no key and value": (lambda: b'{"payloads":[{"metadata":["kid"]}]}', 400),
    "twice": (lambda: b'{"payloads":[],"payloads":[]}', 400),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_costs_little_more_than_its_bytes(town: Town, name: str) -> None:
    made, status = BODIES[name]
    body = made()
    tracemalloc.start()
    try:
        answer = await town.ask.post("/decode", content=body, headers=bearer(ACME))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == status
    assert peak < 8 * MOST_BYTES


def test_what_a_whole_page_of_ours_has_is_far_from_the_bounds() -> None:
    one = Payload(metadata={"encoding": b"binary/encrypted", "kid": b"dk_" + b"a" * 26}, data=bytes(60))
    text = page(*[one] * MOST_PAYLOADS)
    assert sum(text.count(mark) for mark in ",{[") * 3 < MOST_PARTS
    assert len(text) < MOST_BYTES


@dataclass
class Slow:
    """A request at ASGI's own seam, whose body comes when it is told to."""

    app: FastAPI
    chunks: Collection[bytes] = ()
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    headers: Sequence[tuple[bytes, bytes]] = ()
    taken: int = 0
    status: int = 0
    body: bytes = b""

    async def run(self) -> None:
        left = iter(self.chunks)

        async def receive() -> MutableMapping[str, Any]:
            self.taken += 1
            chunk = next(left, None)
            if chunk is None:
                await self.go_on.wait()
                return {"type": "http.request", "body": b"{}", "more_body": False}
            return {"type": "http.request", "body": chunk, "more_body": True}

        async def send(message: MutableMapping[str, Any]) -> None:
            self.status = message.get("status", self.status)
            self.body += message.get("body", b"")

        headers = [(b"authorization", f"Bearer {ACME}".encode()), *self.headers]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/decode",
            "raw_path": b"/decode",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": headers,
            "client": ("10.0.0.7", 50_000),
            "server": ("codec.example", 80),
        }
        await self.app(scope, receive, send)


async def test_of_an_endless_body_no_more_is_taken_than_is_needed_to_refuse_it(town: Town) -> None:
    endless = Slow(town.app, [bytes(MIB)] * 100)
    await endless.run()
    assert (endless.status, endless.taken) == (413, MOST_BYTES // MIB + 1)
    announced = Slow(town.app, headers=[(b"content-length", str(100 * MIB).encode())])
    await announced.run()
    assert (announced.status, announced.taken) == (413, 0)
    lied = Slow(town.app, [bytes(MIB)] * 100, headers=[(b"content-length", b"10")])
    await lied.run()
    assert (lied.status, lied.taken) == (413, MOST_BYTES // MIB + 1)


async def in_hand(crowd: Sequence[Slow]) -> None:
    """Return when as many as may be have come as far as they do by themselves."""
    while sum(one.taken == 2 for one in crowd) < AT_ONCE:  # noqa: ASYNC110 - the requests tell nobody
        await asyncio.sleep(0)
    for _ in range(100):  # whoever else might go on
        await asyncio.sleep(0)


def patient(stores: Stores, patience: float) -> FastAPI:
    entrance = CodecEntrance(TOKENS, ServiceTokens([]))
    return create_codec_app(CodecDesk(stores.data_keys, KEYS), [], entrance, patience=patience)


async def test_few_bodies_are_read_at_once_and_the_others_wait_outside(stores: Stores) -> None:
    go_on, app = asyncio.Event(), patient(stores, 100)
    crowd = [Slow(app, [b" " * MIB], go_on) for _ in range(5 * AT_ONCE)]
    async with asyncio.TaskGroup() as running:
        for one in crowd:
            running.create_task(one.run())
        await in_hand(crowd)
        assert sum(one.taken > 0 for one in crowd) == AT_ONCE
        go_on.set()
    assert {one.status for one in crowd} == {200}


async def test_neither_a_body_nor_a_turn_is_waited_for_without_end(stores: Stores) -> None:
    app = patient(stores, 0.05)
    alone = Slow(app, [b"{"])
    await alone.run()
    assert alone.status == 408
    crowd = [Slow(app, [b" "]) for _ in range(2 * AT_ONCE)]
    await asyncio.gather(*(one.run() for one in crowd))
    assert {one.status for one in crowd} <= {408, 503}


async def test_many_at_once_each_get_their_own(town: Town) -> None:
    async def one(token: str) -> list[str]:
        return shown(await decoded(town.ask, token, [town.sealed.mine, town.sealed.theirs]))

    tokens = [ACME, GLOBEX] * 10
    wanted = {ACME: [f'"{WORD}"', "sealed"], GLOBEX: ["sealed", f'"{WORD}-globex"']}
    assert await asyncio.gather(*map(one, tokens)) == [wanted[token] for token in tokens]


async def raw(port: int, sent: bytes) -> bytes:
    """What comes back on a bare connection that is then given up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(65_536), 10)
    finally:
        writer.close()


async def test_on_a_real_socket_no_lie_about_a_length_harms_the_next_one(stores: Stores) -> None:
    sealed = await sealed_in(stores)
    head = f"POST /decode HTTP/1.1\r\nhost: codec.example\r\nauthorization: Bearer {ACME}\r\n".encode()
    whole = page(sealed.mine).encode()
    async with served(stores) as port:
        too_short = await raw(port, head + b"content-length: 10\r\n\r\n" + whole)
        negative = await raw(port, head + b"content-length: -1\r\n\r\n" + whole)
        too_long = await raw(port, head + b"content-length: 99999999999999999999\r\n\r\n" + whole)
        both = await raw(port, head + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + whole)
        for answer in (too_short, negative, too_long, both):
            assert answer.split(b" ")[1] in (b"400", b"413"), answer
            assert WORD.encode() not in answer
        _, writer = await asyncio.open_connection("127.0.0.1", port)  # one that goes away in the middle
        writer.write(head + b"content-length: 100\r\n\r\n{")
        writer.close()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as ask:
            assert shown(await decoded(ask, ACME, [sealed.mine])) == [f'"{WORD}"']


# --- who asks, and from where -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://temporal.example.evil", "http" + UI[5:]])
@pytest.mark.parametrize("path", ["/decode", "/encode"])
async def test_a_page_of_another_origin_gets_nothing_even_with_a_token(town: Town, origin: str, path: str) -> None:
    headers = bearer(SERVICE) | {"origin": origin}
    answer = await town.ask.post(path, content=page(town.sealed.mine), headers=headers)
    assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)
    assert WORD not in answer.text


async def test_temporal_ui_gets_its_answer_and_is_told_why_it_gets_none(town: Town) -> None:
    headers = {"origin": UI, "content-type": "application/json; charset=utf-8"}
    shown_to_ui = await town.ask.post("/decode", content=page(town.sealed.mine), headers=headers | bearer(ACME))
    refused = await town.ask.post("/decode", content=page(town.sealed.mine), headers=headers)
    assert (shown_to_ui.status_code, refused.status_code) == (200, 401)
    assert {one.headers["access-control-allow-origin"] for one in (shown_to_ui, refused)} == {UI}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ";"])
async def test_what_says_that_it_is_no_json_is_not_read(town: Town, kind: str) -> None:
    headers = bearer(ACME) | {"content-type": kind}
    answer = await town.ask.post("/decode", content=page(town.sealed.mine), headers=headers)
    assert answer.status_code == (200 if kind == ";" else 415), "a kind that is not named is none"


@pytest.mark.parametrize("namespace", [None, "", "default", "another", "+31 6 1234 5678", "\x1b[31m", "n" * 500])
async def test_a_namespace_opens_nothing_closes_nothing_and_is_noted_only_where_it_is_a_name(
    town: Town, logs: list[MutableMapping[str, Any]], namespace: str | None
) -> None:
    headers = bearer(ACME) | ({} if namespace is None else {"x-namespace": namespace})
    answer = await town.ask.post("/decode", content=page(town.sealed.mine, town.sealed.theirs), headers=headers)
    assert shown(list(json_format.Parse(answer.content, Payloads()).payloads)) == [f'"{WORD}"', "sealed"]
    (line,) = [one for one in logs if one["event"] == "codec_answered"]
    assert line["namespace"] == (namespace or "" if namespace in (None, "", "default", "another") else "(not a name)")


@pytest.mark.parametrize(("method", "path"), [("GET", "/decode"), ("PUT", "/encode"), ("POST", "/"), ("GET", "/docs")])
async def test_there_is_nothing_else_to_ask(town: Town, method: str, path: str) -> None:
    answer = await town.ask.request(method, path, headers=bearer(SERVICE))
    assert answer.status_code in (404, 405)


async def test_a_store_that_is_away_is_told_and_nothing_more(town: Town) -> None:
    await town.stores.database.close()
    answer = await town.ask.post("/decode", content=page(town.sealed.mine), headers=bearer(ACME))
    assert (answer.status_code, answer.headers["retry-after"], WORD in answer.text) == (503, "5", False)


def test_tokens_are_compared_whole_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def watched(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return known == given

    monkeypatch.setattr("starter.tokens.hmac.compare_digest", watched)
    services = ServiceTokens([("a", SecretStr("a" * 16)), ("b", SecretStr("b" * 16))])
    for known, count in ((TOKENS.caller, 3), (services.name_of, 2)):
        for given_token in (ACME, "a" * 16, "nobody", "", "é", "a" * 100_000):
            compared.clear()
            known(given_token)
            assert (len(compared), {len(one) for one in compared}) == (count, {32})
    assert AccessTokens([]).caller("") is None


def test_an_ipv6_network_is_one_guesser_and_a_mapped_address_the_one_that_it_is() -> None:
    failures = FailureLimit(burst=3, clock=lambda: 0.0)
    for n in range(3):
        failures.failed(f"2001:db8:0:1::{n:x}")
    assert failures.wait("2001:db8:0:1:ffff::1") > 0
    assert failures.wait("2001:db8:0:2::1") == 0
    for _ in range(3):
        failures.failed("::ffff:10.0.0.1")
    assert (failures.wait("10.0.0.1") > 0, failures.wait("10.0.0.2")) == (True, 0)
    failures.failed("not an address")
    assert failures.wait("not an address") == 0
