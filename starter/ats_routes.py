"""What a tenant's own system tells by REST: the status of one application, and a requisition that closed."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import FastAPI, Path, params
from pydantic import Field, StringConstraints

from domain.ats import AtsStatus, AtsTelling, AtsWord, Job
from domain.calls import CommandResult
from domain.model import JsonValue, Model, Reference, Written
from starter.tokens import Caller

CommandId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$")]
Reason = Annotated[str, StringConstraints(max_length=500)]

_EXAMPLE: dict[str, JsonValue] = {
    "status": "hired",
    "job": "job-88",
    "reason": "signed",
    "command_id": "ats-event-4711",
}


class AtsStatusPost(Written):
    """What became of an application. The same ``command_id`` again changes nothing and gets the same answer."""

    model_config = {"json_schema_extra": {"examples": [_EXAMPLE]}}

    status: AtsWord
    job: Job = ""
    reason: Reason = ""
    command_id: CommandId | None = None


class RequisitionClosedPost(Written):
    """A requisition that closed. The same ``command_id`` again changes nothing."""

    reason: Reason = ""
    command_id: CommandId | None = None


class RequisitionClosed(Model):
    """It is recorded; every open engagement of the job hears of it, at least once."""

    job: Job
    command_id: CommandId
    recorded: bool = Field(description="false when it was told before under this command id")


class AtsCommands(Protocol):
    """The engagement that hears; ``starter.service.EngagementService`` says what it raises."""

    async def ats_status(self, tenant: str, reference: str, command: AtsStatus) -> CommandResult:
        """Tell one engagement."""
        ...


class AtsTold(Protocol):
    """Where what was told is kept until it is carried out; ``store.ats_inbox.AtsInbox`` is the one."""

    async def tell(self, tenant: str, key: str, telling: AtsTelling, at: datetime) -> bool:
        """Keep it. False when it was told before under this ``key``."""
        ...


def add_ats_status(app: FastAPI, service: AtsCommands, operator: params.Depends) -> None:
    """The route that tells the status of one application. ``operator`` lets a caller in, as a dependency."""

    @app.post("/v1/engagements/{reference}/ats-status", summary="Tell what became of the application")
    async def ats_status(
        reference: Annotated[Reference, Path(description="your own key of the engagement")],
        body: AtsStatusPost,
        caller: Annotated[Caller, operator],
    ) -> CommandResult:
        """`hired`, `withdrawn` and `requisition-closed` end the engagement as WITHDRAWN; `moved` is noted."""
        command = AtsStatus(
            command_id=body.command_id or f"rest-{uuid.uuid4()}",
            actor=caller.name,
            reason=" ".join(body.reason.split()) or body.status.value,
            status=body.status,
            job=body.job,
        )
        return await service.ats_status(caller.tenant, reference, command)


def add_requisitions(app: FastAPI, told: AtsTold, operator: params.Depends, clock: Callable[[], datetime]) -> None:
    """The route that tells that a requisition closed."""

    @app.post("/v1/requisitions/{job}/closed", status_code=202, summary="Stop every open engagement of a job")
    async def closed(
        job: Annotated[Job, Path(min_length=1, description="your own key of the job")],
        body: RequisitionClosedPost,
        caller: Annotated[Caller, operator],
    ) -> RequisitionClosed:
        """Recorded before it is answered, and carried out right after, at least once."""
        command_id = body.command_id or f"rest-{uuid.uuid4()}"
        status = AtsWord.REQUISITION_CLOSED
        reason = " ".join(body.reason.split()) or status.value
        telling = AtsTelling(status=status, job=job, reason=reason, actor=caller.name)
        recorded = await told.tell(caller.tenant, f"rest:{command_id}", telling, clock())
        return RequisitionClosed(job=job, command_id=command_id, recorded=recorded)
