"""The provider of every side: ``rapport sandbox`` as a process, with Recrubo's account and candidates who answer."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.processes import bare_environment, listens, started

ROOT = Path(__file__).resolve().parents[2]
TOKEN, HOOK_SECRET = "org-token-of-the-benchmark", "hook-secret-of-the-benchmark"
ATS_SECRET = "whsec_c2FuZGJveC1hdHMtc2VjcmV0LW9mLWFjbWU="  # noqa: S105 - the sandbox's
FLOW, INVITATION, REMINDER = "flow-1", "tpl-invitation", "tpl-reminder"
WEBHOOKS = 7
"""Per life, with the subscriptions that the product asks for: the message created, sent, delivered and read, the run
running and finished (the reply), and the candidate's tap as a text."""
_PAUSE = 0.02
"""Seconds between what the network does; as little as shows an order."""


class SimulatorDiffers(Exception):
    """What arrived on the phones is not one message for each candidate."""


@dataclass(frozen=True)
class Simulator:
    """The running simulator."""

    base: str
    pid: int

    @property
    def recrubo(self) -> str:
        """The base URL of the provider's API."""
        return f"{self.base}/recrubo/public/v2"

    def repeat_webhooks(self) -> None:
        """From now on every status of a message and every end of a run is delivered twice, byte for byte."""
        for operation in ("webhook:messages:deliveryStatus", "webhook:flowRuns:finished"):
            fault = {"provider": "recrubo", "operation": operation, "kind": "duplicate", "times": None}
            httpx.post(f"{self.base}/control/faults", json=fault, trust_env=False).raise_for_status()

    def calls(self) -> dict[str, int]:
        """How often the provider was asked what."""
        answer = httpx.get(f"{self.base}/control/calls", timeout=60, trust_env=False).raise_for_status().json()
        return dict(sorted(Counter(call["operation"] for call in answer["calls"]).items()))

    def webhooks(self) -> dict[str, int]:
        """How often which webhook was delivered, by the status of the answer."""
        answer = httpx.get(f"{self.base}/control/webhooks", timeout=60, trust_env=False).raise_for_status().json()
        return dict(sorted(Counter(f"{one['event']} {one['status']}" for one in answer["attempts"]).items()))

    def judge(self, candidates: int) -> None:
        """Raise ``SimulatorDiffers`` unless each candidate received exactly one message and nothing was refused."""
        answer = httpx.get(f"{self.base}/control/phones", timeout=60, trust_env=False).raise_for_status().json()
        received = Counter(message["to"] for message in answer["messages"])
        refused = httpx.get(f"{self.base}/control/refusals", trust_env=False).raise_for_status().json()
        if len(received) != candidates or set(received.values()) != {1}:
            raise SimulatorDiffers(
                f"{candidates} candidates, {len(received)} reached, {sum(received.values())} messages"
            )
        if refused["count"]:
            raise SimulatorDiffers(f"the provider refused {refused['count']} requests: {refused['refusals'][0]}")


@contextmanager
def running_simulator(port: int, webhook_url: str, directory: Path, reply_after: float) -> Iterator[Simulator]:
    """A fresh provider while the block lasts, which delivers to ``webhook_url``; candidates take their time."""
    config = directory / "sandbox.json"
    config.write_text(json.dumps(_settings(port, webhook_url, reply_after)))
    command = [sys.executable, "-m", "starter.cli", "sandbox", "--config", str(config)]
    environment = bare_environment() | {"PYTHONPATH": str(ROOT), "RAPPORT_LOG__LEVEL": "error"}
    with started("sandbox", command, directory / "sandbox.log", environment, cwd=directory) as process:
        process.wait_until(lambda: listens(port), "it listens", 60)
        yield Simulator(f"http://127.0.0.1:{port}", process.child.pid)


def _settings(port: int, webhook_url: str, reply_after: float) -> dict[str, object]:
    account = {
        "token": TOKEN,
        "webhook_url": webhook_url,
        "webhook_secret": HOOK_SECRET,
        "flows": [{"id": FLOW, "session_timeout": 2880, "collects": {"available": "yes", "city": "Utrecht"}}],
        "templates": [
            {"id": INVITATION, "name": "invitation", "body": "Hi {{1}}, two minutes?"},
            {"id": REMINDER, "name": "reminder", "body": "Hi {{1}}, still there?"},
        ],
        "start_delay": _PAUSE,
        "delivery_delay": _PAUSE,
        "retry_delays": [1.0] * 30,  # a receiver that was too slow is asked again soon, not in a minute
    }
    answers = {"persona": "answers", "options": {"delay": reply_after, "finish_after": 2 * _PAUSE}}
    return {"port": port, "accounts": {"recrubo": [account]}, "personas": {"default": answers}}
