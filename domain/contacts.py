"""The person we talk to: addresses, aliases, consent and opt-outs."""

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
    MARKETING = "marketing"
    """Templates of the category MARKETING on one line, and nothing else."""
    ALL = "all"


MARKETING_CATEGORY = "MARKETING"


class Reach(Model):
    """What a message, or an engagement, would touch: an opt-out counts when it covers this.

    ``category`` is that of the template; None where there is no single template, so that no opt-out from marketing
    counts. A template whose category nobody knows (empty) counts as marketing: what is not known must not be sent.
    """

    tenant: str
    line: str
    job: str = ""
    category: str | None = None

    @property
    def is_marketing(self) -> bool:
        """Whether an opt-out from marketing forbids it."""
        return self.category is not None and self.category.upper() in ("", MARKETING_CATEGORY)

    def values(self) -> dict[OptOutScope, str]:
        """By scope, the value that covers this; a scope that is missing cannot."""
        covering = {OptOutScope.ALL: "", OptOutScope.TENANT: self.tenant, OptOutScope.LINE: self.line}
        if self.job:  # engagements without a job do not share one
            covering[OptOutScope.JOB] = job_value(self.tenant, self.job)
        if self.is_marketing:
            covering[OptOutScope.MARKETING] = self.line
        return covering


def job_value(tenant: str, job: str) -> str:
    """The value of scope ``job``: two tenants may name their jobs alike, and neither speaks for the other."""
    return f"{tenant}:{job}"


class OptOut(Model):
    """A withdrawal of consent. ``scope_value`` names the job (``job_value``), tenant or line; empty for ``all``."""

    scope: OptOutScope
    scope_value: str = ""
    source: str
    at: Instant

    def covers(self, reach: Reach) -> bool:
        """Whether it forbids what has this reach."""
        return reach.values().get(self.scope) == self.scope_value


class ContactChange(Model):
    """A withdrawal of consent that was recorded outside a conversation, as the person's engagements hear it.

    ``key`` is equal on every repeat.
    """

    key: str
    opt_out: OptOut
    actor: str = ""


class ContactFree(Model):
    """An engagement of the person is over, as those hear it that wait for that. Hearing it again is harmless."""

    workflow_id: str
    """Of the engagement that is over."""


class Candidate(Model):
    """Who is contacted. Sealed wherever it is kept; never part of an id, a log or a search attribute."""

    phone: E164
    variables: dict[str, str] = {}
    zone: str = ""
    consent: Consent | None = None
