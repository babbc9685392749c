"""What is left of a plan without its broken parts, so that one wrong word does not hide every other mistake."""

from collections.abc import Iterable

from starter.mistakes import Place

_TEMPLATE: dict[str, object] = {"name": "x", "language": "en"}
_OPENING: dict[str, object] = {"template": _TEMPLATE, "flow": {}}
_SILENCE: dict[str, object] = {"after": "1s"}
_FALLBACK: dict[str, object] = {"line": "x", "opening": _OPENING, "silence": _SILENCE}
_STAND_INS: dict[str, object] = {
    "name": "x",
    "language": "en",
    "template": _TEMPLATE,
    "flow": {},
    "opening": _OPENING,
    "follow_ups": {"on": "delivered", "template": _TEMPLATE},
    "on": "delivered",
    "silence": _SILENCE,
    "fallback": _FALLBACK,
    "line": "x",
    "after": "1s",
    "field": "x",
    "equals": "x",
    "longest": "9999d",
    "declined_when": {"field": "x", "equals": "x"},
}
"""Something harmless in the place of what is missing, or of a broken item of a list, by the name of the member."""


def rest_of(document: object, places: Iterable[Place]) -> tuple[object, set[Place]]:
    """The document with something harmless where it is wrong, and the places that were changed.

    Parts that are judged by each other go together: a budget, a send window, a signal, a free text.
    """
    changed = {_whole(place) for place in places}
    for place in sorted(changed, key=str):
        document = _without(document, place)
    return document, changed


def touches(place: Place, changed: set[Place]) -> bool:
    """Whether a finding is about something that was changed, or that holds it."""
    return any(place[: len(at)] == at or at[: len(place)] == place for at in changed)


def _whole(place: Place) -> Place:
    if place[:1] in (("budget",), ("send_window",)):
        return place[:1]
    if "free_form" in place:
        return place[: place.index("free_form") + 1]
    return place[:3] if place[:1] == ("follow_ups",) and place[2:3] == ("on",) else place


def _without(document: object, place: Place) -> object:
    if not place:
        return {"name": "x", "opening": _OPENING, "silence": _SILENCE}
    first, deeper = place[0], place[1:]
    if isinstance(document, list) and isinstance(first, int) and first < len(document):
        return [_without(item, deeper) if n == first else item for n, item in enumerate(document)]
    if not isinstance(document, dict):
        return document
    if isinstance(document.get(first), list) and len(deeper) == 1:
        changed: object = [
            _STAND_INS.get(str(first), "x") if n == deeper[0] else item for n, item in enumerate(document[first])
        ]
        return {**document, first: changed}
    if deeper:
        return {**document, first: _without(document.get(first), deeper)}
    kept = {name: part for name, part in document.items() if name != first}
    if first in _STAND_INS and (first not in document or first == "on"):
        kept[first] = _STAND_INS[str(first)]
    return kept
