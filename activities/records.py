"""Activities on our own store, and the notice to the tenant's system."""

from temporalio import activity

from activities.failures import application_error
from domain import names
from domain.calls import Admission, AdmissionRequest, AtsNotice, CloseRequest, RecordSend
from domain.errors import NotAllowed, NotFound, SendError
from domain.ports import AtsNotifier, ContactPolicy, EngagementArchive, SendLedger


class RecordActivities:
    """What an engagement asks of our own store. Every one of them may be repeated."""

    def __init__(
        self, contacts: ContactPolicy, ledger: SendLedger, archive: EngagementArchive, ats: AtsNotifier
    ) -> None:
        self._contacts, self._ledger, self._archive, self._ats = contacts, ledger, archive, ats

    @activity.defn(name=names.ADMIT_ENGAGEMENT)
    async def admit(self, request: AdmissionRequest) -> Admission:
        """Consent, opt-outs, and whether the person is busy on this line: decided once, then the same answer."""
        try:
            return await self._contacts.admit(request)
        except SendError as error:
            raise application_error(error) from None

    @activity.defn(name=names.RECORD_SEND)
    async def record_send(self, request: RecordSend) -> None:
        """Move a ledger row to what reconciliation, an event or a person found out."""
        try:
            await self._ledger.resolve(request.send_key, request.state, request.receipt, request.at)
        except NotFound:  # never claimed, so there is nothing to correct
            activity.logger.warning("send_never_claimed", extra={"send_key": request.send_key})
        except NotAllowed:  # settled otherwise meanwhile: the ledger's first word stands
            activity.logger.warning("send_already_settled", extra={"send_key": request.send_key})
        except SendError as error:
            raise application_error(error) from None

    @activity.defn(name=names.CLOSE_ENGAGEMENT)
    async def close(self, request: CloseRequest) -> None:
        """Make the outcome final, archive the story and release the contact."""
        try:
            await self._archive.close(request)
        except NotFound:  # started past the registry: a defect, but one that must not keep an engagement open
            activity.logger.error("engagement_not_registered")
        except SendError as error:
            raise application_error(error) from None

    @activity.defn(name=names.NOTIFY_ATS)
    async def notify_ats(self, notice: AtsNotice) -> None:
        """Tell the tenant's system; Temporal repeats it for as long as the engagement's ``ats_budget``."""
        try:
            await self._ats.notify(notice.result.tenant, notice)
        except SendError as error:
            raise application_error(error) from None
