"""What Truora's refusals mean. Classes follow the HTTP status (A-T10); the code and the message are kept for people.

The message is free text and may repeat what we sent, so of its words only those of a closed list are told.
"""

from dataclasses import replace

from domain.errors import Scope
from providers.endings import Answer, Ending, Verdict, with_facts
from providers.plain_words import plain_words
from providers.truora.schemas import ErrorBody
from providers.wire import as_object


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
