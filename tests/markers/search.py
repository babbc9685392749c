"""Looks for markers in bytes of any kind, however they are written there. A search that could not find proves nothing,
so ``test_search.py`` plants each spelling.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from tests.markers.people import CORE, NUMBER, STRANGE_CORE, STRANGE_NUMBER

_AROUND = 70


@dataclass(frozen=True)
class Hit:
    """A marker that was found: where, in what spelling, and what stands around it."""

    place: str
    spelling: str
    around: str

    def __str__(self) -> str:
        return f"{self.place}: {self.spelling}: {self.around}"


def hits_in(place: str, data: bytes, *, of_strangers: bool = True) -> list[Hit]:
    """Every spelling of a marker that stands in these bytes, each at its first place."""
    needles = _OF_CANDIDATES + (_OF_STRANGERS if of_strangers else ())
    found = ((spelling, data.find(needle)) for spelling, needle in needles)
    return [Hit(place, spelling, _around(data, at)) for spelling, at in found if at >= 0]


def _around(data: bytes, at: int) -> str:
    return data[max(0, at - _AROUND) : at + _AROUND].decode("utf-8", "backslashreplace").replace("\n", "⏎")


def _spellings(core: str, number: str) -> Iterator[tuple[str, bytes]]:
    grouped = [f"{number[0]}{gap}{number[1:4]}{gap}{number[4:]}" for gap in (" ", "-", ".", "%20", "+", "_", "")]
    national = [f"{number[0]}{gap}{number[1:]}" for gap in ("-", " ")]
    for text in (core, core.lower(), core.upper(), *grouped, *national):
        yield text, text.encode()
    for text in (core, number, grouped[0], national[0]):
        yield f"{text} in UTF-16", text.encode("utf-16-le")  # the other order has this in it, but for its first byte
        yield f"{text} in hexadecimal", text.encode().hex().encode()
        yield f"{text} in upper hexadecimal", text.encode().hex().upper().encode()
        for shift in range(3):
            yield f"{text} in base64, {shift}", _certain_base64(text.encode(), shift)


def _certain_base64(text: bytes, shift: int) -> bytes:
    """What base64 makes of this text at this place in a group of three, without what depends on its neighbours.

    None of these texts has a character that the two alphabets of base64 write differently.
    """
    whole = base64.b64encode(b"\0" * shift + text)
    return whole[-(-shift * 8 // 6) : (shift + len(text)) * 8 // 6]


_OF_CANDIDATES = tuple(dict(_spellings(CORE, NUMBER)).items())
_OF_STRANGERS = tuple(dict(_spellings(STRANGE_CORE, STRANGE_NUMBER)).items())
