"""How a provider's rate is shared between the sends of its lines and everything else that is asked of it."""

from collections.abc import Mapping

from domain.topology import Account, Line

MARGIN = 0.9
"""We stay this far under the provider's cap: its window and ours never begin at the same instant."""
SENDS_SHARE = 0.6
"""At most this part of an account's pace goes to sends, so that templates, threads and runs can still be read."""


def paces(account: Account, lines: tuple[Line, ...]) -> tuple[float, Mapping[str, float]]:
    """Requests per second for the account's lookups, and sends per second for each line; together under its rate."""
    total = account.rate * MARGIN
    wanted = {line.slug: line.rate * MARGIN for line in lines}
    asked = sum(wanted.values())
    scale = min(1.0, total * SENDS_SHARE / asked) if asked else 1.0
    sends = {slug: rate * scale for slug, rate in wanted.items()}
    return total - sum(sends.values()), sends
