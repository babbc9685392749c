"""The codec server: opens for those who may ask, and survives whatever it is sent."""

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload, Payloads

from domain.errors import SetupError
from runtime.codec import ENCODING, AesGcmCodec
from runtime.codec_desk import CodecDesk, Reader
from runtime.codec_requests import MOST_BYTES, MOST_PAYLOADS
from runtime.codec_server import (
    DevelopmentEntrance,
    NotAuthenticated,
    create_codec_app,
    require_loopback,
)
from store.stores import Stores
from tests.unit.runtime.conftest import KEYS

UI = "http://127.0.0.1:8233"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')


class OneToken:
    """Lets in who says the word."""

    async def admit(self, authorization: str, client: str) -> Reader:
        if authorization != "Bearer the-word":
            raise NotAuthenticated
        return Reader("auditor", tenant=None)


@pytest.fixture
async def desk(migrated_file: Path, tmp_path: Path) -> AsyncIterator[CodecDesk]:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    async with Stores.open(f"sqlite:///{file}", KEYS) as stores:
        yield CodecDesk(stores.data_keys, KEYS)


@pytest.fixture
def development(desk: CodecDesk) -> FastAPI:
    return create_codec_app(desk, [UI], DevelopmentEntrance())


@pytest.fixture
def guarded(desk: CodecDesk) -> FastAPI:
    return create_codec_app(desk, [UI], OneToken())


def client(app: FastAPI, host: str = "127.0.0.1:8082", peer: str = "127.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 50_000)), base_url=f"http://{host}")


def as_json(payloads: Sequence[Payload]) -> str:
    return json_format.MessageToJson(Payloads(payloads=payloads))


async def test_what_it_encodes_it_decodes(development: FastAPI) -> None:
    async with client(development) as ask:
        sealed = await ask.post("/encode", content=as_json([PLAIN, PLAIN]))
        opened = await ask.post("/decode", content=sealed.content)

    found = json_format.Parse(sealed.content, Payloads()).payloads
    assert [payload.metadata["encoding"] for payload in found] == [ENCODING, ENCODING]
    assert list(json_format.Parse(opened.content, Payloads()).payloads) == [PLAIN, PLAIN]


async def test_it_decodes_what_the_worker_sealed(development: FastAPI) -> None:
    (sealed,) = await AesGcmCodec(KEYS).encode([PLAIN])
    async with client(development) as ask:
        opened = await ask.post("/decode", content=as_json([sealed]), headers={"x-namespace": "default"})

    assert opened.status_code == 200
    assert list(json_format.Parse(opened.content, Payloads()).payloads) == [PLAIN]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"payloads": 7}',
        b'{"payloads": [{"metadata": {"encoding": 5}}]}',
        b'{"unknown": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"payloads":' * 20_000,
    ],
)
@pytest.mark.parametrize("path", ["/decode", "/encode"])
async def test_a_bad_body_is_the_senders_fault(body: bytes, path: str, development: FastAPI) -> None:
    async with client(development) as ask:
        answer = await ask.post(path, content=body)

    assert answer.status_code == 400
    assert answer.json()["message"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=200))
async def test_no_body_at_all_makes_it_fail(development: FastAPI, body: bytes) -> None:
    async with client(development) as ask:
        answer = await ask.post("/decode", content=body)

    assert answer.status_code in (200, 400)


async def test_a_huge_body_is_refused_while_it_is_read(development: FastAPI) -> None:
    async with client(development) as ask:
        answer = await ask.post("/decode", content=b" " * (MOST_BYTES + 1))

    assert answer.status_code == 413


async def test_a_payload_under_another_key_stays_sealed_and_the_rest_is_shown(development: FastAPI) -> None:
    strange = [
        Payload(metadata={"encoding": ENCODING, "kid": kid}, data=b"\x01" + bytes(60)) for kid in (b"x", b"dk_x")
    ]
    (sealed,) = await AesGcmCodec(KEYS).encode([PLAIN])
    async with client(development) as ask:
        answer = await ask.post("/decode", content=as_json([strange[0], sealed, strange[1]]))

    assert list(json_format.Parse(answer.content, Payloads()).payloads) == [strange[0], PLAIN, strange[1]]


async def test_thousands_of_payloads_are_answered_and_too_many_are_refused(development: FastAPI) -> None:
    strange = Payload(metadata={"encoding": ENCODING, "kid": b"dk_nothing"}, data=bytes(30))
    async with client(development) as ask:
        many = await ask.post("/decode", content=as_json([strange] * 1_000))
        too_many = await ask.post("/decode", content=b'{"payloads":[' + b"{}," * MOST_PAYLOADS + b"{}]}")

    assert many.status_code == 200
    assert len(many.json()["payloads"]) == 1_000
    assert too_many.status_code == 413


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic the-word", "the-word"])
async def test_without_a_valid_token_nothing_is_opened(guarded: FastAPI, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    async with client(guarded, host="codec.example") as ask:
        answer = await ask.post("/decode", content=as_json([PLAIN]), headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "hello" not in answer.text


async def test_a_valid_token_opens(guarded: FastAPI) -> None:
    async with client(guarded, host="codec.example", peer="10.0.0.7") as ask:
        answer = await ask.post("/decode", content=as_json([PLAIN]), headers={"authorization": "Bearer the-word"})

    assert answer.status_code == 200


async def test_the_development_server_answers_its_own_machine_only(development: FastAPI) -> None:
    async with client(development, peer="192.168.1.20") as ask:
        answer = await ask.post("/decode", content=as_json([PLAIN]))

    assert answer.status_code == 403


async def test_the_development_server_has_no_other_name(development: FastAPI) -> None:
    async with client(development, host="rebound.example") as ask:
        answer = await ask.post("/decode", content=as_json([PLAIN]))

    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback_is_taken(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "codec.example", ""])
def test_what_others_could_reach_is_refused_for_development(host: str) -> None:
    with pytest.raises(SetupError, match=r"on 127\.0\.0\.1 only"):
        require_loopback(host)


async def preflight(guarded: FastAPI, origin: str) -> httpx.Response:
    async with client(guarded, host="codec.example") as ask:
        return await ask.options(
            "/decode",
            headers={
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type,x-namespace,authorization",
                "access-control-request-private-network": "true",
            },
        )


async def test_a_browser_showing_temporal_ui_may_ask(guarded: FastAPI) -> None:
    answer = await preflight(guarded, UI)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert {"content-type", "x-namespace", "authorization"} <= {
        name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")
    }


async def test_a_browser_showing_anything_else_may_not(guarded: FastAPI) -> None:
    answer = await preflight(guarded, "http://evil.example")

    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
