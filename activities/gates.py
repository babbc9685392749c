"""What gates ask of the outside, and how engagements come to gates and hear from them."""

import asyncio
from collections.abc import Sequence

from temporalio import activity

from activities.failures import application_error
from activities.scopes import Reach, ScopeHolds
from domain import names
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, SendError
from domain.gates import (
    JoinAnswer,
    JoinRequest,
    LeaveRequest,
    Refusal,
    Released,
    ReleasePage,
    TemplateLook,
    TemplateSubmission,
)
from domain.ports import Accounts, Gates, HoldRows, TemplateSpecifications, TemplateStates, TemplateSubmissions
from domain.sends import TemplateReading, TemplateStatus
from domain.templates import SubmissionState

AT_ONCE = 8
"""Signals under way at the same time: many enough to be quick, few enough to keep the order of arrival."""


class GateActivities:
    """Joining, leaving and releasing. They touch only our own store and Temporal; each may be repeated."""

    def __init__(self, gates: Gates, holds: HoldRows, templates: TemplateStates) -> None:
        self._gates, self._holds, self._templates = gates, holds, templates

    @activity.defn(name=names.JOIN_GATE)
    async def join_gate(self, request: JoinRequest) -> JoinAnswer:
        """Wait at a gate. The hold is looked up first: one that was lifted meanwhile is nothing to wait for."""
        join = request.join
        try:
            if join.reading is None and join.refusal is None:
                row = await self._holds.standing([request.gate.scope_key], join.at)
                if row is None or row.trial == join.workflow_id:
                    return JoinAnswer(open=True)
                refusal = Refusal(code=row.code, reason=row.reason, at=row.at, until=row.until)
                join = join.model_copy(update={"refusal": refusal})
            await self._gates.join(request.model_copy(update={"join": join}))
        except SendError as error:
            raise application_error(error) from None
        return JoinAnswer()

    @activity.defn(name=names.LEAVE_GATE)
    async def leave_gate(self, request: LeaveRequest) -> None:
        """Wait no longer."""
        try:
            await self._gates.leave(request)
        except SendError as error:
            raise application_error(error) from None

    @activity.defn(name=names.RELEASE_WAITERS)
    async def release_waiters(self, page: ReleasePage) -> Released:
        """Tell one page of waiters what the gate decided, in order. A repeat goes on where the last attempt was."""
        try:
            await self._prepare(page)
            done = sum(activity.info().heartbeat_details)
            waiters = page.workflow_ids[done:]
            gone = 0
            for start in range(0, len(waiters), AT_ONCE):
                group = waiters[start : start + AT_ONCE]
                gone += await self._tell(group, page)
                activity.heartbeat(done + start + len(group))
        except SendError as error:
            raise application_error(error) from None
        return Released(told=len(page.workflow_ids) - gone, gone=gone)

    async def _prepare(self, page: ReleasePage) -> None:
        if page.lift:
            await self._holds.lift(page.scope_key)
        if page.decision.trial:
            await self._holds.let_try(page.scope_key, page.workflow_ids[0])
        if page.override and page.template is not None:
            reading = page.decision.reading or TemplateReading(template_status=TemplateStatus.APPROVED)
            approved = reading.model_copy(
                update={"template_status": TemplateStatus.APPROVED, "raw_status": "APPROVED BY A PERSON"}
            )
            await self._templates.write(page.account, page.template, approved, page.decision.at)
            await self._templates.accept_category(page.account, page.template)

    async def _tell(self, group: Sequence[str], page: ReleasePage) -> int:
        taken = await asyncio.gather(*(self._gates.decide(one, page.decision) for one in group))
        return taken.count(False)


class TemplateActivities:
    """A gate's provider calls. Each is one request; they share the account's pace with every other lookup."""

    def __init__(
        self,
        accounts: Accounts,
        templates: TemplateStates,
        specifications: TemplateSpecifications,
        submissions: TemplateSubmissions,
        holds: HoldRows,
    ) -> None:
        self._accounts, self._templates = accounts, templates
        self._specifications, self._submissions = specifications, submissions
        self._scopes = ScopeHolds(holds)

    @activity.defn(name=names.READ_TEMPLATE)
    async def read_template(self, look: TemplateLook) -> TemplateReading:
        """Read a template from the provider, and keep what it says for everybody."""
        reach = Reach(look.account)
        try:
            await self._scopes.check(reach, look.at)
            try:
                reading = await self._accounts.provider(look.account).read_template(look.template, look.flow)
            except SendError as error:
                raise await self._scopes.remember(error, reach, look.at) from None
            await self._templates.write(look.account, look.template, reading, look.at)
            known = await self._templates.read(look.account, look.template)
        except SendError as error:
            raise application_error(error) from None
        return marked(known[0] if known else reading, look, self._specifications)

    @activity.defn(name=names.SUBMIT_TEMPLATE)
    async def submit_template(self, submission: TemplateSubmission) -> TemplateReading:
        """Submit a template's specification once: claimed before the call, never repeated when the answer is lost."""
        account, template, at = submission.account, submission.template, submission.at
        try:
            specification = self._specifications.find(account, template)
            if specification is None:
                raise ProviderRejected(
                    f"there is no specification of template {template.name} ({template.language}) here: add one to "
                    "the folder of templates, and start the worker again",
                    code="no-specification",
                )
            await self._scopes.check(Reach(account), at)
            mine = await self._submissions.claim(
                account, template, specification.fingerprint(), at, again=submission.again
            )
            if not mine:
                return TemplateReading(template_status=TemplateStatus.PENDING, raw_status="submitted before")
            reading = await self._submit(submission)
        except SendError as error:
            raise application_error(error) from None
        return reading

    async def _submit(self, submission: TemplateSubmission) -> TemplateReading:
        account, template, at = submission.account, submission.template, submission.at
        specification = self._specifications.find(account, template)
        if specification is None:
            raise ProviderRejected("the specification is gone", code="no-specification")
        try:
            reading = await self._accounts.provider(account).submit_template(specification)
        except ProviderRejected as error:
            await self._submissions.settle(account, template, SubmissionState.REFUSED, str(error)[:500], at)
            raise
        except ProviderUnavailable as error:
            await self._submissions.settle(account, template, SubmissionState.NOT_SUBMITTED, str(error)[:500], at)
            raise
        except OutcomeUnknown as error:
            await self._submissions.settle(account, template, SubmissionState.UNKNOWN, str(error)[:500], at)
            raise
        kept = reading.model_copy(update={"asked_category": specification.category.value})
        await self._submissions.settle(account, template, SubmissionState.SUBMITTED, "", at)
        await self._templates.write(account, template, kept, at)
        return kept


def marked(reading: TemplateReading, look: TemplateLook, specifications: TemplateSpecifications) -> TemplateReading:
    """A reading that says when it was made and whether we could submit the template."""
    # what a plan names by an id that does not exist would be submitted under another
    missing = reading.template_status is TemplateStatus.MISSING and not look.template.id
    can_submit = missing and specifications.find(look.account, look.template) is not None
    return reading.model_copy(update={"read_at": look.at, "can_submit": can_submit})
