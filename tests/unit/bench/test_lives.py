"""What the comparison of lives counts, and whom it believes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from bench.depth import QUICK
from bench.figures import Report, Verdict
from bench.lives import comparing, others
from bench.lives import recruiter as recruiter_module
from bench.lives.cpu import cpu_seconds
from bench.lives.drive import Lives, Side, complaints, present
from bench.lives.recrubo import read_webhook
from bench.lives.recruiter import LifeLost, Recruiter, StartCall, phone
from bench.lives.simulator import ATS_SECRET
from bench.rapport_side.side import RapportSide
from sandbox.personas import SUFFIXES
from tests.processes import free_ports

BUSY = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 0.3: pass"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])\nprint(flush=True)\ninput()"

SAMPLE = Lives(
    side="",
    engagements=10,
    at_once=5,
    wall_s=1,
    per_second=10,
    median_ms=100,
    p99_ms=200,
    service_cpu_ms=40,
    engine_cpu_ms=10,
    simulator_cpu_ms=5,
    recruiter_cpu_ms=1,
    cpu_by_process_ms={"gateway": 20, "worker 0": 20},
    idle_cpu_ms_per_s=1,
    cores_busy=1,
    others_cpu_s=0,
    provider_calls={},
    webhooks=7,
)


def webhook(kind: str, **attributes: object) -> bytes:
    resource = {"type": kind, "id": "r-1", "attributes": {"messageThreadId": "t-1", **attributes}}
    return json.dumps({"data": {"attributes": {"event": "update", "resource": resource}}}).encode()


def test_time_of_children_counts_also_when_they_are_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert cpu_seconds([parent.pid]) >= 0.3
        parent.communicate(b"\n")


def test_time_of_others_does_not_count() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert cpu_seconds([other.pid]) < cpu_seconds([os.getpid()])
        other.communicate(b"\n")


def test_only_the_end_of_a_run_names_its_engagement() -> None:
    ended = read_webhook(webhook("flowRuns", status="finished", state={"clientReference": "life-1.0"}))
    assert ended == {"key": "flowRuns:r-1:finished", "thread": "t-1", "reference": "life-1.0", "status": "run finished"}
    read = read_webhook(webhook("messages", origin="outbound", deliveryStatus="read"))
    assert read == {"key": "messages:r-1:read", "thread": "t-1", "reference": "", "status": "read"}


def test_our_own_message_tells_nothing() -> None:
    assert read_webhook(webhook("messages", origin="outbound", deliveryStatus="accepted")) is None


def test_every_candidate_is_one_who_answers() -> None:
    assert len({phone(number) for number in range(2000)}) == 2000
    assert not any(phone(number).endswith(suffix) for number in range(2000) for suffix in SUFFIXES)


async def test_an_outcome_counts_when_it_is_signed() -> None:
    (port,) = free_ports(1)
    recruiter = Recruiter(ATS_SECRET, port)
    body = json.dumps({"data": {"reference": "life-1", "settlement": {"outcome": "COMPLETED"}}})
    async with recruiter.listening(), httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(recruiter.url, content=body)).status_code == 401
        assert recruiter.outcomes == {}
        answer = await http.post(recruiter.url, content=body, headers=signed(body))
    assert (answer.status_code, recruiter.outcomes, recruiter.refused) == (204, {"life-1": ["completed"]}, 1)


async def test_a_side_that_cannot_now_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recruiter_module, "AGAIN_S", 0.0)
    answers = [503, 503, 409]
    door = httpx.MockTransport(lambda _: httpx.Response(answers.pop(0)))
    async with httpx.AsyncClient(transport=door) as http:
        with pytest.raises(LifeLost, match="life-1 was refused: 409"):
            await Recruiter(ATS_SECRET, 1).live(http, "life-1", StartCall("http://side/", {}, {}))
    assert answers == []


async def test_a_refused_engagement_ends_the_run() -> None:
    (port,) = free_ports(1)
    recruiter = Recruiter(ATS_SECRET, port)
    async with recruiter.listening(), httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(LifeLost, match="life-1 was refused: 401"):
            await recruiter.live(http, "life-1", StartCall(recruiter.url, {}, {}))


def test_the_goal_is_missed_by_a_side_that_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    report, told = compared(monkeypatch, missing=())
    by_worker = report.figures[0]
    ahead = [figure for figure in report.figures if figure.goal is comparing.AHEAD]
    assert by_worker.rounds == (0.25,)
    assert [figure.rounds for figure in ahead] == [(0.5,), (0.5,)]
    assert {figure.verdict for figure in (by_worker, *ahead)} == {Verdict.MISSED}
    assert told == []


def test_a_side_whose_programs_are_missing_is_left_out_and_one_line_says_what_gets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, told = compared(monkeypatch, missing=comparing.OTHERS)
    sides = {figure.other.name for figure in report.figures if figure.other is not None}
    assert sides == {side.name for side in comparing.SAMPLES}
    assert told == [f"{side.name} is left out: make bench-others installs it" for side in comparing.OTHERS]
    assert set(told) <= set(report.conditions)


def test_without_a_server_for_postgresql_the_rest_is_still_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    on_postgres = (comparing.OURS, comparing.SAMPLES_POSTGRES, comparing.OTHERS[0])
    report, _ = compared(monkeypatch, missing=on_postgres)
    assert {figure.ours.name for figure in report.figures} == {comparing.OURS_MEMORY.name}
    assert report.verdict is Verdict.MISSED


def test_programs_that_are_not_installed_are_missed_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(others, "ENVIRONMENT", tmp_path)
    found, missing = present([comparing.OURS_MEMORY, *comparing.OTHERS])
    assert found == [comparing.OURS_MEMORY]
    assert [line.rpartition("; ")[2] for line in missing] == ["make bench-others installs it"] * 2


def test_a_run_that_fails_shows_what_its_processes_complained_of(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text('{"level": "info", "event": "fine"}\n{"level": "error", "event": "broken"}\n')
    (tmp_path / "topology.json").write_text("{}")
    assert complaints(tmp_path) == 'gateway: {"level": "error", "event": "broken"}'


def compared(monkeypatch: pytest.MonkeyPatch, missing: Sequence[Side]) -> tuple[Report, list[str]]:
    """What the bench reports when every side but ours is twice as quick, and what it told meanwhile."""
    quick = replace(SAMPLE, per_second=20, cpu_by_process_ms={"worker": 5})
    monkeypatch.setattr(comparing, "drive", lambda side, *_, **__: SAMPLE if isinstance(side, RapportSide) else quick)
    lines = [f"{side.name} is left out: make bench-others installs it" for side in missing]
    found = [side for side in comparing.SIDES if side not in missing]
    monkeypatch.setattr(comparing, "present", lambda _: (found, lines))
    told: list[str] = []
    report = asyncio.run(comparing.run(QUICK, Path(), told.append))
    return report, [line for line in told if not line.startswith("round ")]


def signed(body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(ATS_SECRET).sign("id-1", now, body)
    return {"webhook-id": "id-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
