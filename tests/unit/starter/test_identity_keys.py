"""The issuer's public keys: which of them count, how long, and what happens while the issuer does not answer."""

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from domain.errors import SetupError
from runtime.oidc import IdentityTokens, identity_tokens
from runtime.settings import CodecSettings
from tests.unit.starter.test_codec_access import ISSUER, OIDC, SIGNER, identity

OTHER = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def as_jwk(key: ec.EllipticCurvePrivateKey, kid: str, **more: object) -> dict[str, object]:
    public: dict[str, object] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return public | {"kid": kid} | more


def document(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


K1, K2 = as_jwk(SIGNER, "k1"), as_jwk(OTHER, "k2")


def by_k2() -> str:
    """A token of the second key, made when it is used: it is good for minutes."""
    return identity(key=OTHER, headers={"kid": "k2"})


@dataclass
class Issuer:
    """Answers with the next of its documents, the last of them for ever; an exception is raised."""

    answers: Sequence[bytes | Exception]
    now: float = 0.0
    asked: int = 0
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event | None = None

    async def __call__(self) -> bytes:
        self.asked += 1
        if self.go_on is not None:
            self.waits.set()
            await self.go_on.wait()
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tokens(self) -> IdentityTokens:
        return IdentityTokens(OIDC, self, clock=lambda: self.now)


async def knows(tokens: IdentityTokens, token: str) -> bool:
    return await tokens.identity(token) is not None


async def test_a_key_that_was_replaced_is_taken_and_the_old_one_no_longer() -> None:
    issuer = Issuer([document(K1), document(K2)])
    tokens = issuer.tokens()
    assert (await knows(tokens, identity()), await knows(tokens, by_k2())) == (True, False)
    issuer.now = 31.0  # a key id that is not known is asked for, but not at everybody's wish
    assert (await knows(tokens, by_k2()), await knows(tokens, identity())) == (True, False)


async def test_a_withdrawn_key_is_found_out_within_ten_minutes() -> None:
    issuer = Issuer([document(K1), document()])
    tokens = issuer.tokens()
    assert await knows(tokens, identity())
    issuer.now = 599.0
    assert await knows(tokens, identity())
    issuer.now = 600.0
    assert not await knows(tokens, identity())


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("no route"),
        httpx.InvalidURL("no address"),
        TimeoutError(),
        FileNotFoundError("keys"),
        b"",
        b"[]",
        b"not JSON",
        b'{"keys": {}}',
        b"\xff" * 100,
        b"[" * 200_000,
    ],
    ids=repr,
)
async def test_while_the_issuer_does_not_answer_known_keys_go_on_for_an_hour_and_others_are_refused(
    failure: bytes | Exception,
) -> None:
    issuer = Issuer([document(K1), failure])
    tokens = issuer.tokens()
    assert await knows(tokens, identity())
    for issuer.now in (601.0, 1200.0, 3599.0):
        assert (await knows(tokens, identity()), await knows(tokens, by_k2())) == (True, False)
    issuer.now = 3600.0
    assert not await knows(tokens, identity()), "a key may have been withdrawn since"
    never = Issuer([failure]).tokens()
    assert not await knows(never, identity())


async def test_an_issuer_that_hangs_is_asked_once_and_holds_nobody_up_whose_key_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = Issuer([document(K1)])
    tokens = issuer.tokens()
    assert await knows(tokens, identity())
    issuer.now, issuer.go_on = 601.0, asyncio.Event()
    first = asyncio.create_task(tokens.identity(identity()))
    await issuer.waits.wait()
    assert await knows(tokens, identity()), "beside the reading that hangs"
    issuer.go_on.set()
    assert await first is not None
    assert issuer.asked == 2

    monkeypatch.setattr("runtime.oidc._READ_SECONDS", 0.01)
    dripping = Issuer([document(K1)], go_on=asyncio.Event())
    assert not await knows(dripping.tokens(), identity())


async def test_keys_that_are_not_for_signatures_or_not_public_verify_nothing() -> None:
    private = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(SIGNER)) | {"kid": "k1"}
    private_rsa = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY)) | {"kid": "k1"}
    unfit: tuple[object, ...] = (private, private_rsa, as_jwk(SIGNER, "k1", use="enc"), {"kty": "EC", "kid": "k1"}, [])
    for entry in (*unfit, None, "k1"):
        assert not await knows(Issuer([document(entry)]).tokens(), identity()), entry
    assert await knows(Issuer([document(None, as_jwk(SIGNER, "k1", use="sig"))]).tokens(), identity())


def part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


HEADS: dict[str, bytes] = {
    "deep": b"[" * 9_000,
    "no object": b"7",
    "a number for a key": b'{"alg":"ES256","kid":7}',
    "a list for an algorithm": b'{"alg":["ES256"],"kid":"k1"}',
    "an upper case none": b'{"alg":"NONE","kid":"k1"}',
    "what it must not ignore": b'{"alg":"ES256","kid":"k1","crit":["b64"],"b64":false}',
    "a key of its own": b'{"alg":"ES256","jwk":{"kty":"EC"},"jku":"https://evil.example/keys"}',
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_token_with_a_strange_head_is_no_token(name: str) -> None:
    _, body, signature = identity().split(".")
    issuer = Issuer([document(K1)])
    assert not await knows(issuer.tokens(), f"{part(HEADS[name])}.{body}.{signature}")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": float("inf")},
        {"exp": "soon"},
        {"iat": 32503680000},
        {"tenant": ""},
        {"tenant": 7},
        {"roles": None},
        {"sub": 7},
        {"aud": {"a": 1}},
    ],
    ids=repr,
)
async def test_a_signed_token_with_strange_claims_is_no_token_either(claims: dict[str, object]) -> None:
    head, _, _ = identity().split(".")
    whole = json.loads(base64.urlsafe_b64decode(identity().split(".")[1] + "==")) | claims
    body = f"{head}.{part(json.dumps(whole).encode())}"
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(body.encode(), SIGNER)
    assert not await knows(Issuer([document(K1)]).tokens(), f"{body}.{part(signature)}")


def test_keys_are_fetched_by_https_or_from_this_machine() -> None:
    def settings(where: str) -> CodecSettings:
        return CodecSettings(oidc_issuer=ISSUER, oidc_audience="rapport-codec", oidc_jwks=where)

    for where in ("https://login.example/keys", "http://127.0.0.1:9/keys", "http://localhost/keys", "http://[::1]/k"):
        assert identity_tokens(settings(where)) is not None
    for where in ("http://login.example/keys", "http://127.0.0.1.evil.example/keys"):
        with pytest.raises(SetupError, match="use https"):
            identity_tokens(settings(where))
