"""Who uses what: tenants, accounts and lines, as one configuration file names them. Secrets appear as references."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from domain.ats import AtsEvent
from domain.caps import Caps
from domain.model import JsonValue, Slug, Written
from domain.windows import ZoneName

SecretRef = Annotated[str, StringConstraints(pattern=r"^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
"""Where a secret is: ``env:NAME`` or ``file:/path``. Never the secret."""

HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]


class Role(StrEnum):
    """What a bearer token may do within its tenant."""

    READ = "read"
    OPERATE = "operate"
    ERASE = "erase"


class AtsTarget(Written):
    """Where a tenant's system wants to hear about outcomes, and the key that signs what we tell it."""

    url: HttpUrl
    secret: SecretRef
    events: Annotated[frozenset[AtsEvent], Field(min_length=1)] = frozenset({AtsEvent.CLOSED})
    """What it hears of; outcomes alone unless more is named."""


class Tenant(Written):
    """A recruiter's organisation; the border that no data crosses."""

    slug: Slug
    ats: AtsTarget | None = None
    ats_webhook_secrets: tuple[SecretRef, ...] = ()
    """Keys (``whsec_…``) that sign what its system tells us, at ``/webhooks/ats/<slug>``; several during a rotation."""
    caps: Caps = Caps()


class Account(Written):
    """What one provider credential covers. ``options`` are the provider's own settings, checked by its folder."""

    slug: Slug
    provider: Slug
    base_url: HttpUrl | None = None
    credential: SecretRef
    webhook_secrets: Annotated[tuple[SecretRef, ...], Field(min_length=1)]
    """All valid at once, so that a rotation loses nothing."""
    rate: Annotated[float, Field(gt=0)] = 5.0
    """Requests per second that the provider grants the account."""
    options: dict[str, JsonValue] = {}


class Line(Written):
    """A sending number, by a name that is not the number. ``sender`` is the provider's id of it, where there is one."""

    slug: Slug
    account: Slug
    tenants: Annotated[tuple[Slug, ...], Field(min_length=1)]
    sender: str = ""
    rate: Annotated[float, Field(gt=0)] = 5.0
    """Sends per second that the provider grants the line."""
    zone: ZoneName = "UTC"
    """Where the people of this line live, as far as neither their profile nor their number tells."""


class AccessToken(Written):
    """A REST bearer token by reference, with the tenant it speaks for and what it may do."""

    name: Slug
    tenant: Slug
    token: SecretRef
    roles: Annotated[frozenset[Role], Field(min_length=1)]


class Topology(Written):
    """The whole configuration file."""

    tenants: Annotated[tuple[Tenant, ...], Field(min_length=1)]
    accounts: Annotated[tuple[Account, ...], Field(min_length=1)]
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    tokens: tuple[AccessToken, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> "Topology":
        wrong = [
            *_repeated("tenants", [t.slug for t in self.tenants]),
            *_repeated("accounts", [a.slug for a in self.accounts]),
            *_repeated("lines", [li.slug for li in self.lines]),
            *_repeated("tokens", [t.name for t in self.tokens]),
        ]
        tenants, accounts = {t.slug for t in self.tenants}, {a.slug for a in self.accounts}
        for n, line in enumerate(self.lines):
            if line.account not in accounts:
                wrong.append(_fault(f"line {line.slug}: no account {line.account}", "lines", n, "account"))
            wrong += [
                _fault(f"line {line.slug}: no tenant {tenant}", "lines", n, "tenants", i)
                for i, tenant in enumerate(line.tenants)
                if tenant not in tenants
            ]
        wrong += [
            _fault(f"token {token.name}: no tenant {token.tenant}", "tokens", n, "tenant")
            for n, token in enumerate(self.tokens)
            if token.tenant not in tenants
        ]
        if wrong:  # pydantic takes the places over, so that each fault can be told with its line
            raise ValidationError.from_exception_data("Topology", wrong, hide_input=True)
        return self

    def tenant(self, slug: str) -> Tenant | None:
        """The tenant of this name, if there is one."""
        return next((t for t in self.tenants if t.slug == slug), None)

    def account(self, slug: str) -> Account | None:
        """The account of this name, if there is one."""
        return next((a for a in self.accounts if a.slug == slug), None)

    def line(self, slug: str) -> Line | None:
        """The line of this name, if there is one."""
        return next((li for li in self.lines if li.slug == slug), None)

    def lines_of(self, account: str) -> tuple[Line, ...]:
        """Every line of one account."""
        return tuple(li for li in self.lines if li.account == account)


def _repeated(what: str, names: list[str]) -> list[InitErrorDetails]:
    return [_fault(f"{what[:-1]} {name}: named twice", what, n) for n, name in enumerate(names) if name in names[:n]]


def _fault(message: str, *place: str | int) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("topology", message), loc=place, input=None)
