"""Settings from a file, and the sandbox as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sandbox.settings import BadSandboxSettings, SandboxSettings, load

GOOD = """
port: 0
clock: manual
now: 2026-03-02T10:00:00+01:00
accounts:
  recrubo:
    - token: a-secret-token
      webhook_url: http://127.0.0.1:1/hooks
      webhook_secret: another-secret
      flows: [{id: f1, session_timeout: 60, collects: [available, city]}]
      templates: [{id: t1, name: intake, body: "Hi {{1}}"}]
      duplicate_threads: existing
personas:
  default: {persona: declines}
ats: {demo: whsec_dGVzdA==}
"""


def test_settings_are_read_from_yaml_and_from_json(tmp_path: Path) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(GOOD)
    found = load(written)
    assert found.now is not None
    assert found.now.isoformat() == "2026-03-02T09:00:00+00:00"
    [account] = found.accounts.recrubo
    assert account.flows[0].collects == {"available": "yes", "city": "yes"}
    assert not {"a-secret-token", "another-secret", "dGVzdA"} & set(re.findall(r"[\w-]+", repr(found)))
    as_json = tmp_path / "sandbox.json"
    as_json.write_text('{"ats": {"demo": "whsec_dGVzdA=="}, "accounts": {"recrubo": [{"token": "t"}]}}')
    assert load(as_json).accounts.recrubo[0].duplicate_threads == "409"
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert load(empty) == SandboxSettings()


def test_every_mistake_of_a_file_is_named_and_no_value_is_shown(tmp_path: Path) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(
        "prot: 1\naccounts: {recrubo: [{tokn: hidden-value, duplicate_threads: maybe}]}\nats: {demo: '%%%'}\n"
    )
    with pytest.raises(BadSandboxSettings) as wrong:
        load(written)
    text = str(wrong.value)
    for place in ("prot", "recrubo.0.token", "recrubo.0.tokn", "recrubo.0.duplicate_threads", "ats.demo"):
        assert place in text
    assert "hidden-value" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "neither YAML nor JSON (line 1)"),
        ("accounts: {recrubo: [{token: t, webhook_url: 'http://x/'}]}", "webhook_url needs webhook_secret"),
        ("accounts: {recrubo: [{token: t, name: a}, {token: t, name: a}]}", "account a: named twice"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, content: str, said: str) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(content)
    with pytest.raises(BadSandboxSettings, match=re.escape(said)):
        load(written)
    with pytest.raises(BadSandboxSettings, match="cannot be read"):
        load(tmp_path / "missing.yaml")


def test_a_served_sandbox_says_where_it_is_in_one_line_and_ends_on_request(tmp_path: Path) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(GOOD)
    program = (
        "import sys, pathlib\nfrom sandbox.serve import serve\nfrom sandbox.settings import load\n"
        "serve(load(pathlib.Path(sys.argv[1])))\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(written)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found is not None, line
            clock = httpx.get(f"{found.group()}/control/clock", trust_env=False).json()
            assert clock == {"now": "2026-03-02T09:00:00Z", "next_due": None, "mode": "manual"}
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=60)
            assert rest == ""
        finally:
            process.kill()
