"""The worker process, and the only place that joins activities to providers and store."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import Runtime
from temporalio.worker import PollerBehaviorAutoscaling, Worker, WorkerDeploymentConfig

from activities.gates import GateActivities, TemplateActivities
from activities.lookups import LookupActivities
from activities.records import RecordActivities
from activities.sends import SendActivities
from domain.caps import Caps
from domain.errors import SetupError
from domain.ids import DEPLOYMENT, ENGAGEMENTS_QUEUE, lookups_queue, sends_queue
from domain.pacing import paces
from domain.ports import Accounts, AtsNotifier, TemplateSpecifications
from domain.topology import Topology
from providers.ats.client import StandardWebhookNotifier, ats_endpoints
from providers.registry import build_accounts
from runtime import event_loop
from runtime.code_digest import code_digest
from runtime.gates import TemporalGates
from runtime.line_ownership import LineOwnership
from runtime.processes import open_process
from runtime.queued import TemporalWaiting
from runtime.secrets import resolve
from runtime.settings import Settings, WorkerSettings, load_settings
from runtime.template_files import TemplateFolder, specifications_of
from runtime.temporal import ensure_search_attributes
from store.stores import Stores
from workflows import search_attributes
from workflows.engagement import EngagementWorkflow
from workflows.gate import GateWorkflow


class Workers:
    """Every worker of one process: engagements, and one per line and account that it has the lease of."""

    def __init__(  # noqa: PLR0917 - the collaborators of a worker process
        self,
        client: Client,
        stores: Stores,
        accounts: Accounts,
        ats: AtsNotifier,
        settings: WorkerSettings,
        specifications: TemplateSpecifications | None = None,
        caps: Mapping[str, Caps] | None = None,
    ) -> None:
        self._client, self._settings, self._leases = client, settings, stores.leases
        templates, holds, known = stores.templates, stores.holds, specifications or TemplateFolder()
        self._sends = SendActivities(accounts, stores.ledger, holds, caps=caps)
        self._lookups = LookupActivities(accounts, stores.ledger, stores.contacts, templates, known, holds)
        waiting = TemporalWaiting(client)
        self._records = RecordActivities(
            stores.contacts, stores.ledger, stores.registry, ats, stores.letters, waiting, templates
        )
        self._gates = GateActivities(TemporalGates(client), holds, templates)
        self._templates = TemplateActivities(accounts, templates, known, stores.submissions, holds)

    @asynccontextmanager
    async def polling(self, topology: Topology) -> AsyncIterator[None]:
        """Poll while the block lasts: engagements, and this process's share of the lines and accounts.

        At the end what is in hand is finished. A fatal error of any worker ends the block, and so the process.
        """
        paced, meter = self._paced_queues(topology), Runtime.default().metric_meter
        async with self.engagements(), LineOwnership(self._leases, paced, self._settings.lease, meter).polling():
            yield

    def _paced_queues(self, topology: Topology) -> dict[str, Callable[[], Worker]]:
        """What makes the worker of each queue that only one process may poll; an account's stand together."""
        made: dict[str, Callable[[], Worker]] = {}
        for account in topology.accounts:
            lines = topology.lines_of(account.slug)
            lookups_rate, send_rates = paces(account, lines)
            made[lookups_queue(account.slug)] = partial(self.lookups, account.slug, lookups_rate)
            for line in lines:
                made[sends_queue(line.slug)] = partial(self.line, line.slug, send_rates[line.slug])
        return made

    def engagements(self) -> Worker:
        """Workflow tasks, and the activities that touch only our own store."""
        records, gates = self._records, self._gates
        return Worker(
            self._client,
            task_queue=ENGAGEMENTS_QUEUE,
            workflows=[EngagementWorkflow, GateWorkflow],
            activities=[
                records.admit,
                records.record_send,
                records.close,
                records.notify_ats,
                gates.join_gate,
                gates.leave_gate,
                gates.release_waiters,
            ],
            build_id=code_digest() if self._settings.build_id is None else None,  # a version stands in the deployment
            deployment_config=_deployment(self._settings.build_id),
            max_concurrent_workflow_tasks=self._settings.max_workflow_tasks,
            max_concurrent_activities=self._settings.max_activities,
            max_cached_workflows=self._settings.max_cached_workflows,
            graceful_shutdown_timeout=self._settings.graceful_shutdown,
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2, maximum=20, initial=5),
        )

    def line(self, line: str, rate: float) -> Worker:
        """One line's sends. Both limits: the queue's alone bursts, the worker's alone does not outlive a restart."""
        self._sends.space(line, rate)
        return self._paced(sends_queue(line), [self._sends.trigger_flow, self._sends.send_message], rate)

    def lookups(self, account: str, rate: float) -> Worker:
        """One account's reads and repeatable writes."""
        does = self._lookups
        activities: list[Callable[..., Any]] = [
            does.ensure_template_approved,
            does.open_thread,
            does.check_flow_run,
            does.reconcile_send,
            does.end_conversation,
            self._templates.read_template,
            self._templates.submit_template,
        ]
        return self._paced(lookups_queue(account), activities, rate)

    def _paced(self, queue: str, activities: Sequence[Callable[..., Any]], rate: float) -> Worker:
        # never versioned: versioned workflows reach these queues, and a deployment is not held up by them
        return Worker(
            self._client,
            task_queue=queue,
            activities=activities,
            build_id=code_digest(),
            max_task_queue_activities_per_second=rate,
            max_activities_per_second=rate,
            graceful_shutdown_timeout=self._settings.graceful_shutdown,
            activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, maximum=10, initial=1),
        )


def _deployment(build_id: str | None) -> WorkerDeploymentConfig | None:
    if build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def run_worker(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then finish what is in hand. Raises ``SetupError`` before anything is polled."""
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(open_process(settings))
        accounts = build_accounts(process.topology, resolve)
        stack.push_async_callback(accounts.close)
        ats = StandardWebhookNotifier(ats_endpoints(process.topology, resolve))
        stack.push_async_callback(ats.close)
        templates = specifications_of(settings, process.topology)
        caps = {tenant.slug: tenant.caps for tenant in process.topology.tenants}
        workers = Workers(process.client, process.stores, accounts, ats, settings.worker, templates, caps)
        await _register_search_attributes(process.client)
        await stack.enter_async_context(workers.polling(process.topology))
        structlog.get_logger().info("worker_ready", lines=len(process.topology.lines), queue=ENGAGEMENTS_QUEUE)
        await _stop_signal()
        structlog.get_logger().info("worker_stopping", grace_s=settings.worker.graceful_shutdown / timedelta(seconds=1))


async def _register_search_attributes(client: Client) -> None:
    """A release may bring new ones, and without them its workflows would stand still. Not everybody may add some."""
    try:
        await ensure_search_attributes(client, search_attributes.ALL)
    except SetupError as error:
        structlog.get_logger().warning("search_attributes_not_checked", error=str(error))


async def _stop_signal() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()


if __name__ == "__main__":
    event_loop.run(run_worker(load_settings()))
