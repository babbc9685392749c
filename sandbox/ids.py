"""Ids that look random, repeat with the seed, and are no UUIDs although they look like some."""

import hashlib

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_GROUPS = (8, 4, 4, 4, 12)


class Mint:
    """Derives every id from the seed and from what the id names, never from a counter over everything.

    So two requests that race get the ids that they would have got in any other order.
    """

    def __init__(self, seed: str) -> None:
        self._key = hashlib.sha256(seed.encode()).digest()

    def id(self, *parts: str | int) -> str:
        """The id of what ``parts`` name. Opaque: the letters go beyond hexadecimal, as in Recrubo's own samples."""
        name = "\x1f".join(str(part) for part in parts)
        digest = hashlib.blake2b(name.encode(), key=self._key, digest_size=32).digest()
        letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest)
        groups, start = [], 0
        for length in _GROUPS:
            groups.append(letters[start : start + length])
            start += length
        return "-".join(groups)
