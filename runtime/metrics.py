"""Metrics: Temporal's own by the SDK's Prometheus listener, ours in one registry that the gateway serves."""

import logging
from functools import lru_cache

from prometheus_client import CollectorRegistry, generate_latest
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from domain.errors import SetupError

REGISTRY = CollectorRegistry()
"""Every metric of ours is made with ``registry=REGISTRY``; labels never hold personal data."""

CORE_LOGGER = "temporal.core"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def temporal_runtime(bind: str | None = None) -> Runtime:
    """Make the process's Temporal runtime, once, before the first client; later calls with the same bind return it.

    Forwards the SDK core's log lines to the logger ``temporal.core`` and shows its metrics on ``bind`` (``host:port``).
    Raises ``SetupError`` when the port is taken.
    """
    return _runtime(bind)


@lru_cache(maxsize=1)
def _runtime(bind: str | None) -> Runtime:
    metrics = None
    if bind is not None:
        metrics = PrometheusConfig(
            bind_address=bind, counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
        )
    forwarding = LogForwardingConfig(
        logger=logging.getLogger(CORE_LOGGER),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    )
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=levels, forwarding=forwarding), metrics=metrics)
    try:
        runtime = Runtime(telemetry=telemetry)
    except (RuntimeError, ValueError) as error:
        raise SetupError(f"metrics cannot be shown on {bind}: {error}; choose another RAPPORT_METRICS__BIND") from error
    Runtime.set_default(runtime)
    return runtime


def render_metrics() -> bytes:
    """Our metrics in Prometheus' text format (``CONTENT_TYPE``)."""
    return generate_latest(REGISTRY)
