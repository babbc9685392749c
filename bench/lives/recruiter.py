"""The recruiter's side: starts engagements by HTTP and hears their outcomes, signed, by HTTP."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

import httpx
import uvicorn
from standardwebhooks import Webhook
from starlette.types import Receive, Scope, Send

LONGEST_S = 300.0
"""An engagement that takes longer is lost, and so is the run."""
AGAIN_S = 1.0
"""Until a side that could not take an engagement is asked again; it is part of the engagement's time."""


class LifeLost(Exception):
    """An engagement was refused, or has no outcome in time."""


@dataclass(frozen=True)
class StartCall:
    """How a side is asked to begin an engagement."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, object]


@dataclass
class Recruiter:
    """Starts and hears. ``url`` is where outcomes are told."""

    secret: str
    port: int
    _heard: dict[str, asyncio.Future[float]] = field(default_factory=dict)
    outcomes: dict[str, list[str]] = field(default_factory=dict)
    refused: int = 0

    @property
    def url(self) -> str:
        """Where a side tells outcomes."""
        return f"http://127.0.0.1:{self.port}/ats"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear outcomes while the block lasts."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1024)
        config = uvicorn.Config(
            self._receive, interface="asgi3", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=60
        )
        server = _Quiet(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task
            listener.close()

    async def live(self, http: httpx.AsyncClient, reference: str, call: StartCall) -> float:
        """One engagement from the request to its outcome, in seconds. Raises ``LifeLost``."""
        heard = self._heard.setdefault(reference, asyncio.get_running_loop().create_future())
        began = time.perf_counter()
        answer = await _ask(http, call, began + LONGEST_S)
        if answer.status_code not in (200, 201, 202):
            raise LifeLost(f"{reference} was refused: {answer.status_code} {answer.text[:500]}")
        try:
            return await asyncio.wait_for(heard, LONGEST_S) - began
        except TimeoutError:
            raise LifeLost(f"{reference} has no outcome after {LONGEST_S:g} s") from None

    async def _receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        try:
            Webhook(self.secret).verify(body, headers)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is refused and counted
            self.refused += 1
            await _answer(send, 401)
            return
        told = json.loads(body)
        self._note(told.get("data", told))
        await _answer(send, 204)

    def _note(self, data: Mapping[str, object]) -> None:
        reference = str(data["reference"])
        settlement = data.get("settlement")
        told = settlement if isinstance(settlement, dict) else data
        self.outcomes.setdefault(reference, []).append(str(told["outcome"]).lower())
        heard = self._heard.get(reference)
        if heard is not None and not heard.done():
            heard.set_result(time.perf_counter())


async def _ask(http: httpx.AsyncClient, call: StartCall, until: float) -> httpx.Response:
    """Ask again while a side says that it cannot now: that is harmless on every side."""
    while True:
        answer = await http.post(call.url, json=call.body, headers=dict(call.headers))
        if answer.status_code != 503 or time.perf_counter() > until:
            return answer
        await asyncio.sleep(AGAIN_S)


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def phone(number: int) -> str:
    """The number of the n-th candidate; none ends in digits that mean another persona than the one who answers."""
    return f"+3161{number:05d}00"
