"""The only door to httpx: one client per account, no retries, and every ending named.

A request is made once. What can be proven not to have left is ``ProviderUnavailable``; what is refused is
``ProviderRejected``; everything else is ``OutcomeUnknown`` on a send and ``ProviderUnavailable`` elsewhere
(``providers.endings``). Errors and logs name account, step, status, code and request id: never a URL's query, a header,
a body, or httpx's own error, which holds the request.
"""

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated
from urllib.parse import urlencode

import httpx
import structlog
from pydantic import Field, SecretStr

from domain import departures
from domain.errors import NotSent, Scope, SendError, SetupError
from domain.model import JsonValue, Written
from providers.endings import Answer, Refine, Verdict, as_it_stands, by_status, by_transport

log = structlog.get_logger()

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # below that they print URLs with phone numbers, and headers

Transport = httpx.AsyncBaseTransport
"""What carries the bytes; tests put their own in its place."""

_PROVEN_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""The whole allow-list: no name, no connection, no TLS session or no free connection. ``ConnectError`` covers TLS."""

_REQUEST_ID = re.compile(r"[^A-Za-z0-9._:=+/-]")

Seconds = Annotated[float, Field(gt=0)]


class Limits(Written):
    """Limits of one call, in seconds and bytes. ``total`` stays below what a send activity allows one request."""

    connect: Seconds = 5
    pool: Seconds = 5
    write: Seconds = 10
    read: Seconds = 15
    total: Seconds = 18
    connections: Annotated[int, Field(ge=1)] = 20
    answer_bytes: Annotated[int, Field(ge=1)] = 3 * 1024 * 1024


@dataclass(frozen=True, repr=False)
class JsonBody:
    """A body that is JSON, under the media type that the provider wants."""

    value: JsonValue
    media_type: str = "application/json"

    def encoded(self) -> bytes:
        """The bytes on the wire."""
        return json.dumps(self.value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, repr=False)
class FormBody:
    """A form: ordered pairs, each name once per pair."""

    pairs: tuple[tuple[str, str], ...]
    media_type: str = "application/x-www-form-urlencoded"

    def encoded(self) -> bytes:
        """The bytes on the wire."""
        return urlencode(self.pairs).encode()


@dataclass(frozen=True, repr=False)
class Request:
    """One request. ``what`` names the step in errors and logs, as in ``trigger a flow``.

    ``rejected_scope`` is what a 4xx without a better reason concerns. ``headers`` come on top of the account's.
    """

    what: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: JsonBody | FormBody | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rejected_scope: Scope = Scope.MESSAGE


class ProviderHttp:
    """HTTP to one account at one provider. ``owner`` names it in errors and logs, as in ``account acme``.

    ``headers`` go with every request; secrets among them stay ``SecretStr`` until the last moment. ``refine`` is the
    provider's own table of codes. Raises ``SetupError`` for a base URL or a header that cannot be sent.
    """

    def __init__(
        self,
        owner: str,
        base_url: str,
        headers: Mapping[str, SecretStr | str],
        *,
        limits: Limits | None = None,
        refine: Refine = as_it_stands,
        request_id_headers: tuple[str, ...] = ("x-request-id",),
        transport: Transport | None = None,
    ) -> None:
        self._owner, self._base = owner, base_url.rstrip("/")
        self._limits, self._refine, self._request_ids = limits or Limits(), refine, request_id_headers
        _check_base_url(owner, self._base)
        self._client = httpx.AsyncClient(
            headers={"accept-encoding": "identity", "user-agent": "rapport", **_sendable(owner, headers)},
            timeout=httpx.Timeout(
                connect=self._limits.connect, read=self._limits.read, write=self._limits.write, pool=self._limits.pool
            ),
            limits=httpx.Limits(max_connections=self._limits.connections),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
            verify=_trusted(),
            transport=transport,
        )

    async def send(self, request: Request) -> Answer:
        """Make a request that can make a message appear on a phone; gives back a 2xx answer.

        Raises ``ProviderUnavailable``, ``ProviderRejected`` or ``OutcomeUnknown``.
        """
        return await self._ask(request, is_send=True, also=frozenset())

    async def create(self, request: Request) -> Answer:
        """Make a request that creates something, once: no message leaves, and yet it must not be repeated blindly.

        Gives back a 2xx answer. What ends it otherwise concerns the request's ``rejected_scope`` or the account, never
        a line or a message. Raises ``ProviderUnavailable``, ``ProviderRejected`` or ``OutcomeUnknown``.
        """
        try:
            return await self._ask(request, is_send=True, also=frozenset())
        except NotSent as error:
            error.scope = {Scope.MESSAGE: request.rejected_scope, Scope.LINE: Scope.ACCOUNT}.get(
                error.scope, error.scope
            )
            raise

    async def call(self, request: Request, *, also: frozenset[int] = frozenset()) -> Answer:
        """Make a request that may be repeated; gives back a 2xx answer or one whose status is in ``also``.

        Raises ``ProviderUnavailable`` or ``ProviderRejected``.
        """
        return await self._ask(request, is_send=False, also=also)

    async def close(self) -> None:
        """Give back connections."""
        await self._client.aclose()

    async def _ask(self, request: Request, *, is_send: bool, also: frozenset[int]) -> Answer:
        subject = f"{self._owner}: {request.what}"
        built = self._built(request)
        if is_send:
            built.extensions["trace"] = _tell_departure
        seen = await self._exchange(built, subject, is_send=is_send)
        if isinstance(seen, Verdict):
            raise self._told(seen, subject, request.what, 0, "")
        if 200 <= seen.status < 300 or seen.status in also:
            return seen
        verdict = self._refine(seen, by_status(seen, request.rejected_scope))
        raise self._told(verdict, subject, request.what, seen.status, seen.request_id)

    def _told(self, verdict: Verdict, subject: str, what: str, status: int, request_id: str) -> SendError:
        log.warning(
            "provider_call_failed",
            owner=self._owner,
            step=what,
            status=status,
            ending=verdict.ending.value,
            scope=verdict.scope.value,
            code=verdict.code,
            request_id=request_id,
        )
        return verdict.error(subject, request_id)

    def _built(self, request: Request) -> httpx.Request:
        asked = f"?{urlencode(request.query)}" if request.query else ""
        url = httpx.URL(self._base + request.path + asked)
        headers = dict(request.headers)
        if request.body is not None:
            headers["content-type"] = request.body.media_type
        content = request.body.encoded() if request.body is not None else None
        return self._client.build_request(request.method, url, headers=headers, content=content)

    async def _exchange(self, built: httpx.Request, subject: str, *, is_send: bool) -> Answer | Verdict:
        """One request on the wire. Errors of httpx end here and are not chained: they hold the whole request."""
        try:
            async with asyncio.timeout(self._limits.total):
                response = await self._client.send(built, stream=True)
                try:
                    body, cut_off = await self._read(response)
                finally:
                    await response.aclose()
        except _PROVEN_UNSENT as error:
            return by_transport(type(error).__name__, is_send=is_send, proven_unsent=True)
        except Exception as error:  # noqa: BLE001 - an allow-list: whatever is not proven unsent may have left
            return by_transport(type(error).__name__, is_send=is_send, proven_unsent=False)
        headers = {name.lower(): value for name, value in response.headers.items()}
        request_id = next((headers[name] for name in self._request_ids if headers.get(name)), "")
        return Answer(
            subject=subject,
            is_send=is_send,
            status=response.status_code,
            headers=headers,
            body=body,
            cut_off=cut_off,
            request_id=_REQUEST_ID.sub("", request_id)[:100],
        )

    async def _read(self, response: httpx.Response) -> tuple[bytes, bool]:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._limits.answer_bytes:
                return bytes(body[: self._limits.answer_bytes]), True
        return bytes(body), False


async def _tell_departure(event: str, _about: object) -> None:
    """What httpcore calls at each step of a request; the last of writing it is this one in every HTTP version."""
    if event.endswith(".send_request_body.complete"):
        departures.written()


@cache
def _trusted() -> ssl.SSLContext:
    """Whom TLS trusts. Read once: every account and every tenant has a client, and a reading takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)


def _check_base_url(owner: str, base_url: str) -> None:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise SetupError(f"{owner}: base_url must be http(s)://host/path, without a user or password in it")


def _sendable(owner: str, headers: Mapping[str, SecretStr | str]) -> dict[str, str]:
    plain = {n: v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in headers.items()}
    wrong = [n for n, v in plain.items() if not v or not v.isascii() or not v.isprintable() or v != v.strip()]
    if wrong:
        what = f"the value of header {', '.join(wrong)} is empty or not one line of plain ASCII"
        raise SetupError(f"{owner}: {what}; check the credential that it is made of")
    return plain
