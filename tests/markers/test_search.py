"""The search itself: whatever way a marker is written, it is found; and bytes without one are left alone."""

import base64
import json
import os
from urllib.parse import quote, quote_plus

import pytest

from tests.markers.people import Person
from tests.markers.search import hits_in

PEOPLE = [Person(7, "meta", "answers"), Person(99, "meta", "unknown", is_stranger=True)]
MARKERS = [(name, marker) for person in PEOPLE for name, marker in person.markers.items()]


def written(marker: str) -> dict[str, bytes]:
    """A marker between other things, in every way that a program writes text."""
    text = f"…{marker} and so on"
    plain = text.encode()
    return {
        "plain": plain,
        "lower case": text.lower().encode(),
        "upper case": text.upper().encode(),
        "JSON": json.dumps({"said": text}).encode(),
        "JSON in JSON": json.dumps(json.dumps({"said": text})).encode(),
        "a literal": repr(plain).encode(),
        "URL": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "HTML": text.replace("&", "&amp;").replace("<", "&lt;").encode(),
        "UTF-16": text.encode("utf-16"),
        "UTF-16, big end first": text.encode("utf-16-be"),
        "hexadecimal": plain.hex().encode(),
        "SQL dump": plain.hex().upper().encode(),
        **{f"base64 {n}": base64.b64encode(os.urandom(n) + plain) for n in range(3)},
        **{f"base64 for URLs {n}": base64.urlsafe_b64encode(os.urandom(n) + plain) for n in range(3)},
    }


def test_a_person_has_twenty_markers() -> None:
    assert [len(set(person.markers.values())) for person in PEOPLE] == [20, 20]


@pytest.mark.parametrize(("name", "marker"), MARKERS)
def test_every_spelling_of_every_marker_is_found_wherever_it_stands(name: str, marker: str) -> None:
    for way, data in written(marker).items():
        assert hits_in("somewhere", os.urandom(5_000) + data + os.urandom(5_000)), f"{name}, {way}"


def test_what_holds_no_marker_is_left_alone() -> None:
    assert hits_in("somewhere", os.urandom(2_000_000) + b"2026-11-21T06:19:74.13 +31612345678 Xylo phone") == []


def test_a_hit_tells_where_it_was_and_what_stands_around_it() -> None:
    (hit,) = hits_in("worker.log", b"could not tell " + PEOPLE[0].markers["e-mail"].encode() + b" of it")
    assert str(hit).startswith("worker.log: Xylqua: could not tell Xylqua07@post.example of it")


def test_strangers_can_be_left_out() -> None:
    assert hits_in("somewhere", PEOPLE[1].everything.encode(), of_strangers=False) == []
    assert hits_in("somewhere", PEOPLE[0].everything.encode(), of_strangers=False) != []
