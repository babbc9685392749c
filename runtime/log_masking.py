"""Keeps people out of the logs: masks what looks like a phone number and redacts values by their field's name."""

import re
from collections.abc import Mapping, MutableMapping

from pydantic import BaseModel, SecretBytes, SecretStr

MASK = "[number]"
REDACTED = "[redacted]"

OURS = frozenset(
    {
        "timestamp",
        "level",
        "logger",
        "workflow_id",
        "workflow_run_id",
        "run_id",
        "activity_id",
        "send_key",
        "engagement",
        "reference",
        "caller",
        "task_queue",
        "build_id",
    }
)
"""Fields that hold ids of ours, which are free of personal data, and would lose their digits; and who looked, by the
name of a token or the id that an issuer gave."""

_DELICATE = re.compile(
    r"(?:^|_)(?:token|secret|password|authorization|api_?key|credential|cookie|pepper|master_key|private_key"
    r"|phone|msisdn|e164|wa_id|address|recipient|full_?name|first_?name|last_?name|answer|body|payload)s?(?:$|_)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)

_KEPT = (
    r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"  # UUID
    r"|\b(?:19|20)\d{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?=T|\b)"  # date, alone or before a time
    r"|\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?::\d{1,5})?\b(?!\.\d)"  # IPv4 and port
)
_PHONE = (
    r"\+\s?\(?\d(?:[\s().\-/]{0,3}\d){5,17}"  # with its plus sign, however written
    r"|(?<![A-Za-z0-9.])\(?\d(?:[ ().\-/]{0,2}\d){6,17}(?![A-Za-z0-9])"  # without: seven digits or more
)
_LIKELY = re.compile(f"(?P<kept>{_KEPT})|(?P<phone>{_PHONE})")
_LEAST_NUMBER = 10_000_000
"""A whole number from here on may be a phone number that lost its plus sign: seven digits or more are dialled."""

Event = MutableMapping[str, object]


def mask(text: str) -> str:
    """``text`` without what looks like a phone number or a credential; dates, UUIDs and IP addresses stay."""
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return _LIKELY.sub(lambda found: found[0] if found["kept"] else MASK, text)


def mask_event(_logger: object, _method: str, event: Event) -> Event:
    """A structlog processor: the last one before the renderer, so that nothing gets in behind it."""
    for key in list(event):
        event[key] = _clean(key, event[key])
    return event


def _clean(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | float) or key in OURS:
        return value
    if _DELICATE.search(key):
        return REDACTED
    match value:
        case int():
            return MASK if abs(value) >= _LEAST_NUMBER else value
        case str():
            return mask(value)
        case SecretStr() | SecretBytes() | bytes():
            return REDACTED
        case BaseModel():  # may hold a person; its name says enough
            return f"<{type(value).__name__}>"
        case Mapping():
            return {mask(str(name)): _clean(str(name), inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean("", inner) for inner in value]
        case _:
            return mask(str(value))
