"""What each recorded journey may cost: ``python -m bench.budgets`` writes down what the newest release's cost now.

A budget is only ever lowered by hand or by that command; a test fails where a journey costs more.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench.costs import newest, recorded
from bench.counting import Cost

FILE = Path(__file__).with_name("budgets.json")
SPARE_BYTES = 1.1
"""Texts in payloads differ a little from recording to recording."""


def budgets() -> dict[str, Cost]:
    """What was written down, by journey."""
    written: dict[str, dict[str, int]] = json.loads(FILE.read_text())
    return {journey: Cost(**its) for journey, its in written.items()}


def overruns(costs: dict[str, Cost], allowed: dict[str, Cost]) -> list[str]:
    """Each way in which a journey costs more than it may, and each journey that has no budget."""
    found = [f"{journey}: has no budget" for journey in sorted(costs.keys() - allowed.keys())]
    for journey in sorted(costs.keys() & allowed.keys()):
        mine, its = asdict(costs[journey]), asdict(allowed[journey])
        its["payload_bytes"] = int(its["payload_bytes"] * SPARE_BYTES)
        found += [f"{journey}: {mine[name]} {name}, {its[name]} allowed" for name in its if mine[name] > its[name]]
    return found


def main() -> None:
    """Write down what the newest recordings cost."""
    costs = recorded(newest())
    FILE.write_text(json.dumps({journey: asdict(cost) for journey, cost in costs.items()}, indent=2) + "\n")
    sys.stdout.write(f"{len(costs)} journeys of {newest().name} written to {FILE.name}\n")


if __name__ == "__main__":
    main()
