"""One account's desk: what a handler is given, and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from sandbox.meta.book import Book, Conversation
from sandbox.meta.hooks import Change, Hooks
from sandbox.meta.life import Life
from sandbox.meta.review import Review
from sandbox.meta.settings import MetaAccount
from sandbox.meta.wire import Codes, ShapeT, decoded, read
from sandbox.values import Instant
from sandbox.world import World


class Desk:
    """An account with its book, its hooks, its reviewers and the course of its messages."""

    def __init__(self, account: MetaAccount, world: World) -> None:
        self.account = account
        self.world = world
        self.book = Book(account, world.mint)
        self.hooks = Hooks(account, world)
        self.review = Review(account, self.book, self.hooks, world)
        self.life = Life(account, self.book, self.hooks, world)

    def now(self) -> Instant:
        """The sandbox's time."""
        return self.world.clock.now()


@dataclass(frozen=True)
class Asked:
    """A request that passed the doorman: authenticated, about an object of this account's."""

    request: Request
    body: bytes
    object_id: str

    def read(self, shape: type[ShapeT], codes: Codes, desk: Desk) -> ShapeT:
        """The body as a shape, or a refusal."""
        return read(shape, decoded(self.body), codes, strict=desk.account.strict)


@dataclass(frozen=True)
class Consequence:
    """What follows from a request: by itself after ``delay``, or before the answer when a fault wants it so."""

    delay: float
    happening: Callable[[], list[Change]]
    lane: str
    conversation: Conversation | None = None
    tells: tuple[str, ...] = ()
    """Names of the deliveries that can be pulled before the answer."""


@dataclass(frozen=True)
class Taken:
    """The answer to a request, made before anything follows from it."""

    response: Response
    then: Sequence[Consequence] = field(default=())
