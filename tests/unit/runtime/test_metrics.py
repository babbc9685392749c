"""Temporal's metrics on one port of the process, ours in one registry."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from prometheus_client import Counter

from runtime.metrics import REGISTRY, render_metrics

ROOT = Path(__file__).resolve().parents[3]


def test_our_metrics_are_rendered_and_nobody_elses() -> None:
    counter = Counter("rapport_test_things", "Things of a test", registry=REGISTRY)
    try:
        counter.inc(3)

        assert b"rapport_test_things_total 3.0" in render_metrics()
        assert b"python_info" not in render_metrics()
    finally:
        REGISTRY.unregister(counter)


def in_a_process(code: str, bind: str) -> "subprocess.CompletedProcess[str]":
    """The SDK's runtime is made once per process, so each of these has its own."""
    return subprocess.run(
        [sys.executable, "-c", "import sys\nfrom runtime.metrics import temporal_runtime\n" + code, bind],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_temporals_metrics_are_shown_and_the_runtime_is_made_once() -> None:
    code = (
        "import urllib.request\n"
        "assert temporal_runtime(sys.argv[1]) is temporal_runtime(sys.argv[1])\n"
        "print(urllib.request.urlopen(f'http://{sys.argv[1]}/metrics').status)"
    )
    ran = in_a_process(code, f"127.0.0.1:{free_port()}")

    assert (ran.stdout.strip(), ran.returncode) == ("200", 0), ran.stderr


def test_a_metrics_port_that_is_taken_is_a_setup_error() -> None:
    code = (
        "from domain.errors import SetupError\n"
        "try:\n    temporal_runtime(sys.argv[1])\nexcept SetupError as error:\n    print(error)"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = in_a_process(code, f"127.0.0.1:{taken.getsockname()[1]}")

    assert "RAPPORT_METRICS__BIND" in ran.stdout, ran.stderr
