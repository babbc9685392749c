"""What a REST request with an ``Idempotency-Key`` was answered, so that its repeat hears the same."""

from sqlalchemy import Connection, select

from domain.errors import Conflict
from domain.model import Instant, Model
from store.database import Database, insert_new
from store.tables import idempotency_keys


class Remembered(Model):
    """An answer that was given: HTTP status and body, and the keyed hash of the request that it answered."""

    fingerprint: str
    status: int
    response: str
    created_at: Instant


class IdempotencyKeys:
    """Idempotency keys in the store, each within its tenant. Every method may raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, tenant: str, key: str, fingerprint: str) -> Remembered | None:
        """What this request was answered before; None when it is new.

        ``fingerprint`` is ``KeyRing.fingerprint`` of the request. Raises ``Conflict`` when the key was used for
        another request.
        """
        found = await self._database.read(lambda connection: _find(connection, tenant, key))
        return None if found is None else _same(found, key, fingerprint)

    async def remember(self, tenant: str, key: str, answer: Remembered) -> Remembered:
        """Keep an answer, unless one is kept already: the first one stays, and is returned.

        Raises ``Conflict`` when the key was used for another request.
        """
        values: dict[str, object] = {"tenant": tenant, "key": key, **answer.model_dump()}

        def keep(connection: Connection) -> Remembered:
            if insert_new(connection, idempotency_keys, values, key=["tenant", "key"]):
                return answer
            return _find(connection, tenant, key) or answer

        return _same(await self._database.write(keep), key, answer.fingerprint)


def _find(connection: Connection, tenant: str, key: str) -> Remembered | None:
    wanted = select(idempotency_keys).where(idempotency_keys.c.tenant == tenant, idempotency_keys.c.key == key)
    row = connection.execute(wanted).mappings().one_or_none()
    return None if row is None else Remembered.model_validate(dict(row))


def _same(found: Remembered, key: str, fingerprint: str) -> Remembered:
    if found.fingerprint != fingerprint:
        raise Conflict(f"Idempotency key {key} was used for another request: use a new one")
    return found
