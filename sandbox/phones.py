"""What arrived on the candidates' phones, and what the providers were asked: the counts that tests are about."""

from collections import Counter
from typing import Literal

from sandbox.values import Frozen, Instant


class PhoneMessage(Frozen):
    """One message that a provider sent to a number."""

    provider: str
    account: str
    to: str
    kind: Literal["template", "text", "interactive"]
    template: str | None = None
    """The template's name."""
    text: str
    """As the candidate reads it, variables filled in."""
    reference: str | None = None
    """The sender's own reference, where the request carried one."""
    at: Instant
    thread: str
    run: str | None = None
    message: str
    arrived: bool = True
    """False when the number cannot be reached or the window is closed: the phone shows nothing."""


class PhoneFilter(Frozen):
    """Which messages are asked for; None asks for all."""

    number: str | None = None
    provider: str | None = None
    account: str | None = None
    kind: str | None = None
    template: str | None = None
    reference: str | None = None
    thread: str | None = None
    arrived: bool = True

    def takes(self, message: PhoneMessage) -> bool:
        """Whether the message is one of those."""
        pairs = (
            (self.number, message.to),
            (self.provider, message.provider),
            (self.account, message.account),
            (self.kind, message.kind),
            (self.template, message.template),
            (self.reference, message.reference),
            (self.thread, message.thread),
        )
        return message.arrived is self.arrived and all(asked in (None, found) for asked, found in pairs)


class PhoneList(Frozen):
    """Messages in the order of their arrival."""

    count: int
    messages: tuple[PhoneMessage, ...]


class Phones:
    """Every phone of the sandbox."""

    def __init__(self) -> None:
        self._messages: list[PhoneMessage] = []
        self._arrivals: Counter[tuple[str, str, str]] = Counter()

    def receive(self, message: PhoneMessage) -> None:
        """Put a message on a phone."""
        self._messages.append(message)
        if message.arrived:
            self._arrivals[(message.provider, message.account, message.to)] += 1

    def arrivals(self, provider: str, account: str, number: str) -> int:
        """How many messages of an account have arrived at a number."""
        return self._arrivals[(provider, account, number)]

    def list(self, wanted: PhoneFilter) -> PhoneList:
        """The messages that fit."""
        found = tuple(message for message in self._messages if wanted.takes(message))
        return PhoneList(count=len(found), messages=found)

    def clear(self) -> None:
        """Wipe every phone."""
        self._messages.clear()
        self._arrivals.clear()
