"""The signed token that is the whole body of a delivery: three segments, HS256, one of our keys (A-T4).

The algorithm is ours, never the token's: a header that names any other is refused, ``none`` in any case included.
Tokens have no ``exp`` and retries come late, so neither age nor clock skew is looked at. Truora: hook description.
"""

import base64
import binascii
import re

from jwt.algorithms import HMACAlgorithm

from providers.wire import Read, read_json

ALGORITHM = "HS256"

_HS256 = HMACAlgorithm(HMACAlgorithm.SHA256)
_SEGMENT = re.compile(rb"[A-Za-z0-9_-]*")


def is_signed(body: bytes, keys: tuple[bytes, ...]) -> bool:
    """Whether one of ``keys`` signed the token that ``body`` is, white space around it aside."""
    segments = body.strip().split(b".")
    if len(segments) != 3 or not _names_our_algorithm(segments[0]):
        return False
    signature = _decoded(segments[2])
    if not signature:
        return False
    signed = segments[0] + b"." + segments[1]
    matches = [_HS256.verify(signed, key, signature) for key in keys]  # every key, so that time tells nothing
    return any(matches)


def payload_of(body: bytes) -> bytes | None:
    """The payload of a token, unverified; None when there is none."""
    segments = body.strip().split(b".")
    return _decoded(segments[1]) if len(segments) == 3 else None


def _names_our_algorithm(segment: bytes) -> bool:
    header = read_json(_decoded(segment) or b"")
    if not isinstance(header, Read) or not isinstance(header.value, dict):
        return False
    # "crit" lists extensions that change how a token is read, and we know none (RFC 7515, 4.1.11)
    return header.value.get("alg") == ALGORITHM and "crit" not in header.value and "b64" not in header.value


def _decoded(segment: bytes) -> bytes | None:
    if not _SEGMENT.fullmatch(segment):
        return None
    try:
        return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except binascii.Error:
        return None
