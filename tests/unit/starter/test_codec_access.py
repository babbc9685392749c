"""Who sees what through the codec server: by tenant and role, without ever telling what others have."""

import base64
import hashlib
import hmac
import io
import json
import shutil
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.protobuf import json_format
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import WorkflowSerializationContext

from domain.audit import AuditLine
from domain.errors import SetupError
from domain.topology import AccessToken, Role
from runtime.codec import AesGcmCodec
from runtime.codec_desk import CodecDesk
from runtime.codec_server import create_codec_app
from runtime.keyed_codec import KeyedCodec
from runtime.logging import configure_logging
from runtime.oidc import IdentityTokens, identity_tokens
from runtime.settings import CodecSettings, LogFormat, LogLevel
from runtime.temporal import data_converter
from starter.codec_access import CodecEntrance
from starter.tokens import AccessTokens, ServiceTokens
from store.candidate_keys import DataKeys, destroy_within
from store.registry import EngagementRow
from store.stores import Stores
from tests.unit.starter.world import KEYS, NOW

WORD = "Zebulon-marker"
ACME, GLOBEX, ERASER, SERVICE = ("acme-" + "a" * 20, "globex-" + "g" * 20, "eraser-" + "e" * 20, "service-" + "s" * 20)
ISSUER = "https://login.example"

TOKENS = AccessTokens(
    [
        (AccessToken(name=name, tenant=tenant, token="env:X", roles=frozenset({role})), SecretStr(value))
        for name, tenant, role, value in (
            ("acme-reader", "acme", Role.READ, ACME),
            ("globex-reader", "globex", Role.READ, GLOBEX),
            ("acme-eraser", "acme", Role.ERASE, ERASER),
        )
    ]
)
SIGNER = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
OIDC = CodecSettings(oidc_issuer=ISSUER, oidc_audience="rapport-codec", oidc_jwks="file:/nowhere")


def row(tenant: str, reference: str, contact_id: str) -> EngagementRow:
    return EngagementRow(
        tenant=tenant,
        reference=reference,
        workflow_id=f"engagement:{tenant}:{reference}",
        contact_id=contact_id,
        line="main",
        account="acme-meta",
        provider="meta",
        plan="intake",
        fingerprints={"all": "1"},
        created_at=NOW,
    )


async def jwks() -> bytes:
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(SIGNER.public_key())) | {"kid": "k1"}
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "kid": "shared"}
    return json.dumps({"keys": [secret, {"kty": "strange"}, public]}).encode()


def identity(changes: dict[str, object] | None = None, *, key: Any = SIGNER, **how: Any) -> str:
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": "rapport-codec",
        "sub": "u-1",
        "tenant": "acme",
        "roles": ["read"],
        "exp": datetime.now(UTC) + timedelta(days=1),  # longer than any run: no test is passed by age alone
    }
    claims |= changes or {}
    named = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(named, key, **{"algorithm": "ES256", "headers": {"kid": "k1"}} | how)


class Sealed:
    """A page of a history: a payload of each kind."""

    def __init__(self, mine: Payload, line: Payload, theirs: Payload, gate: Payload, older: Payload) -> None:
        self.mine, self.line, self.theirs, self.gate, self.older = mine, line, theirs, gate, older
        cut = Payload(metadata=dict(mine.metadata), data=mine.data[:-1])
        unknown = Payload(metadata=dict(mine.metadata) | {"kid": b"dk_nobody"}, data=mine.data)
        self.page = [mine, line, theirs, gate, older, cut, unknown, Payload(data=b"bare")]


