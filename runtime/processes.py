"""What every process of ours opens first and closes last: logs, keys, topology, store, connection to Temporal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from domain.topology import Topology
from runtime.keyed_codec import KeyedCodec
from runtime.logging import configure_logging
from runtime.metrics import temporal_runtime
from runtime.secrets import load_keys
from runtime.settings import Settings
from runtime.temporal import RapportPlugin, connect, data_converter, plugin
from runtime.topology import load_topology
from runtime.zones import pin_zone_rules
from store.candidate_keys import DataKeys
from store.keys import KeyRing
from store.master_keys import require_master_keys
from store.migrate import upgrade
from store.stores import Stores


@dataclass(frozen=True)
class ProcessParts:
    """The parts of one process, by the settings that it was started with."""

    settings: Settings
    topology: Topology
    keys: KeyRing
    stores: Stores
    client: Client


def key_ring(settings: Settings) -> KeyRing:
    """The installation's keys. Raises ``SetupError`` where they are missing or wrong."""
    keys = load_keys(settings)
    masters = {"current": keys.master} | {f"former {n}": key for n, key in enumerate(keys.former, start=1)}
    return KeyRing(masters=masters, current="current", pepper=keys.pepper)


def temporal_plugin(data_keys: DataKeys, keys: KeyRing) -> RapportPlugin:
    """The plugin that seals payloads under the key of whom they concern."""
    return plugin(data_converter(KeyedCodec(data_keys, keys)))


@asynccontextmanager
async def open_process(
    settings: Settings, *, lazy: bool = False, migrate: bool | None = None
) -> AsyncIterator[ProcessParts]:
    """Open everything, or raise ``SetupError`` or ``BadInput`` before anything of the process runs.

    With ``lazy`` Temporal may be down. The store is migrated first where it is a file of this machine alone.
    """
    pin_zone_rules()
    configure_logging(settings.log.format, settings.log.level)
    topology = load_topology(settings.topology_path())
    keys = key_ring(settings)
    runtime = temporal_runtime(settings.metrics.bind)
    url = settings.store_url.get_secret_value()
    if settings.is_single_machine:
        await asyncio.to_thread(upgrade, url)
    async with Stores.open(url, keys) as stores:
        await require_master_keys(stores.database, keys)
        client = await connect(temporal_plugin(stores.data_keys, keys), lazy=lazy, runtime=runtime)
        yield ProcessParts(settings, topology, keys, stores, client)
