"""One account's desk: what a handler is given, and what it gives back."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from sandbox.truora.book import Book, Outbound
from sandbox.truora.envelope import Mistake, refuse, refuse_all
from sandbox.truora.hooks import Hooks
from sandbox.truora.life import Happening, Life
from sandbox.truora.settings import TruoraAccount
from sandbox.world import World


class Desk:
    """An account with its book, its hooks and the course of its conversations."""

    def __init__(self, account: TruoraAccount, world: World) -> None:
        self.account = account
        self.world = world
        self.book = Book(account, world.mint)
        self.hooks = Hooks(account, self.book, world.clock)
        self.life = Life(account, self.hooks, world)
        self._taken: deque[datetime] = deque()

    def now(self) -> datetime:
        """The sandbox's time."""
        return self.world.clock.now()

    def outbound(self, outbound_id: str) -> Outbound:
        """The outbound of an address or a form, or 404."""
        if outbound_id not in self.book.outbounds:
            raise refuse(404, "unknown-outbound", "The Outbound was not found", "outbound_id")
        return self.book.outbounds[outbound_id]

    def pace(self) -> None:
        """Count a request, or refuse it with 429 when the account allows no more within a second."""
        limit, now = self.account.requests_per_second, self.now()
        if limit is None:
            return
        while self._taken and self._taken[0] <= now - timedelta(seconds=1):
            self._taken.popleft()
        if len(self._taken) >= limit:
            raise refuse(429, "rate", "Too many requests", headers={"Retry-After": "1"})
        self._taken.append(now)


@dataclass(frozen=True)
class Asked:
    """A request that passed the doorman."""

    request: Request
    body: bytes

    @property
    def id(self) -> str:
        """The id in the address."""
        return str(self.request.path_params["id"])

    def parameters(self, desk: Desk, *known: str) -> dict[str, str]:
        """The query, each parameter once, or 400."""
        pairs = self.request.query_params.multi_items()
        names = [name for name, _ in pairs]
        mistakes = [
            Mistake("repeated-parameter", f"{name} is given {names.count(name)} times", name)
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        mistakes += [
            Mistake("unknown-parameter", f"{name} is not a parameter of this request", name)
            for name in dict.fromkeys(names)
            if desk.account.strict and name not in known
        ]
        refuse_all(400, mistakes)
        return dict(pairs)


@dataclass(frozen=True)
class Consequence:
    """What follows from a request: by itself after ``delay``, or before the answer when a fault wants it so."""

    delay: float
    happening: Happening
    lane: str
    number: str
    tells: tuple[str, ...]
    """Names of the deliveries that can be pulled before the answer."""


@dataclass(frozen=True)
class Taken:
    """The answer to a request, made before anything follows from it."""

    response: Response
    then: Sequence[Consequence] = field(default=())
