"""What is told of a provider's own text: the words of a closed list, and nothing that could be a person's.

Whoever refuses a request may repeat in plain text what was sent: a number, a name, an answer.
"""

import re

_FIELDS = (
    "phone_number country_code outbound_id user_authorized flow_id account_id line session_id process_id "
    "outbound_status is_notification"
)
_PLAIN_WORDS = (
    "a access account active after already an and api approved are attribute attributes authorized available bad be "
    "been before blocked body cannot closed code conflict content content-type country deliver delivered delivery "
    "does duplicate duplicated empty entity error exist exists expected expired failed field fields flow for "
    "forbidden form found gateway gone has hit hours id ids in internal invalid is it key length limit many media "
    "message method missing must name no not number of only or outbound outbounds outside parameter parameters "
    "pending permission phone process rate reach reached recipient rejected repeated request requests required send "
    "sent server service session status template the this timeout to too true type unable unauthorized unavailable "
    "undeliverable unknown unprocessable unsupported user value values var variable variables was were whatsapp "
    "window with without wrong"
)
_KNOWN = frozenset(f"{_FIELDS} {_PLAIN_WORDS}".split())
_VARIABLE = re.compile(r"var\.[A-Za-z][A-Za-z0-9_]{0,63}")
_MOST_WORDS = 30


def plain_words(text: str) -> str:
    """The words of a message that are on our list, each run of others as ``…``; empty when none is."""
    words = ["…" if not _is_known(word.strip(".,;:!\"'()[]`")) else word for word in text.split()[:_MOST_WORDS]]
    kept = [word for n, word in enumerate(words) if word != "…" or n == 0 or words[n - 1] != "…"]
    return "" if all(word == "…" for word in kept) else " ".join(kept)


def _is_known(word: str) -> bool:
    return word.lower() in _KNOWN or _VARIABLE.fullmatch(word) is not None
