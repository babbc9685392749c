"""Releases as Temporal knows them: which version of the engagement workers gets the work."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.enums.v1 import RoutingConfigUpdateState, WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentCurrentVersionResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import EngineUnavailable, NotAllowed, NotFound
from domain.ids import DEPLOYMENT
from domain.model import Model

_ASK = timedelta(seconds=10)
_BETWEEN_LOOKS = timedelta(milliseconds=200)
_LOOKS = 100
_PATIENCE = timedelta(seconds=10)
"""A worker that has just started takes its queues one by one: so long we ask again until it has all of them."""
_PREFIX = "WORKER_DEPLOYMENT_VERSION_STATUS_"


class Version(Model):
    """One release that workers poll or polled with. ``status`` is Temporal's word: current, draining, drained …"""

    build_id: str
    status: str
    is_current: bool


class Promoted(Model):
    """The release that gets all work from now on, and the one that got it before; empty: workers without version."""

    build_id: str
    before: str
    changed: bool
    in_effect: bool = True
    """Whether every queue of Temporal's knows it; else that takes a moment longer."""


class DeploymentService:
    """Versions of the engagement workers, through one Temporal client. Methods raise ``EngineUnavailable``."""

    def __init__(self, client: Client, *, patience: timedelta = _PATIENCE) -> None:
        self._client, self._patience = client, patience

    async def versions(self) -> tuple[Version, ...]:
        """Every version that Temporal knows, newest first. Raises ``NotFound`` where no worker ever had one."""
        info = await self._describe()
        current = info.routing_config.current_deployment_version.build_id
        known = sorted(info.version_summaries, key=lambda one: one.create_time.ToDatetime(), reverse=True)
        return tuple(
            Version(
                build_id=one.deployment_version.build_id,
                status=WorkerDeploymentVersionStatus.Name(one.status).removeprefix(_PREFIX).lower(),
                is_current=one.deployment_version.build_id == current,
            )
            for one in known
        )

    async def promote(self, build_id: str, *, force: bool = False) -> Promoted:
        """Give all work to this version: new engagements at once, open ones at their next step. Repeating is harmless.

        Raises ``NotFound`` when no worker polls with this build id, and ``NotAllowed`` when its workers, after all our
        patience, do not poll a queue that those of the present version poll, unless ``force``.
        """
        await self._need(build_id)
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=DEPLOYMENT,
            build_id=build_id,
            identity=self._client.identity,
            ignore_missing_task_queues=force,
        )
        answer = await self._promoted(request)
        before = answer.previous_deployment_version.build_id
        in_effect = await self._reaches_every_queue()
        return Promoted(build_id=build_id, before=before, changed=before != build_id, in_effect=in_effect)

    async def _promoted(
        self, request: SetWorkerDeploymentCurrentVersionRequest
    ) -> SetWorkerDeploymentCurrentVersionResponse:
        service, give_up = self._client.workflow_service, time.monotonic() + self._patience.total_seconds()
        while True:
            with _answers(f"promote {request.build_id}"):
                try:
                    return await service.set_worker_deployment_current_version(request, timeout=_ASK)
                except RPCError as error:
                    if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                        raise
                    if time.monotonic() >= give_up:
                        raise NotAllowed(
                            f"{request.build_id} cannot get the work yet: {error.message}. "
                            "Start its workers first, or force it"
                        ) from None
            await asyncio.sleep(_BETWEEN_LOOKS.total_seconds())

    async def _reaches_every_queue(self) -> bool:
        """Temporal tells its queues one by one. False when that took longer than we look."""
        for _ in range(_LOOKS):
            info = await self._describe()
            if info.routing_config_update_state != RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS:
                return True
            await asyncio.sleep(_BETWEEN_LOOKS.total_seconds())
        return False

    async def _describe(self) -> WorkerDeploymentInfo:
        request = DescribeWorkerDeploymentRequest(namespace=self._client.namespace, deployment_name=DEPLOYMENT)
        with _answers("describe the versions of the workers"):
            answer = await self._client.workflow_service.describe_worker_deployment(request, timeout=_ASK)
        return answer.worker_deployment_info

    async def _need(self, build_id: str) -> None:
        known = [version.build_id for version in await self.versions()]
        if build_id not in known:
            raise NotFound(
                f"no worker polls with build id {build_id}: start one with RAPPORT_WORKER__BUILD_ID={build_id} first; "
                f"Temporal knows {', '.join(known)}"
            )


@contextmanager
def _answers(what: str) -> Iterator[None]:
    """Only around calls of the client: a lazy client that cannot connect raises a plain ``RuntimeError``."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(
                "no worker has a version here: start one with RAPPORT_WORKER__BUILD_ID set, then promote it"
            ) from None
        raise EngineUnavailable(f"Temporal could not {what} ({error.status.name.lower()}): try again") from error
    except RuntimeError as error:
        raise EngineUnavailable(f"Temporal could not {what} (no connection): try again") from error
