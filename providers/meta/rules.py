"""What Meta would refuse, found before the call: each mistake names the member on the wire and repeats no value."""

import json
import re

from domain.errors import ProviderRejected, Scope
from domain.model import JsonValue

LONGEST_BODY = 1024
LONGEST_TEXT = 4096
LONGEST_HEADER = 60
LONGEST_FOOTER = 60
LONGEST_BUTTON = 25
LONGEST_CTA = 30
LONGEST_CALLBACK = 512
LONGEST_NAME = 512

VARIABLE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
UNUSED_TOKEN = "unused"  # noqa: S105 - Meta's own default, which makes the replies of two people look alike

_FORMATTING = re.compile(r"[\n\r\t]| {5,}")


def refuse_if(mistakes: list[str], account: str, what: str) -> None:
    """Raise ``ProviderRejected`` with every mistake. Nothing was sent."""
    if mistakes:
        text = f"account {account}: {what}: not sent: {'; '.join(mistakes)}"
        raise ProviderRejected(text, scope=Scope.MESSAGE, code="incomplete-send")


def length(field: str, text: str, most: int, *, required: bool = True) -> list[str]:
    """A text that must not be empty (where required) nor longer than ``most`` characters."""
    if not text.strip():
        return [f"{field}: is empty"] if required or text else []
    return [f"{field}: {len(text)} characters, at most {most}"] if len(text) > most else []


def parameter(field: str, value: str) -> list[str]:
    """A template parameter. Line ends, tabs and more than four blanks in a row are refused with 132018."""
    if _FORMATTING.search(value):
        return [f"{field}: holds a line end, a tab or more than four blanks in a row"]
    return length(field, value, LONGEST_BODY)


def writable(field: str, value: JsonValue) -> list[str]:
    """A value that can be written as JSON text."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return [f"{field}: holds a number that is not finite, or text that cannot be written"]
    return []


def token(field: str, value: str) -> list[str]:
    """A flow token: always one of ours."""
    return [f"{field}: must be unique to this send"] if not value.strip() or value == UNUSED_TOKEN else []
