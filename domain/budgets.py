"""What one engagement may spend: messages, and money by a price table. Pure sums; what was spent the state knows."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain.model import Findings, Written

Category = Literal["MARKETING", "UTILITY", "AUTHENTICATION"]
"""What a template is for; providers charge by it."""

Charged = Literal["MARKETING", "UTILITY", "AUTHENTICATION", "SERVICE"]
"""What a message costs by: its template's category, or ``SERVICE`` for one without a template."""

SERVICE: Charged = "SERVICE"

Country = Annotated[str, StringConstraints(pattern=r"^(?:[A-Z]{2})?$")]
"""ISO 3166 code of a number's country, as ``NL``; empty where it does not matter or is not known."""

Amount = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=6)]
"""Money in whole units of its currency, never a binary fraction."""


class Price(Written):
    """What one message of a category costs in a country; without ``country`` in every other country."""

    category: Charged
    country: Country = ""
    price: Amount


class Budget(Written):
    """The most that one engagement spends. When it is spent no follow-up leaves any more; the opening always may."""

    messages: Annotated[int, Field(ge=1)] | None = None
    """Messages in all, the opening included."""
    money: Amount | None = None
    """Money in all, the opening included, by ``prices``."""
    currency: Annotated[str, StringConstraints(pattern=r"^(?:[A-Z]{3})?$")] = ""
    prices: tuple[Price, ...] = ()
    """The price table; in a plan file it may be the name of a YAML file with this list, beside the plan."""

    def price(self, category: str, country: str) -> Decimal | None:
        """What one message costs; None where the table does not say."""
        fitting = [p for p in self.prices if p.category == category and p.country in (country, "")]
        return max(fitting, key=lambda p: bool(p.country)).price if fitting else None

    def countries(self) -> tuple[str, ...]:
        """Every country that the table speaks of, the empty one for all others, each once."""
        return tuple(dict.fromkeys(p.country for p in self.prices))

    def findings(self) -> Findings:
        """What does not go together within the budget itself."""
        if self.messages is None and self.money is None:
            yield (), "names neither messages nor money: say what may be spent, or leave the budget out"
        if self.money is None:
            for member in ("prices", "currency"):
                if getattr(self, member):
                    yield (member,), "without money it has no effect: add money, or leave it out"
        else:
            if not self.currency:
                yield ("currency",), "missing: say of which currency the money is, as in EUR"
            if not self.prices:
                yield ("prices",), "missing: without prices nobody can say when the money is spent"
        seen: set[tuple[str, str]] = set()
        for n, price in enumerate(self.prices):
            if (price.category, price.country) in seen:
                yield ("prices", n), f"{price.category} {price.country or 'elsewhere'} has a price above already"
            seen.add((price.category, price.country))
