"""What Truora's refusals mean. Classes follow the HTTP status (A-T10); the code and the message are kept for people.

The message is free text and may repeat what we sent, so of its words only those of a closed list are told: what Truora
says of its own fields, and nothing that could be a person's.
"""

import re
from dataclasses import replace

from domain.errors import Scope
from providers.endings import Answer, Ending, Verdict, with_facts
from providers.truora.schemas import ErrorBody
from providers.wire import as_object

_FIELDS = (
    "phone_number country_code outbound_id user_authorized flow_id account_id line session_id process_id "
    "outbound_status is_notification"
)
_PLAIN_WORDS = (
    "a access account active already an and api approved are authorized bad be been before body cannot code conflict "
    "content content-type country does duplicate duplicated empty error exist exists expected expired failed field "
    "fields flow for forbidden form found has id ids in internal invalid is it key length limit many media message "
    "method missing must name no not number of only or outbound outbounds parameter parameters pending permission "
    "phone process rate rejected repeated request requests required server service session status template the this "
    "to too true type unauthorized unavailable unknown unsupported user value values var variable variables was were "
    "whatsapp with without wrong"
)
_KNOWN = frozenset(f"{_FIELDS} {_PLAIN_WORDS}".split())
_VARIABLE = re.compile(r"var\.[A-Za-z][A-Za-z0-9_]{0,63}")
_MOST_WORDS = 30


def refine(answer: Answer, verdict: Verdict) -> Verdict:
    """Add Truora's code and message to a verdict by status; an unknown outbound stops whatever else waits for it."""
    told = ErrorBody.model_validate(as_object(answer.json()))
    text = told.message or (answer.body[:1000].decode("utf-8", "replace") if answer.json() is None else "")
    if answer.status == 404 and verdict.ending is Ending.REJECTED:
        verdict = replace(verdict, scope=Scope.TEMPLATE)
    return with_facts(verdict, code=told.code, facts=plain_words(text))


def refine_process(answer: Answer, verdict: Verdict) -> Verdict:
    """The same for the process API, where what is unknown is one process."""
    return replace(refine(answer, verdict), scope=verdict.scope)


def plain_words(text: str) -> str:
    """The words of a message that are on our list, each run of others as ``…``; empty when none is."""
    words = ["…" if not _is_known(word.strip(".,;:!\"'()[]`")) else word for word in text.split()[:_MOST_WORDS]]
    kept = [word for n, word in enumerate(words) if word != "…" or n == 0 or words[n - 1] != "…"]
    return "" if all(word == "…" for word in kept) else " ".join(kept)


def _is_known(word: str) -> bool:
    return word.lower() in _KNOWN or _VARIABLE.fullmatch(word) is not None
