"""The REST route that erases a person."""

import uuid
from typing import Annotated, Protocol

from fastapi import FastAPI, Path, Response, params
from pydantic import StringConstraints

from domain.calls import Command
from domain.errors import NotAllowed, NotFound
from domain.model import Written
from starter.erasure import Erasure
from starter.tokens import Caller

Who = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="a contact id, or your reference; no number")]


class ErasePost(Written):
    """Why. No personal data: it is kept."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Erasing(Protocol):
    """``starter.erasure.ErasureService`` says what each raises."""

    async def find(self, who: str, tenant: str) -> str:
        """The contact id of a person."""
        ...

    async def of_others(self, contact_id: str, tenant: str) -> bool:
        """Whether other tenants have something of the person."""
        ...

    async def owned(self, contact_id: str, tenant: str) -> bool:
        """Whether this tenant has something of the person."""
        ...

    async def erase(self, contact_id: str, command: Command) -> Erasure:
        """Erase a person, of every tenant."""
        ...


def add_erasure(app: FastAPI, erasing: Erasing, eraser: params.Depends) -> None:
    """``eraser`` lets a caller in, as a dependency."""

    @app.post("/v1/contacts/{who}/erase", summary="Erase a person; 202 while an engagement has not ended yet")
    async def erase(who: Who, body: ErasePost, caller: Annotated[Caller, eraser], response: Response) -> Erasure:
        """Repeat it until it answers 200. A person whom another tenant engages too is erased by this
        installation's operator alone.
        """
        nobody = NotFound(f"tenant {caller.tenant} knows no such person")  # in the same words where there is one
        try:
            contact_id = await erasing.find(who, caller.tenant)
        except NotFound:
            raise nobody from None
        if not await erasing.owned(contact_id, caller.tenant):
            raise nobody
        if await erasing.of_others(contact_id, caller.tenant):
            raise NotAllowed("this person is erased by the operator of this installation, with `rapport erase`")
        command = Command(command_id=f"erase-{uuid.uuid4()}", actor=caller.name, reason=body.reason)
        erasure = await erasing.erase(contact_id, command)
        response.status_code = 200 if erasure.is_done else 202
        return erasure
