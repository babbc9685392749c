"""One organisation's desk: what a handler is given, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from sandbox.recrubo.book import Book, Run, Thread
from sandbox.recrubo.envelope import Mistake, Refused, not_found, refuse
from sandbox.recrubo.hooks import Hooks
from sandbox.recrubo.life import Happening, Life
from sandbox.recrubo.wire import ShapeT, decoded, read
from sandbox.settings import RecruboAccount
from sandbox.values import Instant
from sandbox.world import World


class Desk:
    """An organisation with its book, its hooks and the course of its runs."""

    def __init__(self, account: RecruboAccount, world: World) -> None:
        self.account = account
        self.world = world
        self.book = Book(account, world.mint, world.clock.now())
        self.hooks = Hooks(account, self.book)
        self.life = Life(account, self.book, self.hooks, world)

    def now(self) -> Instant:
        """The sandbox's time."""
        return self.world.clock.now()

    def thread(self, thread_id: str) -> Thread:
        """The thread of an address, or 404."""
        if thread_id not in self.book.threads:
            raise not_found("thread")
        return self.book.threads[thread_id]

    def run(self, run_id: str) -> Run:
        """The run of an address, or 404."""
        if run_id not in self.book.runs:
            raise not_found("run")
        return self.book.runs[run_id]


@dataclass(frozen=True)
class Asked:
    """A request that passed the doorman: authenticated, of the right media type."""

    request: Request
    body: bytes

    @property
    def id(self) -> str:
        """The id in the address."""
        return str(self.request.path_params["id"])

    def json(self) -> JsonValue:
        """The body, or 400."""
        return decoded(self.body)

    def read(self, shape: type[ShapeT], desk: Desk) -> ShapeT:
        """The body as a shape, or 400 or 422."""
        return read(shape, self.json(), strict=desk.account.strict)


@dataclass(frozen=True)
class Consequence:
    """What follows from a request: by itself after ``delay``, or before the answer when a fault wants it so."""

    delay: float
    happening: Happening
    lane: str
    tells: tuple[str, ...] = ()
    """Names of the deliveries that can be pulled before the answer."""


@dataclass(frozen=True)
class Taken:
    """The answer to a request, made before anything follows from it."""

    response: Response
    then: Sequence[Consequence] = field(default=())


def same_id(written: str, address: str) -> None:
    """Refuse a change whose body names another resource than its address."""
    if written != address:
        raise refuse(422, "id-mismatch", "data.id is not the id of the address", pointer="/data/id")


def refuse_all(status: int, mistakes: Sequence[Mistake]) -> None:
    """Refuse when there is any mistake."""
    if mistakes:
        raise Refused(status, mistakes)
