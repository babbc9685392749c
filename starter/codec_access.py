"""Who comes into the codec server: tokens of the REST interface, service tokens, identity tokens of an issuer."""

from domain.errors import NotEntitled, SetupError
from domain.topology import Role
from runtime.codec_desk import Reader
from runtime.codec_server import NotAuthenticated
from runtime.oidc import IdentityTokens
from starter.tokens import AccessTokens, FailureLimit, ServiceTokens


class CodecEntrance:
    """Bearer tokens: a tenant's with the role ``read``, the installation's own, or an issuer's.

    Failures are counted by address, and an address with too many waits, whatever it sends. Raises ``SetupError``
    when nobody could ever come in, and for a token that is a tenant's and the installation's own at once.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        services: ServiceTokens,
        identities: IdentityTokens | None = None,
        *,
        failures: FailureLimit | None = None,
    ) -> None:
        if not tokens.any and not services.any and identities is None:
            raise SetupError(
                "a codec server outside development needs somebody who may read: name tokens in the configuration, "
                "give --token, or set RAPPORT_CODEC__OIDC_ISSUER"
            )
        both = [(tokens.names[one], services.names[one]) for one in tokens.names.keys() & services.names.keys()]
        if both:
            pairs = ", ".join(f"{tenants} and {service}" for tenants, service in sorted(both))
            raise SetupError(
                f"a tenant's token and a service token have the same value ({pairs}), so the tenant would see what is "
                "everybody's: give each its own"
            )
        self._tokens, self._services, self._identities = tokens, services, identities
        self._failures = failures or FailureLimit()

    async def admit(self, authorization: str, client: str) -> Reader:
        """Who holds this token. Raises ``NotAuthenticated``, and ``NotEntitled`` without the role ``read``."""
        wait = self._failures.wait(client)
        if wait:
            raise NotAuthenticated(wait)
        scheme, _, bearer = authorization.partition(" ")
        reader = await self._reader(bearer.strip()) if scheme.lower() == "bearer" and bearer.strip() else None
        if reader is None:
            self._failures.failed(client)
            raise NotAuthenticated
        return reader

    async def _reader(self, bearer: str) -> Reader | None:
        service, caller = self._services.name_of(bearer), self._tokens.caller(bearer)
        if service is not None:
            return Reader(service, tenant=None)
        if caller is not None:
            caller.needs(Role.READ)
            return Reader(caller.name, caller.tenant)
        identity = None if self._identities is None else await self._identities.identity(bearer)
        if identity is None:
            return None
        if Role.READ not in identity.roles:
            raise NotEntitled("this identity may not read: its roles do not include read")
        return Reader(identity.subject, identity.tenant)
