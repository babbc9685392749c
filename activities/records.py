"""Activities on our own store, and the notice to the tenant's system."""

import asyncio

from temporalio import activity

from activities.failures import application_error, failure_of
from activities.known_templates import known_template
from domain import names
from domain.ats import outcome_notice
from domain.calls import Admission, AdmissionRequest, AtsNotice, Closed, CloseRequest, RecordSend
from domain.contacts import ContactFree
from domain.errors import NotAllowed, NotFound, ProviderRejected, SendError, StoreUnavailable
from domain.ports import (
    AtsLetters,
    AtsNotifier,
    ContactPolicy,
    EngagementArchive,
    SendLedger,
    TemplateStates,
    WaitingEngagements,
)

ATS_AT_ONCE = 15
"""Seconds that the tenant's system has to take an outcome with the close; who takes longer is told apart."""


class RecordActivities:
    """What an engagement asks of our own store. Every one of them may be repeated."""

    def __init__(  # noqa: PLR0917 - ports are given by name or position, each is one collaborator
        self,
        contacts: ContactPolicy,
        ledger: SendLedger,
        archive: EngagementArchive,
        ats: AtsNotifier,
        letters: AtsLetters,
        waiting: WaitingEngagements,
        templates: TemplateStates,
    ) -> None:
        self._contacts, self._ledger, self._archive, self._waiting = contacts, ledger, archive, waiting
        self._ats, self._letters, self._templates = ats, letters, templates

    @activity.defn(name=names.ADMIT_ENGAGEMENT)
    async def admit(self, request: AdmissionRequest) -> Admission:
        """Consent, opt-outs, and whether the person is busy on this line: decided once, then the same answer.

        With it, how the template of the opening stands: what is known here needs no step of its own.
        """
        try:
            admission = await self._contacts.admit(request)
        except SendError as error:
            raise application_error(error) from None
        known = await known_template(self._templates, request.template) if admission.admitted else None
        return admission.model_copy(update={"template": known})

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
    async def close(self, request: CloseRequest) -> Closed | None:
        """Make the outcome final, archive the story and release the contact; then tell, where that is asked for.

        None where it is not: code from before it could be asked reads no other answer.
        """
        try:
            await self._archive.close(request)
        except NotFound:  # started past the registry: a defect, but one that must not keep an engagement open
            activity.logger.error("engagement_not_registered")
        except SendError as error:
            raise application_error(error) from None
        await self._tell_free(request)
        return await self._tell_ats(request) if request.tells_ats else None

    async def _tell_ats(self, request: CloseRequest) -> Closed:
        """Tell the outcome once. What does not go through is left to ``notify-ats``: no close waits for another system.

        Nothing that goes wrong here may end the attempt: the outcome is final.
        """
        notice = outcome_notice(request.workflow_id, request.result, request.at)
        try:
            async with asyncio.timeout(ATS_AT_ONCE):
                await self._ats.notify(notice.about.tenant, notice)
        except ProviderRejected as refused:
            await self._keep_letter(notice, refused)
            return Closed(refused=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the outcome stands and ``notify-ats`` goes on
            why = type(error).__name__
            activity.logger.warning("ats_not_told_at_once", extra={"event_id": notice.event_id, "why": why})
            return Closed()
        return Closed(told=True)

    async def _tell_free(self, request: CloseRequest) -> None:
        """Who waits for this person to be free asks at once. One that is not told asks by itself, within the hour."""
        free = ContactFree(workflow_id=request.workflow_id)
        try:
            for workflow_id in await self._archive.not_admitted(request.contact_id):
                await self._waiting.tell_free(workflow_id, free)
        except SendError as error:
            activity.logger.warning("waiting_engagements_not_told", extra={"code": error.code})

    @activity.defn(name=names.NOTIFY_ATS)
    async def notify_ats(self, notice: AtsNotice) -> None:
        """Tell the tenant's system; Temporal repeats it for as long as the engagement's ``ats_budget``."""
        try:
            await self._ats.notify(notice.about.tenant, notice)
        except SendError as error:
            await self._keep_letter(notice, error)
            raise application_error(error) from None
        if activity.info().attempt > 1:
            await self._delivered(notice)

    async def _keep_letter(self, notice: AtsNotice, error: SendError) -> None:
        """What did not go through stays visible, and can be sent by hand when Temporal has given up."""
        info = activity.info()
        limit = info.schedule_to_close_timeout
        try:
            await self._letters.failed(
                notice,
                failure_of(error),
                attempt=info.attempt,
                gives_up_at=None if limit is None else info.scheduled_time + limit,
                final=isinstance(error, ProviderRejected),
            )
        except StoreUnavailable:  # the next attempt writes it; what Temporal does is not held up
            activity.logger.warning("ats_letter_not_kept", extra={"event_id": notice.event_id})

    async def _delivered(self, notice: AtsNotice) -> None:
        try:
            await self._letters.delivered(notice.event_id)
        except StoreUnavailable:  # it stays listed as failing: sent once more by hand it is the same event there
            activity.logger.warning("ats_letter_not_settled", extra={"event_id": notice.event_id})
