"""What the relay makes of Temporal's answers, and how it batches, orders and waits."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from prometheus_client import CollectorRegistry
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, NotFoundFailure
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from domain.errors import StoreUnavailable
from domain.events import MessageStatus, MessageStatusChanged, ProviderEvent, ProviderEvents
from gateway.metrics import GatewayMetrics
from gateway.reading import Reading
from gateway.relay import Handover, Relay, TemporalSignaller
from gateway.wakeup import Wakeup
from store.candidate_keys import DataKeys
from store.correlations import Correlations, Sighting
from store.inbox import Inbox, PlacedEvent, Placement, ReadDelivery
from store.inbox_relay import Due, Ending, Outbound
from store.inbox_tables import EventState
from tests.processes import free_ports
from tests.unit.gateway.world import FOREVER, FakeTemporal, World, delivered, delivery, event, finished, now, receiving


class FakeHandle:
    def __init__(self, error: Exception | None, expected: str) -> None:
        self._error, self._expected = error, expected

    async def signal(self, signal: str, events: ProviderEvents, *, rpc_timeout: timedelta) -> None:
        assert (signal, rpc_timeout) == (self._expected, timedelta(seconds=5))
        if self._error:
            raise self._error


class FakeClient:
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def get_workflow_handle(self, workflow_id: str) -> FakeHandle:
        return FakeHandle(self._error, "template-status" if workflow_id.startswith("gate:") else "provider-events")


def rpc_error(status: RPCStatusCode, detail: NotFoundFailure | NamespaceNotFoundFailure | None = None) -> RPCError:
    details = []
    if detail is not None:
        packed = AnyMessage()
        packed.Pack(detail)
        details = [packed]
    return RPCError("no words are judged", status, GrpcStatus(code=status.value, details=details).SerializeToString())


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, Handover.TAKEN),
        (rpc_error(RPCStatusCode.NOT_FOUND), Handover.CLOSED),
        (rpc_error(RPCStatusCode.NOT_FOUND, NotFoundFailure()), Handover.CLOSED),
        (rpc_error(RPCStatusCode.NOT_FOUND, NamespaceNotFoundFailure(namespace="nowhere")), Handover.NOT_NOW),
        (rpc_error(RPCStatusCode.UNAVAILABLE), Handover.NOT_NOW),
        (rpc_error(RPCStatusCode.CANCELLED), Handover.NOT_NOW),
        (rpc_error(RPCStatusCode.RESOURCE_EXHAUSTED), Handover.NOT_NOW),
        (rpc_error(RPCStatusCode.PERMISSION_DENIED), Handover.NOT_NOW),
        (rpc_error(RPCStatusCode.INVALID_ARGUMENT), Handover.REFUSED),
        (RuntimeError("a lazy client could not connect"), Handover.NOT_NOW),
    ],
)
async def test_only_a_missing_engagement_counts_as_closed(error: Exception | None, ending: Handover) -> None:
    signaller = TemporalSignaller(FakeClient(error))  # type: ignore[arg-type]  # only handles are used
    assert await signaller.signal("engagement:acme:a-1", ProviderEvents(events=())) is ending
    assert await signaller.signal("gate:template:main:hello:nl", ProviderEvents(events=())) is ending


async def test_a_temporal_that_is_not_there_means_not_now() -> None:
    (port,) = free_ports(1)
    client = await Client.connect(
        f"127.0.0.1:{port}",
        lazy=True,
        retry_config=RetryConfig(max_elapsed_time_millis=200),
        data_converter=pydantic_data_converter,
    )
    assert await TemporalSignaller(client).signal("w", ProviderEvents(events=())) is Handover.NOT_NOW


class Counted(Outbound):
    """Counts its transactions, does not answer while it is ``away``, and cannot write down what is ``broken``."""

    transactions = 0
    away = False
    broken = ""

    async def turn(self, endings: Sequence[Ending], limit: int) -> Due:
        self._asked(endings)
        return await super().turn(endings, limit)

    async def record(self, endings: Sequence[Ending]) -> None:
        if endings:
            self._asked(endings)
        await super().record(endings)

    def _asked(self, endings: Sequence[Ending]) -> None:
        self.transactions += 1
        if self.away:
            raise StoreUnavailable("the store is away")
        if any(one.batch.workflow_id == self.broken for one in endings):
            raise RuntimeError("a defect of ours")


class Heard(Wakeup):
    """Counts how often the relay asked for a round of its own."""

    calls = 0

    def set(self) -> None:
        self.calls += 1
        super().set()


class Bench:
    """A relay whose clock the test moves."""

    def __init__(self, world: World, temporal: FakeTemporal) -> None:
        self.at = now()
        clock: Callable[[], datetime] = lambda: self.at  # noqa: E731 - a clock is a function
        database, keys = world.stores.database, world.stores.keys
        self.world = world
        self.inbox = Inbox(database, keys, owner="me", clock=clock)
        self.outbound = Counted(database, keys, owner="me", clock=clock)
        self.metrics, self.temporal, self.clock = GatewayMetrics(CollectorRegistry()), temporal, clock
        self.wakeup = Heard()
        self.waits_for_company(FOREVER)
        self.keys = keys

    def waits_for_company(self, seconds: float) -> None:
        self.relay = Relay(self.outbound, self.temporal, self.metrics, self.wakeup, clock=self.clock, company=seconds)

    async def told(self, *events: ProviderEvent, data_keys: DataKeys | None = None) -> None:
        """A delivery comes and is read, and what is due is handed over at once."""
        await self.inbox.keep([delivery(*events, at=self.at)])
        reading = Reading(
            self.inbox,
            Correlations(self.world.stores.database),
            self.keys,
            {"main": receiving()},
            metrics=self.metrics,
            on_kept=lambda _: None,
            relay=self.relay,
            data_keys=data_keys,
        )
        await reading.round()

    async def pending(self, workflow_id: str, *events: ProviderEvent) -> None:
        await self.inbox.keep([delivery(*events, at=self.at)])
        (claimed,) = await self.inbox.claim(["main"], 10)
        placement = Placement(EventState.PENDING, "run_id", workflow_id=workflow_id)
        placed = tuple(PlacedEvent(one, Sighting.of(one, self.keys, thread_may_tie=False), placement) for one in events)
        await self.inbox.keep_events([ReadDelivery(claimed, placed)])

    async def handed_over(self) -> None:
        """Until every signal that was begun has its answer, which the relay has not written down yet."""
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "hand-over"))

    async def round(self, after: float = 0.0) -> None:
        self.at += timedelta(seconds=after)
        await self.relay.round()
        await self.relay.finish()


@pytest.fixture
def bench(world: World, temporal: FakeTemporal) -> Bench:
    return Bench(world, temporal)


async def test_mere_progress_lingers_and_shares_a_signal(bench: Bench, temporal: FakeTemporal) -> None:
    await bench.pending("w1", delivered("s-1"))
    await bench.round(after=1)
    await bench.pending("w1", delivered("s-2"))
    await bench.round(after=1)
    assert temporal.batches == []
    await bench.round(after=1.5)
    assert temporal.batches == [("w1", 2)]


async def test_an_answer_never_waits_and_takes_the_progress_before_it_along(
    bench: Bench, temporal: FakeTemporal
) -> None:
    await bench.pending("w1", delivered("s-1"))
    await bench.pending("w1", finished("answer"))
    await bench.round()
    assert temporal.keys("w1") == ["s-1", "answer"]


async def test_a_failed_message_never_waits(bench: Bench, temporal: FakeTemporal) -> None:
    await bench.pending("w1", event("s-1", MessageStatusChanged(message_status=MessageStatus.FAILED)))
    await bench.round()
    assert temporal.keys("w1") == ["s-1"]


async def test_an_engagement_that_fails_is_tried_after_growing_pauses(bench: Bench, temporal: FakeTemporal) -> None:
    temporal.endings["w1"] = Handover.NOT_NOW
    await bench.pending("w1", finished("answer"))
    await bench.round()
    await bench.round(after=0.5)
    assert temporal.tries["w1"] == 1
    await bench.round(after=0.6)
    await bench.round(after=1.5)
    assert temporal.tries["w1"] == 2
    await bench.round(after=0.6)
    assert temporal.tries["w1"] == 3
    del temporal.endings["w1"]
    await bench.round(after=60)
    assert temporal.keys("w1") == ["answer"]


async def test_new_events_do_not_cut_the_pause_of_a_failing_engagement_short(
    bench: Bench, temporal: FakeTemporal
) -> None:
    temporal.endings["w1"] = Handover.NOT_NOW
    await bench.pending("w1", finished("one"))
    await bench.round()
    await bench.pending("w1", finished("two"))
    await bench.round()
    assert temporal.tries["w1"] == 1


async def test_of_a_batch_that_temporal_refuses_only_the_culprit_is_parked(
    bench: Bench, temporal: FakeTemporal
) -> None:
    await bench.pending("w1", finished("good-1"), finished("poison"), finished("good-2"))

    async def picky(workflow_id: str, events: ProviderEvents) -> Handover:
        if any(one.key == "poison" for one in events.events):
            return Handover.REFUSED
        temporal.heard[workflow_id] += events.events
        return Handover.TAKEN

    temporal.signal = picky  # type: ignore[method-assign]  # one test's own Temporal
    for _ in range(5):
        await bench.round(after=2)
    assert temporal.keys("w1") == ["good-1", "good-2"]
    assert await bench.world.states() == {EventState.RELAYED: 2, EventState.PARKED: 1}
    (dead,) = await bench.world.review.list(EventState.PARKED)
    assert (dead.rule, dead.workflow_id) == ("refused-by-temporal", "w1")


async def test_a_signal_whose_record_was_lost_is_given_again(bench: Bench, temporal: FakeTemporal) -> None:
    await bench.pending("w1", finished("answer"))
    due = await bench.outbound.due(10)
    await temporal.signal("w1", ProviderEvents(events=due.batches[0].events))  # and the gateway dies here
    await bench.round(after=1)
    assert temporal.keys("w1") == ["answer"]
    await bench.round(after=60)
    assert temporal.keys("w1") == ["answer", "answer"]
    assert await bench.world.states() == {EventState.RELAYED: 1}


async def test_long_queues_go_out_in_order_of_arrival(bench: Bench, temporal: FakeTemporal) -> None:
    names = [f"e-{n:03}" for n in range(250)]
    await bench.pending("w1", *(finished(name) for name in names[:125]))
    await bench.pending("w1", *(finished(name) for name in names[125:]))
    for _ in range(4):
        await bench.round()
    assert temporal.keys("w1") == names
    assert len(temporal.batches) == 3


async def test_what_became_of_many_signals_is_written_down_together(bench: Bench, temporal: FakeTemporal) -> None:
    for n in range(20):
        await bench.pending(f"w{n}", finished(f"e-{n}"))
    await bench.round()
    assert len(temporal.batches) == 20
    assert bench.outbound.transactions == 2  # one takes them all, one records them all
    assert await bench.world.states() == {EventState.RELAYED: 20}


async def test_a_store_that_is_away_after_a_signal_hears_of_it_later_and_nothing_is_signalled_twice(
    bench: Bench, temporal: FakeTemporal
) -> None:
    await bench.pending("w1", finished("answer"))
    await bench.relay.round()
    await bench.handed_over()
    bench.outbound.away = True
    with pytest.raises(StoreUnavailable):
        await bench.relay.round()
    bench.outbound.away = False
    await bench.relay.round()
    assert await bench.world.states() == {EventState.RELAYED: 1}
    await bench.round(after=60)
    assert temporal.tries["w1"] == 1


async def test_an_ending_that_cannot_be_written_down_holds_up_no_other(bench: Bench, temporal: FakeTemporal) -> None:
    for name in ("w1", "w2", "w3"):
        await bench.pending(name, finished(name))
    bench.outbound.broken = "w2"
    await bench.round()
    assert await bench.world.states() == {EventState.PENDING: 1, EventState.RELAYED: 2}
    bench.outbound.broken = ""
    await bench.round(after=60)
    assert temporal.tries == {"w1": 1, "w2": 2, "w3": 1}  # at least once


async def test_an_ending_that_cannot_be_written_down_holds_up_no_other_in_the_next_round_either(
    bench: Bench, temporal: FakeTemporal
) -> None:
    for name in ("w1", "w2"):
        await bench.pending(name, finished(name))
    bench.outbound.broken = "w2"
    await bench.relay.round()
    await bench.handed_over()
    with pytest.raises(RuntimeError):
        await bench.relay.round()
    assert await bench.world.states() == {EventState.PENDING: 1, EventState.RELAYED: 1}


async def test_an_answer_leaves_as_it_is_stored_without_a_round_of_the_relays(
    bench: Bench, temporal: FakeTemporal
) -> None:
    workflow_id = await bench.world.sent("a-1", run_id="run-1")
    await bench.world.stores.data_keys.key_for_workflow(workflow_id)
    data_keys = DataKeys(bench.world.stores.database, bench.keys)
    await bench.told(finished("answer", run_id="run-1"), data_keys=data_keys)
    await temporal.until(lambda: bool(temporal.batches))
    assert temporal.keys(workflow_id) == ["answer"]
    assert data_keys.kept == 1  # under which its signal is sealed
    await bench.relay.finish()
    assert bench.outbound.transactions == 1
    assert await bench.world.states() == {EventState.RELAYED: 1}


async def test_what_was_taken_as_it_was_stored_leaves_at_once_also_where_keys_cannot_be_read_ahead(
    bench: Bench, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: DataKeys, workflow_ids: Sequence[str]) -> None:
        raise AttributeError("a defect of ours")

    monkeypatch.setattr(DataKeys, "read_ahead", broken)
    workflow_id = await bench.world.sent("a-1", run_id="run-1")
    await bench.told(finished("answer", run_id="run-1"), data_keys=bench.world.stores.data_keys)
    await temporal.until(lambda: bool(temporal.batches))
    assert temporal.keys(workflow_id) == ["answer"]


async def test_the_word_on_a_signal_that_nobody_waits_behind_waits_for_company(
    bench: Bench, temporal: FakeTemporal
) -> None:
    await bench.pending("w1", finished("answer"))
    await bench.relay.round()
    await bench.handed_over()
    assert temporal.keys("w1") == ["answer"]
    assert bench.wakeup.calls == 0


async def test_company_that_does_not_come_is_not_waited_for(bench: Bench) -> None:
    bench.waits_for_company(0.01)
    await bench.pending("w1", finished("answer"))
    await bench.relay.round()
    await bench.wakeup.wait(FOREVER)
    assert bench.wakeup.calls == 1


async def test_mere_progress_waits_for_company_to_be_looked_at(bench: Bench, temporal: FakeTemporal) -> None:
    await bench.world.sent("a-1", run_id="run-1", message_id="m-1")
    await bench.told(delivered("s-1", message_id="m-1"))
    assert bench.wakeup.calls == 0
    bench.waits_for_company(0.01)
    await bench.told(delivered("s-2", message_id="m-1"))
    await bench.wakeup.wait(FOREVER)
    assert bench.wakeup.calls == 1
    assert temporal.batches == []


async def test_an_answer_behind_one_that_is_in_hand_leaves_as_soon_as_that_is_taken(
    bench: Bench, temporal: FakeTemporal
) -> None:
    workflow_id = await bench.world.sent("a-1", run_id="run-1")
    temporal.hanging[workflow_id] = asyncio.Event()
    await bench.told(finished("one", run_id="run-1"))
    await bench.told(finished("two", run_id="run-1"))
    assert bench.wakeup.calls == 0
    temporal.hanging.pop(workflow_id).set()
    await bench.handed_over()
    assert bench.wakeup.calls == 1
    await bench.round()
    assert temporal.keys(workflow_id) == ["one", "two"]


async def test_an_answer_behind_one_that_is_not_written_down_yet_leaves_at_once(
    bench: Bench, temporal: FakeTemporal
) -> None:
    workflow_id = await bench.world.sent("a-1", run_id="run-1")
    await bench.told(finished("one", run_id="run-1"))
    await bench.handed_over()
    assert bench.wakeup.calls == 0
    await bench.told(finished("two", run_id="run-1"))
    assert bench.wakeup.calls == 1
    await bench.round()
    assert temporal.keys(workflow_id) == ["one", "two"]


async def test_a_relay_whose_hands_were_full_goes_on_as_soon_as_one_is_free(
    bench: Bench, temporal: FakeTemporal
) -> None:
    bench.relay = Relay(
        bench.outbound, temporal, bench.metrics, bench.wakeup, clock=bench.clock, at_once=1, company=FOREVER
    )
    for name in ("w1", "w2"):
        await bench.pending(name, finished(name))
    await bench.relay.round()
    await bench.handed_over()
    assert bench.wakeup.calls == 1
