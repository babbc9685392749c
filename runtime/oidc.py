"""Identity tokens of an OpenID Connect issuer: verified here, by public keys, for one audience.

Only asymmetric algorithms are known, so a token that names none, or one that was signed with the issuer's *public*
key as if that were a shared secret, is refused whatever it says of itself.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import structlog
from pydantic import TypeAdapter, ValidationError

from domain.errors import SetupError
from domain.topology import Role
from runtime.settings import CodecSettings

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_MOST_TOKEN: Final = 16 * 1024
_MOST_JWKS: Final = 256 * 1024
_FRESH_SECONDS: Final = 600.0
_STALE_SECONDS: Final = 3600.0
"""How long keys go on that the issuer could not be asked about again: it may have withdrawn one of them."""
_LEAST_SECONDS: Final = 30.0
"""Between two readings, also for a key id that we do not know: anybody can make one up."""
_READ_SECONDS: Final = 10.0
"""How long one reading may take, however slowly the answer drips."""
_LEEWAY_SECONDS: Final = 30.0

log = structlog.get_logger()

_Claims = TypeAdapter(dict[str, Any])
Source = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Identity:
    """Who a token speaks for."""

    subject: str
    tenant: str
    roles: frozenset[Role]


class IdentityTokens:
    """Verifies tokens of one issuer. ``source`` reads its public keys; ``clock`` is replaced in tests."""

    def __init__(self, settings: CodecSettings, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._source, self._clock = settings, source, clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading = asyncio.Lock()

    async def identity(self, token: str) -> Identity | None:
        """Who this token speaks for; None for one that is not valid, here, now, for us."""
        if len(token) > _MOST_TOKEN or token.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(str(header.get("kid", "")))
            if key is None or header.get("alg") not in ALGORITHMS or "crit" in header:
                return None
            claims = jwt.decode(
                token,
                key.key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            return None
        return self._read(claims)

    def _read(self, claims: Mapping[str, object]) -> Identity | None:
        tenant, roles = claims.get(self._settings.oidc_tenant_claim), claims.get(self._settings.oidc_roles_claim)
        words = roles.split() if isinstance(roles, str) else roles
        if not isinstance(tenant, str) or not tenant or not isinstance(words, list) or not str(claims["sub"]).strip():
            return None
        known = frozenset(role for role in Role if role.value in words)
        return Identity(str(claims["sub"])[:100], tenant, known)

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        # while somebody reads them, keys that are known go on
        if self._is_due(key_id) and not (self._reading.locked() and key_id in self._keys):
            async with self._reading:
                if self._is_due(key_id):
                    await self._refresh()
        return None if self._clock() - self._read_at >= _STALE_SECONDS else self._keys.get(key_id)

    def _is_due(self, key_id: str) -> bool:
        now = self._clock()
        wanted = now - self._read_at >= _FRESH_SECONDS or key_id not in self._keys
        return wanted and now - self._tried_at >= _LEAST_SECONDS

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(_READ_SECONDS):
                self._keys = _keys_of(await self._source())
            self._read_at = self._tried_at
        except (SetupError, OSError, httpx.HTTPError, httpx.InvalidURL) as error:  # a TimeoutError is an OSError
            # the keys that are known go on for a while; tokens under others are refused
            log.warning("oidc_keys_not_read", error_type=type(error).__name__)


def identity_tokens(settings: CodecSettings) -> IdentityTokens | None:
    """What verifies tokens by these settings; None where no issuer is named. Raises ``SetupError`` for half of them."""
    needed = {"ISSUER": settings.oidc_issuer, "AUDIENCE": settings.oidc_audience, "JWKS": settings.oidc_jwks}
    missing = [f"RAPPORT_CODEC__OIDC_{name}" for name, value in needed.items() if value is None]
    if len(missing) == len(needed):
        return None
    if missing or settings.oidc_jwks is None:
        raise SetupError(f"{' and '.join(missing)}: not set, and identity tokens need issuer, audience and keys")
    where = settings.oidc_jwks
    if where.startswith("file:"):
        return IdentityTokens(settings, lambda: asyncio.to_thread(Path(where.removeprefix("file:")).read_bytes))
    if where.startswith("http://") and not _is_here(where):
        raise SetupError("RAPPORT_CODEC__OIDC_JWKS: by http anybody on the way could put keys of their own: use https")
    return IdentityTokens(settings, lambda: _fetched(where))


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _fetched(url: str) -> bytes:
    plain = {"accept-encoding": "identity"}  # a few packed bytes could become many
    async with (
        httpx.AsyncClient(timeout=5.0, follow_redirects=False, headers=plain) as http,
        http.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > _MOST_JWKS:
                raise SetupError("the issuer's keys are larger than any set of keys is")
    return bytes(body)


def _keys_of(raw: bytes) -> dict[str, jwt.PyJWK]:
    try:
        listed = _Claims.validate_json(raw).get("keys")
    except ValidationError:
        listed = None
    if not isinstance(listed, list):
        raise SetupError("the issuer's keys are not a JWKS document")
    found: dict[str, jwt.PyJWK] = {}
    for entry in listed:
        if not isinstance(entry, dict) or not _verifies(entry):
            continue
        try:
            key = jwt.PyJWK.from_dict(entry)
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
            continue  # of a kind that we do not know
        found[str(entry.get("kid", ""))] = key
    return found


def _verifies(entry: Mapping[str, object]) -> bool:
    """Whether this is a public key for signatures; a shared secret or a private key is nobody's to publish."""
    return entry.get("kty") != "oct" and "d" not in entry and entry.get("use", "sig") == "sig"
