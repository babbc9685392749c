"""Bearer tokens of the REST interface: who calls, for which tenant, with which roles."""

import hashlib
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from pydantic import SecretStr

from domain.errors import NotEntitled, SetupError
from domain.model import Model, Slug
from domain.topology import AccessToken, Role

_SHORTEST = 16
"""Characters; shorter tokens can be guessed."""


class Caller(Model):
    """Who a token speaks for. ``name`` is the token's name in the configuration, never the token."""

    name: Slug
    tenant: Slug
    roles: frozenset[Role]

    def needs(self, role: Role) -> None:
        """Raise ``NotEntitled`` unless the caller has this role."""
        if role not in self.roles:
            raise NotEntitled(f"token {self.name} may not do this: it lacks the role {role.value}")


class AccessTokens:
    """Knows every token by its digest. Raises ``SetupError`` for tokens that are short or used twice."""

    def __init__(self, tokens: Sequence[tuple[AccessToken, SecretStr]]) -> None:
        self._known = [
            (_digest(secret.get_secret_value()), Caller(name=entry.name, tenant=entry.tenant, roles=entry.roles))
            for entry, secret in tokens
        ]
        short = [entry.name for entry, secret in tokens if len(secret.get_secret_value()) < _SHORTEST]
        if short:
            raise SetupError(f"access tokens shorter than {_SHORTEST} characters: {', '.join(short)}: make longer ones")
        if len({digest for digest, _ in self._known}) < len(self._known):
            raise SetupError("two access tokens have the same value: give each its own")

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self._known)

    @property
    def names(self) -> Mapping[bytes, str]:
        """The name of each by its digest."""
        return {digest: caller.name for digest, caller in self._known}

    def caller(self, bearer: str) -> Caller | None:
        """Who holds this token. Every known token is compared, so that time tells nothing."""
        given, found = _digest(bearer), None
        for digest, caller in self._known:
            if hmac.compare_digest(digest, given):
                found = caller
        return found


class ServiceTokens:
    """Tokens of the installation's own people and programs, by name: they belong to no tenant.

    Raises ``SetupError`` for tokens that are short or used twice.
    """

    def __init__(self, tokens: Sequence[tuple[str, SecretStr]]) -> None:
        short = [name for name, secret in tokens if len(secret.get_secret_value()) < _SHORTEST]
        if short:
            raise SetupError(
                f"service tokens shorter than {_SHORTEST} characters: {', '.join(short)}: make longer ones"
            )
        self._known = [(_digest(secret.get_secret_value()), name) for name, secret in tokens]
        if len(self.names) < len(self._known):
            raise SetupError("two service tokens have the same value: give each its own")

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self._known)

    @property
    def names(self) -> Mapping[bytes, str]:
        """The name of each by its digest."""
        return dict(self._known)

    def name_of(self, bearer: str) -> str | None:
        """Who holds this token. Every known token is compared, so that time tells nothing."""
        given, found = _digest(bearer), None
        for digest, name in self._known:
            if hmac.compare_digest(digest, given):
                found = name
        return found


class FailureLimit:
    """A bucket of failed authentications per client address: ``burst`` at once, then one every ``every`` seconds.

    In memory and per process: it slows guessing down, it is no ban. At most ``clients`` addresses are remembered.
    """

    def __init__(
        self,
        *,
        burst: int = 10,
        every: float = 6.0,
        clients: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst, self._every, self._clients, self._clock = burst, every, clients, clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> int:
        """Whole seconds until this client may try again; 0 when it may now."""
        spent = self._now_spent(client)
        return 0 if spent <= self._burst - 1 else math.ceil((spent - self._burst + 1) * self._every)

    def failed(self, client: str) -> None:
        """Count one failure."""
        who = _subscriber(client)
        self._spent[who] = (self._now_spent(client) + 1, self._clock())
        self._spent.move_to_end(who)
        while len(self._spent) > self._clients:
            self._spent.popitem(last=False)

    def _now_spent(self, client: str) -> float:
        spent, at = self._spent.get(_subscriber(client), (0.0, 0.0))
        return max(0.0, spent - (self._clock() - at) / self._every)


def _subscriber(client: str) -> str:
    """Whose an address is: an IPv6 network of 64 bits is one subscriber's, who may take any of its addresses."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return client
    return str(address.ipv4_mapped or ipaddress.IPv6Address(int(address) >> 64 << 64))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
