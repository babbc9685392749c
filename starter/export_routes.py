"""The REST route that exports an engagement."""

from typing import Annotated, Protocol

from fastapi import FastAPI, Path, params

from domain.export import EngagementExport
from domain.model import Reference
from starter.tokens import Caller

Ref = Annotated[Reference, Path(description="your own key of the engagement")]


class Exporting(Protocol):
    """``starter.exporting.ExportService`` says what it raises."""

    async def export(self, tenant: str, reference: str) -> EngagementExport:
        """Everything that is kept of one engagement."""
        ...


def add_export(app: FastAPI, exporting: Exporting, reader: params.Depends) -> None:
    """``reader`` lets a caller in, as a dependency."""

    @app.get("/v1/engagements/{reference}/export", summary="All that is kept of it, answers included, as one document")
    async def export(reference: Ref, caller: Annotated[Caller, reader]) -> EngagementExport:
        """The form is docs/export.schema.json. `missing` names what the document would have and has not."""
        return await exporting.export(caller.tenant, reference)