async def sealed_in(stores: Stores) -> Sealed:
    for each in (row("acme", "a-1", "ct_1"), row("globex", "g-1", "ct_1")):  # one person, two tenants
        await stores.registry.register(each)
    whole = data_converter(KeyedCodec(stores.data_keys, KEYS))

    def of(workflow_id: str) -> WorkflowSerializationContext:
        return WorkflowSerializationContext(namespace="default", workflow_id=workflow_id)

    mine, line = await whole.with_context(of("engagement:acme:a-1")).encode([WORD, AuditLine("why")])
    (theirs,) = await whole.with_context(of("engagement:globex:g-1")).encode([WORD + "-globex"])
    (gate,) = await whole.with_context(of("gate:line:main")).encode([WORD + "-gate"])
    (older,) = await data_converter(AesGcmCodec(KEYS)).encode([WORD + "-older"])
    return Sealed(mine, line, theirs, gate, older)


@pytest.fixture
async def stores(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Stores]:
    file = tmp_path / "store.sqlite3"
    shutil.copy(migrated_file, file)
    async with Stores.open(f"sqlite:///{file}", KEYS) as opened:
        yield opened


@pytest.fixture
async def ask(stores: Stores) -> AsyncIterator[httpx.AsyncClient]:
    """The server as browsers reach it, with a token of every kind."""
    entrance = CodecEntrance(TOKENS, ServiceTokens([("auditor", SecretStr(SERVICE))]), IdentityTokens(OIDC, jwks))
    app = create_codec_app(CodecDesk(DataKeys(stores.database, KEYS), KEYS), [], entrance)
    transport = httpx.ASGITransport(app, client=("10.0.0.7", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://codec.example") as opened:
        yield opened


async def decoded(ask: httpx.AsyncClient, token: str, payloads: list[Payload]) -> list[Payload]:
    answer = await ask.post(
        "/decode",
        content=json_format.MessageToJson(Payloads(payloads=payloads)),
        headers={"authorization": f"Bearer {token}", "x-namespace": "default"},
    )
    assert answer.status_code == 200, answer.text
    return list(json_format.Parse(answer.content, Payloads()).payloads)


def shown(payloads: list[Payload]) -> list[str]:
    return [one.data.decode() if one.metadata.get("encoding") == b"json/plain" else "sealed" for one in payloads]


async def test_a_tenant_sees_its_own_and_everything_else_comes_back_as_it_was_sent(
    stores: Stores, ask: httpx.AsyncClient
) -> None:
    page = (await sealed_in(stores)).page

    opened = await decoded(ask, ACME, page)
    assert shown(opened)[:2] == [f'"{WORD}"', '"why"']
    assert opened[2:] == page[2:]

    opened = await decoded(ask, GLOBEX, page)
    assert shown(opened)[2] == f'"{WORD}-globex"'
    assert opened[:2] + opened[3:] == page[:2] + page[3:]


async def test_a_service_token_sees_everything_that_opens_at_all(stores: Stores, ask: httpx.AsyncClient) -> None:
    page = (await sealed_in(stores)).page

    opened = await decoded(ask, SERVICE, page)
    wanted = [f'"{WORD}"', '"why"', f'"{WORD}-globex"', f'"{WORD}-gate"', f'"{WORD}-older"']
    assert shown(opened[:5]) == wanted
    assert opened[5:] == page[5:]


async def test_an_erased_person_is_told_to_their_tenant_and_to_nobody_else(
    stores: Stores, ask: httpx.AsyncClient
) -> None:
    sealed = await sealed_in(stores)
    await stores.database.write(lambda connection: destroy_within(connection, "ct_1", NOW))

    assert shown(await decoded(ask, ACME, [sealed.mine, sealed.line])) == ['"[erased]"', '"why"']
    assert await decoded(ask, GLOBEX, [sealed.mine]) == [sealed.mine]


async def test_only_a_service_token_may_encode(stores: Stores, ask: httpx.AsyncClient) -> None:
    body = json_format.MessageToJson(Payloads(payloads=[Payload(data=b"x")]))
    refused = await ask.post("/encode", content=body, headers={"authorization": f"Bearer {ACME}"})
    taken = await ask.post("/encode", content=body, headers={"authorization": f"Bearer {SERVICE}"})

    assert (refused.status_code, taken.status_code) == (403, 200)


async def test_a_token_without_the_role_read_sees_nothing(ask: httpx.AsyncClient) -> None:
    answer = await ask.post("/decode", content=b"{}", headers={"authorization": f"Bearer {ERASER}"})
    assert answer.status_code == 403


async def test_an_identity_token_of_the_issuer_sees_its_tenants(stores: Stores, ask: httpx.AsyncClient) -> None:
    sealed = await sealed_in(stores)
    opened = await decoded(ask, identity(), [sealed.mine, sealed.theirs])

    assert shown(opened) == [f'"{WORD}"', "sealed"]


PEM = SIGNER.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed_with_the_public_key() -> str:
    """The classic: HS256 with the issuer's public key as if that were a shared secret; PyJWT refuses to make one."""
    head, body, _ = identity().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=").decode()
    mac = hmac.digest(PEM, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(identity({"exp": datetime.now(UTC) - timedelta(minutes=5)}), id="expired"),
        pytest.param(identity({"exp": None}), id="never expires"),
        pytest.param(identity({"aud": "another"}), id="for somebody else"),
        pytest.param(identity({"aud": None}), id="for nobody"),
        pytest.param(identity({"iss": "https://evil.example"}), id="of another issuer"),
        pytest.param(identity({"nbf": datetime.now(UTC) + timedelta(hours=1)}), id="not yet"),
        pytest.param(identity({"sub": None}), id="of nobody"),
        pytest.param(identity({"sub": " "}), id="of a blank"),
        pytest.param(identity({"tenant": None}), id="without a tenant"),
        pytest.param(identity({"tenant": ["acme"]}), id="with a list of tenants"),
        pytest.param(identity({"roles": {"read": True}}), id="with strange roles"),
        pytest.param(identity(key=STRANGER), id="signed by a stranger"),
        pytest.param(identity(headers={"kid": "k2"}), id="under an unknown key id"),
        pytest.param(identity(headers={}), id="without a key id"),
        pytest.param(identity(key=RSA, algorithm="RS256"), id="by another kind of key"),
        pytest.param(identity(key=None, algorithm="none"), id="alg none"),
        pytest.param(
            identity(key=b"secret-secret-secret-secret-secr", algorithm="HS256", headers={"kid": "shared"}),
            id="HS256 with a secret of the set",
        ),
        pytest.param(signed_with_the_public_key(), id="HS256 with the public key"),
        pytest.param(identity()[:-4], id="cut"),
        pytest.param("a.b.c", id="no token at all"),
        pytest.param("é" * 20, id="no ASCII"),
        pytest.param("x." * 20_000, id="long"),
    ],
)
async def test_no_other_identity_token_opens_anything(stores: Stores, ask: httpx.AsyncClient, token: str) -> None:
    sealed = await sealed_in(stores)
    answer = await ask.post(
        "/decode",
        content=json_format.MessageToJson(Payloads(payloads=[sealed.mine])),
        headers={b"authorization": f"Bearer {token}".encode()},
    )
    assert answer.status_code == 401
    assert WORD not in answer.text


async def test_an_identity_without_the_role_read_is_told_so(ask: httpx.AsyncClient) -> None:
    for roles in ([], ["operate"], "operate erase"):
        token = identity({"roles": roles})
        answer = await ask.post("/decode", content=b"{}", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 403


async def test_keys_of_the_issuer_are_read_again_for_a_new_one_but_not_at_everybodys_wish() -> None:
    now, read = [0.0], [0]

    async def source() -> bytes:
        read[0] += 1
        return b'{"keys": []}' if read[0] == 1 else await jwks()

    tokens = IdentityTokens(OIDC, source, clock=lambda: now[0])
    for _ in range(5):
        assert await tokens.identity(identity()) is None
    assert read[0] == 1
    now[0] = 31.0
    assert await tokens.identity(identity()) is not None
    assert read[0] == 2


def test_half_a_setting_of_an_issuer_is_refused() -> None:
    assert identity_tokens(CodecSettings()) is None
    with pytest.raises(SetupError, match="OIDC_AUDIENCE and RAPPORT_CODEC__OIDC_JWKS"):
        identity_tokens(CodecSettings(oidc_issuer=ISSUER))


def test_a_server_that_nobody_could_enter_does_not_start() -> None:
    with pytest.raises(SetupError, match="somebody who may read"):
        CodecEntrance(AccessTokens([]), ServiceTokens([]))
    with pytest.raises(SetupError, match="shorter"):
        ServiceTokens([("auditor", SecretStr("short"))])


def test_a_token_that_is_two_peoples_is_nobodys() -> None:
    """The tenant's reader would see everything, and the log would say that it was the auditor."""
    with pytest.raises(SetupError, match="acme-reader and auditor"):
        CodecEntrance(TOKENS, ServiceTokens([("auditor", SecretStr(ACME))]))
    with pytest.raises(SetupError, match="same value"):
        ServiceTokens([("auditor", SecretStr(SERVICE)), ("script", SecretStr(SERVICE))])


async def test_guessing_is_slowed_down(ask: httpx.AsyncClient) -> None:
    answers = [
        await ask.post("/decode", content=b"{}", headers={"authorization": f"Bearer guess-{n}"}) for n in range(11)
    ]
    assert [one.status_code for one in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_every_use_leaves_a_line_that_says_who_and_how_many_and_nothing_of_what(
    stores: Stores, ask: httpx.AsyncClient, logs: list[MutableMapping[str, Any]]
) -> None:
    sealed = await sealed_in(stores)
    await decoded(ask, ACME, [sealed.mine, sealed.theirs])

    (line,) = [one for one in logs if one["event"] == "codec_answered"]
    told = {name: line[name] for name in ("caller", "tenant", "namespace", "count", "changed")}
    assert told == {"caller": "acme-reader", "tenant": "acme", "namespace": "default", "count": 2, "changed": 1}
    assert WORD not in str(logs)
    assert ACME not in str(logs)


async def test_who_looked_is_on_record_at_every_log_level_and_by_the_name_that_the_issuer_gives(
    stores: Stores, ask: httpx.AsyncClient, logs: list[MutableMapping[str, Any]]
) -> None:
    out, sealed = io.StringIO(), await sealed_in(stores)
    configure_logging(LogFormat.JSON, LogLevel.ERROR, out)  # the fixture of the logs undoes it
    await decoded(ask, identity({"sub": "163840776835432705"}), [sealed.mine])
    await ask.post("/decode", content=b"{}", headers={"authorization": f"Bearer {ERASER}"})
    opened, refused = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (opened["event"], opened["caller"], opened["changed"]) == ("codec_answered", "163840776835432705", 1)
    assert (refused["event"], refused["why"]) == ("codec_refused", "NotEntitled")


@asynccontextmanager
async def served(stores: Stores) -> AsyncIterator[int]:
    """The server on a real socket; gives its port."""
    entrance = CodecEntrance(TOKENS, ServiceTokens([]))
    app = create_codec_app(CodecDesk(stores.data_keys, KEYS), [], entrance)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = server.config
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
        try:
            yield listening.getsockname()[1]
        finally:
            await server.shutdown(sockets=[listening])


async def hundred_megabytes() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield bytes(1024 * 1024)


@pytest.mark.parametrize("told", [True, False])
async def test_a_hundred_megabytes_are_refused_with_and_without_their_length(stores: Stores, *, told: bool) -> None:
    headers = {"authorization": f"Bearer {ACME}"} | ({"content-length": str(100 * 1024 * 1024)} if told else {})
    async with served(stores) as port, httpx.AsyncClient() as http:
        try:
            answer = await http.post(f"http://127.0.0.1:{port}/decode", content=hundred_megabytes(), headers=headers)
            assert answer.status_code == 413
        except httpx.WriteError:
            pass  # the server had said enough
        after = await http.post(
            f"http://127.0.0.1:{port}/decode", content=b"{}", headers={"authorization": f"Bearer {ACME}"}
        )
        assert after.status_code == 200
