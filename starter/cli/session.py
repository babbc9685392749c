"""What a command needs to talk to the service. Opened for one command, then closed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import typer

from domain.errors import BadInput, Mistake, SetupError
from domain.topology import Topology
from gateway.desk import InboxService
from runtime.processes import open_process
from runtime.settings import LogLevel, MetricsSettings, Settings, load_settings
from starter.bulk import BulkService
from starter.contacts import ContactService
from starter.deployments import DeploymentService
from starter.engine import Engine
from starter.erasure import ErasureService
from starter.exporting import ExportService
from starter.gates import GateService
from starter.letters import AtsService
from starter.parts import (
    ats_of,
    contacts_of,
    erasing_of,
    exporting_of,
    gates_of,
    retention_of,
    service_of,
    templates_of,
)
from starter.pauses import PauseService
from starter.retention import RetentionService
from starter.service import EngagementService
from starter.templates import TemplateService


@dataclass(frozen=True)
class Session:
    """The service, and the topology that it works by."""

    service: EngagementService
    topology: Topology
    gates: GateService | None = None
    templates: TemplateService | None = None
    inbox: InboxService | None = None
    pauses: PauseService | None = None
    bulk: BulkService | None = None
    deployments: DeploymentService | None = None
    contacts: ContactService | None = None
    ats: AtsService | None = None
    erasing: ErasureService | None = None
    retention: RetentionService | None = None
    exporting: ExportService | None = None
    build_id: str | None = None
    """The release that this installation's workers are, where the settings say so."""

    def at_contacts(self) -> ContactService:
        """Leave to write to people. Raises ``SetupError`` in a session that was opened without."""
        if self.contacts is None:
            raise SetupError("this session has no contacts")
        return self.contacts

    def at_erasing(self) -> ErasureService:
        """Erasing people. Raises ``SetupError`` in a session that was opened without."""
        if self.erasing is None:
            raise SetupError("this session erases nobody")
        return self.erasing

    def at_retention(self) -> RetentionService:
        """Dropping what is past its time. Raises ``SetupError`` in a session that was opened without."""
        if self.retention is None:
            raise SetupError("this session drops nothing")
        return self.retention

    def at_exporting(self) -> ExportService:
        """Exports of engagements. Raises ``SetupError`` in a session that was opened without."""
        if self.exporting is None:
            raise SetupError("this session exports nothing")
        return self.exporting

    def at_ats(self) -> AtsService:
        """What goes between us and tenants' systems. Raises ``SetupError`` in a session that was opened without."""
        if self.ats is None:
            raise SetupError("this session has nothing of tenants' systems")
        return self.ats

    def at_pauses(self) -> PauseService:
        """Pauses of tenants and lines. Raises ``SetupError`` in a session that was opened without."""
        if self.pauses is None:
            raise SetupError("this session has no pauses")
        return self.pauses

    def at_bulk(self) -> BulkService:
        """Commands for many. Raises ``SetupError`` in a session that was opened without."""
        if self.bulk is None:
            raise SetupError("this session has no bulk commands")
        return self.bulk

    def at_deployments(self) -> DeploymentService:
        """Releases of the workers. Raises ``SetupError`` in a session that was opened without."""
        if self.deployments is None:
            raise SetupError("this session knows no releases")
        return self.deployments

    def at_inbox(self) -> InboxService:
        """The inbox. Raises ``SetupError`` in a session that was opened without."""
        if self.inbox is None:
            raise SetupError("this session has no inbox")
        return self.inbox

    def at_gates(self) -> GateService:
        """Gates and holds. Raises ``SetupError`` in a session that was opened without."""
        if self.gates is None:
            raise SetupError("this session has no gates")
        return self.gates

    def registry(self) -> TemplateService:
        """Template specifications and states. Raises ``SetupError`` in a session that was opened without."""
        if self.templates is None:
            raise SetupError("this session has no templates")
        return self.templates

    def tenant(self, given: str | None) -> str:
        """The tenant to act for: the one named, else the only one there is. Raises ``BadInput``."""
        known = [tenant.slug for tenant in self.topology.tenants]
        if given is None and len(known) == 1:
            return known[0]
        if given is None:
            raise BadInput([Mistake(f"name one of {', '.join(known)}", field="--tenant")])
        if given not in known:
            raise BadInput([Mistake(f"no such tenant; there are {', '.join(known)}", field="--tenant")])
        return given


SessionFactory = Callable[[], AbstractAsyncContextManager[Session]]


def sessions(context: typer.Context) -> SessionFactory:
    """How to open a session: what the caller of the app handed in as its object, else by the environment."""
    given = context.find_root().obj
    return given if callable(given) else open_session


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    """A session as the environment says. Raises ``SetupError``, ``BadInput`` (topology) and ``StoreUnavailable``."""
    async with open_process(_quiet(load_settings()), lazy=True) as parts:
        inbox = InboxService.on(parts.stores, parts.topology)
        yield Session(
            service_of(parts),
            parts.topology,
            gates_of(parts),
            templates_of(parts),
            inbox,
            pauses=PauseService(parts.stores.holds, gates_of(parts), parts.topology),
            bulk=BulkService(Engine(parts.client)),
            deployments=DeploymentService(parts.client),
            contacts=contacts_of(parts),
            ats=ats_of(parts),
            erasing=erasing_of(parts),
            retention=retention_of(parts),
            exporting=exporting_of(parts),
            build_id=parts.settings.worker.build_id,
        )


def _quiet(settings: Settings) -> Settings:
    """A command prints its own answer: logs only where they were asked for, and the metrics port is the processes'."""
    log = settings.log
    if "level" not in log.model_fields_set:
        log = log.model_copy(update={"level": LogLevel.ERROR})
    return settings.model_copy(update={"log": log, "metrics": MetricsSettings()})
