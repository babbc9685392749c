"""The command ``gateway``: takes webhooks in, serves the REST interface, relays events to the engagements."""

from prometheus_client import CollectorRegistry

from gateway.ats import AtsParts
from gateway.process import GatewayParts, Ports, run_gateway
from gateway.reading import Receiving
from providers.ats.inbound import ats_readers
from providers.registry import build_readers
from runtime.loops import run
from runtime.processes import ProcessParts, open_process
from runtime.secrets import resolve
from runtime.settings import Settings, load_settings
from starter.parts import erasing_of, exporting_of, service_of, tokens_of
from starter.routes import create_rest_app


def gateway() -> None:
    """Take webhooks in and serve the REST interface until SIGTERM or Ctrl-C. Temporal may be down meanwhile."""
    run(serve_gateway(load_settings()))


async def serve_gateway(settings: Settings) -> None:
    """Run a gateway as the settings say. Raises ``SetupError`` before anything is taken in."""
    async with open_process(settings, lazy=True) as parts:
        await run_gateway(gateway_parts(parts))


def gateway_parts(parts: ProcessParts) -> GatewayParts:
    """What a gateway is made of, out of the parts of a process. Raises ``SetupError``."""
    topology, wanted = parts.topology, parts.settings.gateway
    readers = build_readers(topology, resolve)
    accounts = [
        Receiving(
            provider=account.provider,
            account=account.slug,
            lines=tuple(line.slug for line in topology.lines_of(account.slug)),
            reader=readers[account.slug],
            senders={line.sender: line.slug for line in topology.lines_of(account.slug) if line.sender},
        )
        for account in topology.accounts
    ]
    service, stores = service_of(parts), parts.stores
    return GatewayParts(
        stores=stores,
        accounts=accounts,
        rest=create_rest_app(
            service,
            tokens_of(topology, resolve),
            stores.idempotency,
            told=stores.told,
            erasing=erasing_of(parts),
            exporting=exporting_of(parts),
        ),
        temporal=parts.client,
        ats=AtsParts(ats_readers(topology, resolve), service),
        ports=Ports(wanted.webhook_host, wanted.webhook_port, wanted.rest_host, wanted.rest_port),
        registry=CollectorRegistry(),
        retention=parts.settings.retention,
    )
