"""Turns what pydantic found wrong into mistakes that a person can put right."""

import difflib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from domain.errors import Mistake
from domain.model import Contradictions

_TEXTS = {
    "missing": "missing",
    "timezone_aware": "needs a time zone, as in 2026-03-01T09:00:00Z",
    "datetime_parsing": "not a date and time, as in 2026-03-01T09:00:00Z",
    "datetime_from_date_parsing": "not a date and time, as in 2026-03-01T09:00:00Z",
    "time_delta_parsing": "not a length of time, as in 2d, 36h, 90m or 30s",
    "json_invalid": "not JSON",
    "model_type": "needs members, not a single value",
    "dict_type": "needs members, not a single value",
    "tuple_type": "needs a list",
    "string_type": "needs text",
}
_FORMS = {
    r"^[a-z]{2,3}(?:_[A-Z]{2})?$": "not a language as providers write it, as in en or es_MX",
    r"^[a-z0-9_]{1,512}$": "not the name of a template, as in intake_v1: small letters, digits and _",
    r"^[A-Za-z][A-Za-z0-9_]{0,63}$": "not the name of a column, as in first_name: letters, digits and _",
    r"^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$": "not a plan's name, as in picker-intake: small letters, digits, hyphens",
    r"^(?:[A-Z]{3})?$": "not a currency, as in EUR",
    r"^(?:[A-Z]{2})?$": "not a country, as in NL",
}
"""What people write by hand and a pattern does not explain: what it is not, and how it looks."""


_OF_A_NAME = "[key]"
"""What pydantic puts behind the name of a member when the name itself is wrong."""

Place = tuple[int | str, ...]
"""A path into a document, as pydantic writes it."""


def findings(error: ValidationError, model: type[BaseModel]) -> list[tuple[Place, str]]:
    """Every finding as (place, text), in order. Texts never hold the value that was refused: it may be personal.

    ``model`` is what was validated, so that a misspelt member gets a suggestion.
    """
    found = error.errors(include_input=False, include_url=False)
    return [told for item in found for told in _told(item, model, item["loc"])]


def mistakes_of(error: ValidationError, model: type[BaseModel]) -> tuple[Mistake, ...]:
    """Every finding as a mistake that names its field."""
    return tuple(Mistake(text, field=_joined(place)) for place, text in findings(error, model))


def mistakes_in_request(found: Sequence[ErrorDetails], body: type[BaseModel] | None) -> tuple[Mistake, ...]:
    """The same for what FastAPI found in a request; ``body`` is the model of its body, where it has one.

    Members of the body are named from its top, all else with where it stands (``query.limit``).
    """
    told = []
    for item in found:
        inside = item["loc"][1:] if item["loc"][:1] == ("body",) else item["loc"]
        if item["type"] == "json_invalid":
            told.append(Mistake("the body is not JSON"))
        elif item["loc"] == ("body",) and item["type"] == "missing":
            told.append(Mistake("the body is missing: send JSON"))
        else:
            told += [Mistake(text, field=_joined(place)) for place, text in _told(item, body, inside)]
    return tuple(told)


def written_place(place: Place) -> Place:
    """The place without what only pydantic sees there: tags of unions in angle brackets, and that a name is meant."""
    return tuple(part for part in place if not (isinstance(part, str) and (part.startswith("<") or part == _OF_A_NAME)))


def _told(item: ErrorDetails, model: type[BaseModel] | None, place: Place) -> list[tuple[Place, str]]:
    """One finding of pydantic's; several where a model says what in it does not go together."""
    written = written_place(place)
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, Contradictions):
        return [((*written, *at), text) for at, text in cause.findings]
    return [(written, _text(item, model, written))]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean "line"?``, or nothing when no known name is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def members_at(model: type[BaseModel], place: Sequence[int | str]) -> frozenset[str]:
    """The names of the members that may stand at a place within a model; empty where anything may."""
    return frozenset(name for m in _models_at(model, place) for name in m.model_fields)


def choices_at(model: type[BaseModel], place: Sequence[int | str]) -> frozenset[str]:
    """The words that may stand at a place within a model; empty where it is not one of a few words."""
    *around, member = [part for part in place if not isinstance(part, int)] or [""]
    kinds = [m.model_fields[member].annotation for m in _models_at(model, around) if member in m.model_fields]
    return frozenset(word for kind in kinds for word in _words_in(kind))


def _models_at(model: type[BaseModel], place: Sequence[int | str]) -> tuple[type[BaseModel], ...]:
    models: tuple[type[BaseModel], ...] = (model,)
    for part in place:
        if isinstance(part, int):
            continue
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models = tuple(found for annotation in fields for found in _models_in(annotation))
    return models


def _joined(place: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in place)


def _text(item: ErrorDetails, model: type[BaseModel] | None, place: Sequence[int | str]) -> str:
    kind, expected = item["type"], item.get("ctx", {}).get("expected", "one of the known words")
    if kind == "extra_forbidden":
        known = members_at(model, place[:-1]) if model is not None else ()
        return "unknown name" + did_you_mean(str(place[-1]), known)
    if kind == "value_error":
        return str(item.get("ctx", {}).get("error", item["msg"]))
    if kind in ("enum", "literal_error"):
        return f"must be {expected}"
    if kind == "string_pattern_mismatch":
        pattern = item.get("ctx", {}).get("pattern", "")
        return _FORMS.get(pattern, f"does not have the form {pattern}")
    return _TEXTS.get(kind, item["msg"])


def _models_in(annotation: object) -> tuple[type[BaseModel], ...]:
    """Every model that a type holds: through Annotated, unions, tuples, lists and the values of mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    if get_origin(annotation) is Annotated:
        return _models_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict, frozenset, set):
        return tuple(found for part in get_args(annotation) for found in _models_in(part))
    return ()


def _words_in(annotation: object) -> tuple[str, ...]:
    """Every word that a type allows: members of enumerations and of literals, through Annotated and unions."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return tuple(member.value for member in annotation)
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    if get_origin(annotation) is Annotated:
        return _words_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(found for part in get_args(annotation) for found in _words_in(part))
    return ()
