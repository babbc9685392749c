"""How a provider's rate is shared between the sends of its lines and everything else that is asked of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from domain.topology import Account, Line

MARGIN = 0.9
"""We stay this far under the provider's cap. What it leaves is for what nobody sees from here: a request on its way."""
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


@dataclass(frozen=True)
class Window:
    """What a provider never sees exceeded: at most so many sends in any so many ``seconds``, wherever they begin."""

    most: int
    seconds: float


def window_of(pace: float) -> Window:
    """The window of a line that sends at a pace of ``paces``.

    A second for a whole rate, as in 20 in a second; as long as whole sends take for any other: 2 in 1.11 s for 1.8 a
    second, one in 2 s for 0.5.
    """
    granted = round(pace / MARGIN, 9)  # 2.7 / 0.9 is a little over 3, and would make 4 sends of it
    most = math.ceil(granted)
    return Window(most, most / granted)
