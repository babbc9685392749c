"""The person we talk to: addresses, aliases, consent and opt-outs."""

import unicodedata
from enum import StrEnum

from domain.model import E164, Instant, Model


class AliasKind(StrEnum):
    """A way to recognise a person. Aliases are kept as keyed hashes, never as text."""

    PHONE = "phone"
    WA_ID = "wa-id"
    BSUID = "bsuid"
    THREAD = "thread"


class Alias(Model):
    """One way to recognise a person. ``scope`` is the account for ids that only mean something there, else empty.

    Phone numbers and WhatsApp ids are the same digits most of the time; ``value`` holds digits without a plus for both.
    """

    kind: AliasKind
    value: str
    scope: str = ""


def phone_alias(number: E164) -> Alias:
    """The alias of a number in E.164 form."""
    return Alias(kind=AliasKind.PHONE, value=number.removeprefix("+"))


class Consent(Model):
    """The opt-in that a business-initiated message needs: where it was given, and when."""

    source: str
    obtained_at: Instant


class OptOutScope(StrEnum):
    """How far an opt-out reaches."""

    JOB = "job"
    TENANT = "tenant"
    LINE = "line"
    ALL = "all"


class OptOut(Model):
    """A withdrawal of consent. ``scope_value`` names the job, tenant or line; empty for ``all``."""

    scope: OptOutScope
    scope_value: str = ""
    source: str
    at: Instant


class Candidate(Model):
    """Who is contacted. Sealed wherever it is kept; never part of an id, a log or a search attribute."""

    phone: E164
    variables: dict[str, str] = {}
    zone: str = ""
    consent: Consent | None = None


class StopWords(Model):
    """Words that withdraw or restore consent, compared after trimming, case folding and dropping punctuation (A-C2)."""

    stop: frozenset[str] = frozenset({"stop", "stopall", "unsubscribe", "baja", "parar", "pare", "sair"})
    start: frozenset[str] = frozenset({"start", "unstop"})

    def is_stop(self, text: str) -> bool:
        """Whether the whole text is a stop word."""
        return _bare(text) in self.stop

    def is_start(self, text: str) -> bool:
        """Whether the whole text is a word that restores consent."""
        return _bare(text) in self.start


def _bare(text: str) -> str:
    return "".join(c for c in text.strip().casefold() if not unicodedata.category(c).startswith(("P", "S"))).strip()
