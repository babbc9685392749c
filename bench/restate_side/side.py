"""The Restate side: its server, the handlers, and a door of our own that verifies webhooks."""

import platform
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from bench.lives.drive import Place, Running
from bench.lives.others import environment, program, python, start_at, version_of
from tests.processes import Process, bare_environment, free_ports, listens, started

_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True)
class RestateSide:
    """Its server as it comes, one node. ``flushes``: its log has every batch on the disk before it counts, as comes
    by itself.
    """

    flushes: bool = True
    webhook_path: str = "/webhooks"

    @property
    def name(self) -> str:
        """What tables call it."""
        return "Restate"

    def versions(self) -> Mapping[str, str]:
        """Of what it is made."""
        said = subprocess.run([_server(), "--version"], capture_output=True, text=True, check=True).stdout
        return {"restate-server": said.split()[-1], "restate-sdk": version_of("restate_sdk")}

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        """Server, handlers, their registration, door."""
        ingress, admin, node, handlers = free_ports(4)
        with ExitStack() as stack:
            # Killed at the end: asked to end, it takes a minute, and what it kept is thrown away.
            server = stack.enter_context(
                started("restate", [_server(), "--no-logo"], place.directory / "restate.log",
                        self._settings(place, ingress, admin, node), cwd=place.directory, sign=signal.SIGKILL)
            )  # fmt: skip
            begun = {
                "handlers": _begin(stack, place, "handlers", handlers, {}),
                "door": _begin(stack, place, "door", place.webhook_port, {"BENCH_INGRESS": _url(ingress)}),
            }
            server.wait_until(lambda: _is_healthy(admin), "it is healthy", 60, every=0.2)
            asked = {"uri": _url(handlers)}
            httpx.post(f"{_url(admin)}/deployments", json=asked, timeout=30, trust_env=False).raise_for_status()
            server.wait_until(lambda: _serves(ingress), "its ingress serves", 60, every=0.2)
            yield Running(
                lambda reference, phone: start_at(place.webhook_port, reference, phone),
                service={name: process.child.pid for name, process in begun.items()},
                engine={"restate": server.child.pid},
            )

    def _settings(self, place: Place, ingress: int, admin: int, node: int) -> dict[str, str]:
        return {
            **bare_environment(),
            "RESTATE_BASE_DIR": str(place.directory / "restate-data"),
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_NODE_NAME": "bench",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}/",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            # what it does by itself too (restate-server --dump-config), written down because a comparison hangs on it
            "RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC": "false" if self.flushes else "true",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "warn",
        }


def _begin(stack: ExitStack, place: Place, part: str, port: int, more: Mapping[str, str]) -> Process:
    command = [str(python()), "-m", "bench.restate_side.service", part, str(port)]
    log = place.directory / f"{part}.log"
    # Restate's SDK takes SIGTERM for itself, and Hypercorn never hears of it.
    process = stack.enter_context(
        started(part, command, log, environment(place, **more), cwd=place.directory, sign=signal.SIGINT)
    )
    process.wait_until(lambda: listens(port), "it listens", 60)
    return process


def _is_healthy(admin: int) -> bool:
    try:
        return httpx.get(f"{_url(admin)}/health", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _serves(ingress: int) -> bool:
    try:
        return httpx.get(f"{_url(ingress)}/restate/health", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _server() -> str:
    machine = _MACHINES.get(platform.machine(), platform.machine())
    package = f"restate-server-{platform.system().lower()}-{machine}"
    return str(program(f"@restatedev/{package}/bin/restate-server"))
