"""Rates: of a line per second, of a line with one person, of a throttled Flow, of creations per hour."""

import json
from collections import deque
from datetime import datetime, timedelta

from sandbox.meta.book import Book, Conversation, Flow
from sandbox.meta.errors import Mistake, Refused
from sandbox.meta.settings import MetaAccount, MetaLine

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
THROTTLED_SENDS = 10
"""What a throttled Flow may be sent in an hour."""


def _within(times: deque[datetime], span: timedelta, now: datetime) -> int:
    while times and now - times[0] >= span:
        times.popleft()
    return len(times)


def refuse_too_fast(book: Book, line: MetaLine, conversation: Conversation, now: datetime) -> None:
    """Refuse what exceeds the throughput of the line (130429), or of the pair (131056)."""
    if line.rate is not None and _within(book.sends[line.phone_number_id], SECOND, now) >= line.rate:
        detail = "Message failed to send because there were too many messages sent from this phone number"
        raise Refused([Mistake(130429, "line-rate", detail, "path")], {"Retry-After": "1"})
    if line.pair_limit is not None and credit_of(conversation, now) < 1:
        detail = "Message failed to send because there were too many messages sent to the same phone number"
        raise Refused([Mistake(131056, "pair-rate", detail, "/to")])


def count(book: Book, line: MetaLine, conversation: Conversation, flow: Flow | None, now: datetime) -> None:
    """Count a message that was taken."""
    book.sends[line.phone_number_id].append(now)
    if line.pair_limit is not None:
        conversation.credit, conversation.credited_at = credit_of(conversation, now) - 1, now
    if flow is not None:
        flow.sends.append(now)


def credit_of(conversation: Conversation, now: datetime) -> float:
    """Messages that the pair may send now: a bucket that refills by one each ``every`` seconds."""
    limit = conversation.line.pair_limit
    if limit is None or conversation.credit is None or conversation.credited_at is None:
        return float(limit.burst) if limit is not None else 1.0
    gained = (now - conversation.credited_at).total_seconds() / limit.every
    return min(conversation.credit + gained, float(limit.burst))


def throttled_flow_is_spent(flow: Flow, now: datetime) -> bool:
    """Whether a throttled Flow has gone out as often as it may."""
    return flow.status == "THROTTLED" and _within(flow.sends, HOUR, now) >= THROTTLED_SENDS


def refuse_too_many_creations(account: MetaAccount, book: Book, now: datetime) -> None:
    """Refuse the creation beyond the hour's limit (80007), with the minutes until there is room."""
    most = account.creations_per_hour
    if most is None or _within(book.creations, HOUR, now) < most:
        return
    minutes = int((HOUR - (now - book.creations[0])).total_seconds() // 60) + 1
    usage = [{"type": "whatsapp", "call_count": 100, "estimated_time_to_regain_access": minutes}]
    headers = {"x-business-use-case-usage": json.dumps({account.waba_id: usage})}
    raise Refused([Mistake(80007, "creations", f"at most {most} templates an hour", "path")], headers)
