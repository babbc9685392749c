"""Reading what providers write: tolerant of everything that is not a fact we need.

Optional means absent, ``null`` or empty; ids are opaque text; unknown members are ignored; nothing here raises.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, SkipValidation
from pydantic.alias_generators import to_camel

from domain.model import JsonValue, Model

MAX_DEPTH = 64
"""Deeper JSON is nothing that a provider writes, and would break whoever reads it later."""

_LONGEST_KEY = 200
_CODE = re.compile(r"[A-Za-z0-9_./:-]{1,40}", re.ASCII)
_WORD_WITH_GAPS = re.compile(r"[^A-Za-z0-9_./:…-]+", re.ASCII)
_SPREAD_NUMBER = re.compile(r"[+(]*\d(?:[\W_]*\d){5,}")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Unreadable:
    """Bytes that are no JSON that we can use, and why; the reason holds nothing of the bytes."""

    why: str


@dataclass(frozen=True)
class Read:
    """Bytes that are JSON: every text in it can be encoded, every number is finite."""

    value: JsonValue


class Wire(Model):
    """A provider's object with camelCase members. Every member has a default, so reading one never fails."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


def read_json(body: bytes) -> Read | Unreadable:
    """Read JSON text in UTF-8; whatever cannot be used says why."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return Unreadable("not UTF-8")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        return Read(_clean(value, MAX_DEPTH))
    except RecursionError:
        return Unreadable("nested too deep")
    except ValueError:
        return Unreadable("not JSON")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _clean(value: JsonValue, depth: int) -> JsonValue:
    if depth == 0:
        raise RecursionError
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_SURROGATES.sub("\ufffd", name): _clean(item, depth - 1) for name, item in value.items()}
    return value


def as_text(value: object) -> object:
    """A text or a number as text; whatever else is as good as absent."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(value) if not isinstance(value, int) or value.bit_length() < 256 else ""


def as_id(value: object) -> object:
    """An opaque id: any text, without what no column could keep."""
    text = as_text(value)
    return _CONTROLS.sub("", text).strip() if isinstance(text, str) else ""


def as_object(value: object) -> object:
    """An object; whatever else is as good as an empty one."""
    return value if isinstance(value, dict | Model) else {}


def as_list(value: object) -> object:
    """A list; whatever else is as good as an empty one."""
    return value if isinstance(value, list | tuple) else []


def as_objects(value: object) -> object:
    """The objects of a list; one bad element never drops the others."""
    return [item for item in value if isinstance(item, dict | Model)] if isinstance(value, list | tuple) else []


def as_truth(value: object) -> object:
    """Exactly ``true`` is true."""
    return value is True


Text = Annotated[str, BeforeValidator(as_text)]
Id = Annotated[str, BeforeValidator(as_id)]
Truth = Annotated[bool, BeforeValidator(as_truth)]
Object = Annotated[SkipValidation[dict[str, JsonValue]], BeforeValidator(as_object)]
"""What ``read_json`` read: it is JSON already, and proving that once more takes as long as reading it took."""
Items = Annotated[tuple[JsonValue, ...], BeforeValidator(as_list)]


def as_instant(text: str) -> datetime | None:
    """An ISO 8601 instant in UTC; without an offset it is UTC already; None when it is no instant."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def plain_word(text: str, longest: int = 40) -> str:
    """A provider's word fit for logs and counts: short, plain characters, and no digits that could be a number.

    Masked before anything else is replaced, because afterwards the digits of a number may no longer look like one.
    """
    return _WORD_WITH_GAPS.sub("_", _SPREAD_NUMBER.sub("…", text))[:longest]


def plain_code(text: str) -> str:
    """A provider's code fit for errors and logs: one short word, in which seven digits at most stand in a row.

    What is longer, or more than a word, is no code but a text, which may be anybody's; phone numbers have more digits.
    """
    if not _CODE.fullmatch(text.strip()):
        return ""
    return re.sub(r"\d(?:[_.:-]{0,2}\d){7,}", "…", text.strip())


def mask_numbers(text: str) -> str:
    """The text without digit runs that could be a phone number, however they are spaced."""
    return re.sub(r"\+?\d(?:[\s().-]{0,2}\d){5,}", "…", text)


def stable_key(*parts: str) -> str:
    """Parts joined by colons, as dedupe keys are; what is too long or not plain is kept as its SHA-256."""
    key = ":".join(parts)
    if len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable():
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def digest(value: JsonValue) -> str:
    """SHA-256 of a value's JSON with sorted members: equal for equal values, however they were written."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
