"""Whether messages that left arrived, as providers tell it: written in the transaction that stores the event."""

from collections.abc import Iterable

from sqlalchemy import Connection, or_, select, update

from domain.events import MessageStatus, ProviderEvent
from domain.events import MessageStatusChanged as _Status
from store.tables import sends

_THERE = (MessageStatus.DELIVERED, MessageStatus.READ)


def record_within(connection: Connection, told: Iterable[tuple[str, ProviderEvent]]) -> None:
    """Write what events say of the messages of these sends; repeating is harmless, and so is any order.

    A message that once was delivered stays so whatever is told of it, as in the engagement. Rows are locked in one
    order everywhere, and before people, as a claim does it.
    """
    statuses = [(key, body.message_status) for key, event in told if key and isinstance(body := event.body, _Status)]
    there = {key for key, status in statuses if status in _THERE}
    failed = {key for key, status in statuses if status is MessageStatus.FAILED} - there
    if not there and not failed:
        return
    c = sends.c
    news = or_(c.key.in_(there) & c.arrived.is_not(True), c.key.in_(failed) & c.arrived.is_(None))
    rows = connection.execute(select(c.key).where(news).order_by(c.key).with_for_update()).scalars().all()
    for keys, arrived in ((there, True), (failed, False)):
        if changed := keys.intersection(rows):
            connection.execute(update(sends).where(c.key.in_(changed)).values(arrived=arrived))
