"""Columns whose text nobody may read in a file or a dump, and that must still be found by what they hold.

What a person's opt-in says, and a provider's message id, which may have the number in it. They are sealed with AES-SIV
(RFC 5297): equal texts look equal, so that they can be looked up and told apart, and nothing else is seen of them.
"""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import Dialect, Engine, Text
from sqlalchemy.types import TypeDecorator

from domain.errors import SetupError

_MARK: Final = "sealed:1:"
"""Begins what is sealed. Rows of releases before it are read as they are."""

_MESSAGES: Final = ("message_id", "replied_to")
"""Ties that are ids of messages."""


class Veil(Protocol):
    """Seals texts so that equal ones stay equal; ``store.keys.KeyRing`` is one."""

    @property
    def veil(self) -> AESSIV:
        """The cipher, under a key that never changes: what is looked up must look alike for ever."""
        ...


_veils: WeakKeyDictionary[Dialect, AESSIV] = WeakKeyDictionary()


def veil(engine: Engine, keys: Veil) -> None:
    """Read and write the veiled columns of this engine with these keys; without, they are written as they are."""
    _veils[engine.dialect] = keys.veil


class VeiledText(TypeDecorator[str]):
    """A text that stands sealed in the database. It can be compared with ``==`` and ``in``, and with nothing else."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Seal what goes in; nothing stays nothing."""
        return value if not value else veiled(value, dialect)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Open what comes out. Raises ``SetupError`` without the key that sealed it."""
        return value if not value else unveiled(value, dialect)


class VeiledTies(TypeDecorator[str]):
    """A ``Sighting`` as JSON, in which the ids of messages stand sealed; all else can be searched by its text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Seal the ids of what goes in. What is looked for goes as it is: no id of a message is."""
        return _with_ties(value, lambda text: veiled(text, dialect))

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Open the ids of what comes out. Raises ``SetupError`` without the key that sealed them."""
        return _with_ties(value, lambda text: unveiled(text, dialect))


def _with_ties(value: str | None, change: Callable[[str], str]) -> str | None:
    if value is None or not value.startswith("{"):
        return value
    sighting = json.loads(value)
    ties = sighting.get("ties", {})
    ties |= {name: change(ties[name]) for name in _MESSAGES if ties.get(name)}
    return json.dumps(sighting)


def veiled(text: str, dialect: Dialect) -> str:
    """The text as it stands in this database."""
    cipher = _veils.get(dialect)
    if cipher is None:
        return text
    return _MARK + base64.urlsafe_b64encode(cipher.encrypt(text.encode(), None)).decode()


def unveiled(text: str, dialect: Dialect) -> str:
    """The text behind it. Raises ``SetupError``."""
    return _opened(text, _veils.get(dialect))


def is_of(text: str, keys: Veil) -> bool:
    """Whether these keys sealed a text as it lies in the store; one that is not sealed says nothing against them."""
    try:
        _opened(text, keys.veil)
    except SetupError:
        return False
    return True


def _opened(text: str, cipher: AESSIV | None) -> str:
    if not text.startswith(_MARK):
        return text
    try:
        if cipher is None:
            raise InvalidTag
        return cipher.decrypt(base64.urlsafe_b64decode(text.removeprefix(_MARK)), None).decode()
    except (InvalidTag, binascii.Error, ValueError):
        raise SetupError(
            "A sealed text of the store does not open: the pepper is another one, or it was altered"
        ) from None
