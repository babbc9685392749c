"""Candidates made of markers: everything about them is a text that stands nowhere else, so that a trace is no chance.

All markers of a kind of people have a core in common, of plain letters that no escape changes. So a search for few
texts finds every marker of everybody.
"""

from dataclasses import dataclass

CORE, NUMBER = "Xylqua", "6197413"
"""In every marker of a candidate; in every spelling of their number."""
STRANGE_CORE, STRANGE_NUMBER = "Brofjx", "6284627"
"""The same for people who wrote to us and whom nobody engaged: what they wrote belongs to nobody, and is not erased."""


@dataclass(frozen=True)
class Person:
    """One candidate. ``n`` (below 100) tells them apart; ``case`` is what happens to them."""

    n: int
    side: str
    case: str
    is_stranger: bool = False

    @property
    def reference(self) -> str:
        """The tenant's own key: says nothing of the person."""
        return f"{self.side}-{self.case}"

    @property
    def core(self) -> str:
        """What all their markers have in common."""
        return STRANGE_CORE if self.is_stranger else CORE

    @property
    def phone(self) -> str:
        """Their number as our callers give it."""
        return self.markers["number, E.164"]

    @property
    def markers(self) -> dict[str, str]:
        """Twenty texts that nobody may read, by what they are."""
        n, core, number = f"{self.n:02d}", self.core, STRANGE_NUMBER if self.is_stranger else NUMBER
        spaced = f"{number[0]} {number[1:4]} {number[4:]}"
        return {
            "given name": f"{core}dora{n}",
            "full name": f"{core}dora{n} van {core}stein{n}",
            "number, E.164": f"+31{number}{n}",
            "number, digits": f"31{number}{n}",
            "number, spaced": f"+31 {spaced} {n}",
            "number, national": f"0{number[0]}-{number[1:]}{n}",
            "number, last nine": f"{number}{n}",
            "e-mail": f"{core}{n}@post.example",
            "address": f"Jan {core}straat {n} bis",
            "answer, a word": f"{core}ward{n}",
            "answer, a sentence": f"as soon as {core}brook{n} is over",
            "answer, accented": f"Ĳs{core}ñandú{n}",
            "free text": f"tell my aunt {core}ella{n}",
            "template variable": f"{core}smith{n}",
            "second variable": f"{core} & Söhne <{n}>",
            "opt-in evidence": f"signed at booth {core}{n}",
            "column of their system": f"referred by Mrs. {core}ova{n}",
            "told by an operator": f"said on the phone: {core}itis{n}",
            "thread content": f"years ago I asked {core}ius{n}",
            "job wanted": f"{core}ologist{n}",
        }

    @property
    def everything(self) -> str:
        """All of it in one text, as somebody would write it who hides nothing."""
        return "; ".join(self.markers.values())
