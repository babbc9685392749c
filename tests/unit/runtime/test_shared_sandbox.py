"""Runs of a workflow share one watched module where it holds nothing that one could leave to another."""

import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from enum import Enum
from types import ModuleType

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError, SandboxRestrictions

from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from runtime.unchanging import changeable_in
from runtime.workflow_sandbox import Room
from tests.unit.runtime import remembering_workflows
from tests.unit.runtime.hoarding_workflow import HoardingWorkflow
from tests.unit.runtime.remembering_workflows import ClockReadingWorkflow, LoadedAsWorkflow, RememberingWorkflow
from tests.unit.runtime.test_workflow_sandbox import Noting
from workflows import engagement, gate

QUEUE = "shared-sandbox"
WORKFLOWS = [LoadedAsWorkflow, ClockReadingWorkflow, RememberingWorkflow, HoardingWorkflow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: DevServer) -> AsyncIterator[Client]:
    connected = await connect(plugin(data_converter(Noting())), address=server.address)
    async with Worker(connected, task_queue=QUEUE, workflows=WORKFLOWS, workflow_failure_exception_types=[Exception]):
        yield connected


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_the_sandbox_loads_a_module_once_for_all_runs_and_apart_from_the_process(client: Client) -> None:
    found = {await client.execute_workflow(LoadedAsWorkflow.run, id=f"loaded-{n}", task_queue=QUEUE) for n in range(3)}
    assert len(found) == 1
    assert found != {remembering_workflows.LOADED_AS}


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_a_run_that_reads_the_clock_is_stopped(client: Client) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await client.execute_workflow(ClockReadingWorkflow.run, id="reading", task_queue=QUEUE)
    assert isinstance(caught.value.cause, ApplicationError)
    assert "time.time" in caught.value.cause.message


def test_a_run_is_watched_also_when_another_one_leaves_the_same_sandbox_meanwhile() -> None:
    room = Room(ClockReadingWorkflow, SandboxRestrictions.default)
    clock: Callable[[], str] = vars(room.workflow_class)["clock"]

    def another() -> None:
        with room.entered(in_activation=True):
            pass

    with room.entered(in_activation=True):
        with ThreadPoolExecutor(1) as threads:
            threads.submit(another).result()
        with pytest.raises(RestrictedWorkflowAccessError):
            clock()
    assert clock()  # loaded, and nobody runs: a module may read the clock while it is imported


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_where_a_run_leaves_something_in_its_module_no_other_begins(client: Client) -> None:
    assert await client.execute_workflow(RememberingWorkflow.run, "one", id="one", task_queue=QUEUE) == ""
    other = await client.start_workflow(RememberingWorkflow.run, "two", id="two", task_queue=QUEUE)
    async for event in other.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            assert b"bound a name of its module or class anew" in event.SerializeToString()
            break
    await other.terminate()


@pytest.mark.server
@pytest.mark.asyncio(loop_scope="module")
async def test_a_module_that_holds_a_list_is_loaded_for_each_run(client: Client) -> None:
    for word in ("one", "two"):
        assert await client.execute_workflow(HoardingWorkflow.run, word, id=word, task_queue=QUEUE) == [word]


def test_our_workflows_hold_nothing_that_a_run_could_leave_to_another() -> None:
    assert (changeable_in(engagement), changeable_in(gate)) == ((), ())


def _module(**values: object) -> ModuleType:
    module = ModuleType("made")
    vars(module).update(values)
    return module


class _Colour(Enum):
    RED = "red"


def _plain(word: str = "", *, often: int = 1) -> str:
    return word * often


def _hoards(word: str, into: list[str] = []) -> list[str]:  # noqa: B006 - what is looked for
    return [*into, word]


@pytest.mark.parametrize(
    "value", [1, "word", b"", None, timedelta(1), (1, ("a",)), frozenset("a"), _Colour.RED, re.compile("a"), re, _plain]
)
def test_constants_functions_and_modules_can_be_shared(value: object) -> None:
    assert changeable_in(_module(it=value)) == ()


@pytest.mark.parametrize("value", [[], {}, set(), bytearray(), ([],), object(), _hoards])
def test_what_can_be_changed_in_place_cannot(value: object) -> None:
    assert changeable_in(_module(it=value)) == ("it",)


def test_a_class_is_looked_into_where_it_was_made() -> None:
    own = type("Own", (), {"__module__": "made", "kept": [], "plain": 1, "twice": property(_hoards)})
    assert changeable_in(_module(Own=own)) == ("Own.kept", "Own.twice")
    assert changeable_in(_module(Foreign=type("Foreign", (), {"kept": []}))) == ()
