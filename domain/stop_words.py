"""The words by which a person withdraws consent and gives it again, by language."""

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator

from domain.model import Written
from domain.plans import Language

_STOP: Final = {
    "en": frozenset({"stop", "stopall", "unsubscribe"}),
    "es": frozenset({"baja"}),
    "nl": frozenset({"afmelden", "uitschrijven"}),
    "pt": frozenset({"parar", "pare", "sair"}),
}
_START: Final = {"en": frozenset({"start", "unstop"}), "es": frozenset({"alta"}), "nl": frozenset({"aanmelden"})}


def _plain(text: str) -> str:
    """Without what differs between two ways of writing one word: case, punctuation, symbols, blanks around it."""
    return "".join(c for c in text.strip().casefold() if not unicodedata.category(c).startswith(("P", "S"))).strip()


def _as_compared(words: frozenset[str]) -> frozenset[str]:
    plain = frozenset(_plain(word) for word in words)
    if "" in plain:
        raise ValueError("a word of punctuation alone would be met by no message: leave it out")
    return plain


Words = Annotated[frozenset[str], AfterValidator(_as_compared)]


class StopWords(Written):
    """Words that withdraw or restore consent, by the language that they are of (A-C2).

    A person may write in any language, so each counts in every conversation. What an account says of a language takes
    the place of our words of that language; the other languages stay.
    """

    stop: Mapping[Language, Words] = {}
    start: Mapping[Language, Words] = {}

    def stopping(self) -> frozenset[str]:
        """All words that stop, as they are compared."""
        return frozenset[str]().union(*{**_STOP, **self.stop}.values())

    def starting(self) -> frozenset[str]:
        """All words that restore consent, as they are compared."""
        return frozenset[str]().union(*{**_START, **self.start}.values())

    def is_stop(self, text: str) -> bool:
        """Whether the whole text is a stop word."""
        return _plain(text) in self.stopping()

    def is_start(self, text: str) -> bool:
        """Whether the whole text is a word that restores consent."""
        return _plain(text) in self.starting()
