"""What the gateway counts. Labels name providers, accounts and kinds; never a person, an id or a path."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class GatewayMetrics:
    """The gateway's metrics in a registry that the caller owns."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.webhooks = Counter(
            "rapport_webhooks_total",
            "Requests to the webhook listener by how they were answered",
            ("provider", "account", "verdict"),
            registry=registry,
        )
        self.events = Counter(
            "rapport_events_total",
            "Events read from deliveries by what became of them",
            ("provider", "kind", "result"),
            registry=registry,
        )
        self.inbox = Gauge("rapport_inbox_events", "Events in the inbox by state", ("state",), registry=registry)
        self.deliveries = Gauge(
            "rapport_inbox_deliveries", "Deliveries that are stored and not yet read", registry=registry
        )
        self.answering = Histogram(
            "rapport_webhook_seconds",
            "From the whole body received to the answer given",
            buckets=_SECONDS,
            registry=registry,
        )
        self.relaying = Histogram(
            "rapport_relay_seconds",
            "From a delivery stored to its event taken by the engagement",
            buckets=_SECONDS,
            registry=registry,
        )
        self.trouble = Counter(
            "rapport_gateway_trouble_total",
            "Rounds of the gateway's background work that ended in an error, by which work",
            ("work", "error"),
            registry=registry,
        )
