"""Engagements that wait for their person to be free, as Temporal workflows. Answers the port ``WaitingEngagements``."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain import names
from domain.contacts import ContactFree
from domain.errors import Erased, NotFound, ProviderUnavailable

_ASK = timedelta(seconds=2)
"""Short: the close that tells them has seconds, and whoever is not told asks by itself."""


class TemporalWaiting:
    """Signals to engagements that were not admitted yet."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def tell_free(self, workflow_id: str, free: ContactFree) -> None:
        """Signal one engagement; one that has closed, or that Temporal was not told of yet, waits for nothing."""
        try:
            await self._client.get_workflow_handle(workflow_id).signal(names.CONTACT_FREE, free, rpc_timeout=_ASK)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise ProviderUnavailable(
                    f"Temporal did not take a signal ({error.status.name})", code="temporal"
                ) from error
        except (Erased, NotFound):  # nothing can be sealed for somebody who was erased, who waits for nothing
            return
