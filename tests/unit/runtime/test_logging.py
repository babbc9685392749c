"""Every line once, as data, with where it came from: also out of workflows, activities, replay and the SDK's core."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from runtime.log_errors import WITHHELD
from runtime.logging import configure_logging
from runtime.metrics import CORE_LOGGER
from runtime.settings import LogFormat, LogLevel
from tests.unit.runtime.conftest import sealing_plugin
from tests.unit.runtime.tiny_activities import tiny_activity, tiny_failure
from tests.unit.runtime.tiny_workflow import QUEUE, TinyWorkflow

PHONE = "+573001234567"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_outside_a_terminal_a_line_is_json_with_time_level_and_logger() -> None:
    out = io.StringIO()
    configure_logging(stream=out)

    structlog.get_logger("ours").info("send_claimed", attempt=2)

    (line,) = lines(out)
    assert line.pop("timestamp")
    assert line == {"event": "send_claimed", "attempt": 2, "level": "info", "logger": "ours"}


def test_on_a_terminal_a_line_is_for_people() -> None:
    out = Terminal()
    configure_logging(stream=out)

    structlog.get_logger().info("send_claimed", attempt=2)

    assert "send_claimed" in out.getvalue()
    assert not out.getvalue().startswith("{")


@pytest.mark.parametrize("chosen", [LogFormat.JSON, LogFormat.CONSOLE])
def test_the_choice_of_a_format_wins_over_the_stream(chosen: LogFormat) -> None:
    out = Terminal() if chosen is LogFormat.JSON else io.StringIO()
    configure_logging(chosen, stream=out)

    structlog.get_logger().info("send_claimed")

    assert out.getvalue().startswith("{") is (chosen is LogFormat.JSON)


def test_the_standard_librarys_lines_come_the_same_way_and_once() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    configure_logging(stream=out)

    logging.getLogger("alembic").warning("moved %s", PHONE)

    (line,) = lines(out)
    assert line["event"] == "moved [number]"
    assert line["logger"] == "alembic"
    assert line["level"] == "warning"


@pytest.mark.parametrize("chosen", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_traceback_is_text_without_the_values_of_variables(chosen: LogFormat) -> None:
    out = io.StringIO()
    configure_logging(chosen, stream=out)

    def fails(candidate: str) -> None:
        raise ValueError(f"cannot send to {PHONE}")

    try:
        fails("-".join(reversed(["Maria", "Ana"])))
    except ValueError:
        structlog.get_logger().exception("send_failed")
        logging.getLogger("plain").exception("send_failed")

    text = out.getvalue()
    assert text.count("Traceback") == 2
    assert text.count(f"ValueError: {WITHHELD}") == 2
    assert "3001234567" not in text
    assert "Ana-Maria" not in text


def test_lines_below_the_level_are_not_written() -> None:
    out = io.StringIO()
    configure_logging(level=LogLevel.WARNING, stream=out)

    structlog.get_logger().info("quiet")
    logging.getLogger("plain").info("quiet")
    structlog.get_logger().warning("loud")

    assert [line["event"] for line in lines(out)] == ["loud"]


def test_http_clients_do_not_tell_the_addresses_that_they_ask() -> None:
    out = io.StringIO()
    configure_logging(level=LogLevel.DEBUG, stream=out)

    logging.getLogger("httpx").info("HTTP Request: GET https://api.example/threads?identifier=%s", PHONE)

    assert out.getvalue() == ""


def test_what_the_sdks_core_says_keeps_its_fields_and_its_run() -> None:
    out = io.StringIO()
    configure_logging(stream=out)

    class CoreLine:
        target = "temporalio_sdk_core::worker"
        fields = {"run_id": "0199", "task_queue": "tiny", "failure": f"to {PHONE}"}

    logging.getLogger(CORE_LOGGER).warning("Failing workflow task", extra={"temporal_log": CoreLine()})

    (line,) = lines(out)
    assert line["event"] == "Failing workflow task"
    assert line["core_target"] == "temporalio_sdk_core::worker"
    assert (line["run_id"], line["task_queue"]) == ("0199", "tiny")
    assert line["core"] == {"failure": "to [number]"}


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_lines_of_a_real_run_carry_its_ids_and_a_replay_adds_none(client: Client) -> None:
    out = io.StringIO()
    configure_logging(LogFormat.JSON, stream=out)
    # no cache: every workflow task replays the run from its start, as after a restart
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[TinyWorkflow],
        activities=[tiny_activity, tiny_failure],
        max_cached_workflows=0,
    ):
        handle = await client.start_workflow(TinyWorkflow.run, "word", id="logged", task_queue=QUEUE)
        await handle.signal(TinyWorkflow.tell, "word")
        await handle.result()
    history = await handle.fetch_history()
    await Replayer(workflows=[TinyWorkflow], plugins=[sealing_plugin()]).replay_workflow(history)

    said = [line for line in lines(out) if "line" in str(line["event"])]
    assert sorted(str(line["event"]) for line in said) == [
        "activity_line",
        "activity_line_of_ours",
        "workflow_line",
        "workflow_line_after_signal",
    ]
    for line in said:
        assert line["workflow_id"] == "logged"
        assert line["run_id"] == handle.first_execution_run_id
        assert line["workflow_type"] == "tiny"
        assert line["task_queue"] == QUEUE
        assert line["attempt"] == 1
        assert "temporal_workflow" not in line
    assert {line.get("activity_type") for line in said} == {"tiny-activity", None}
