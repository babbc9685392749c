"""Sends that wait for their line have claimed nothing, and who has waited too long takes nobody's turn."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.sends import SendActivities
from domain import names
from domain.caps import Caps
from domain.errors import ProviderRejected, ProviderUnavailable, Scope, StoreUnavailable
from domain.holds import HoldRow
from domain.plans import TemplateRef
from domain.sends import LedgerEntry, LedgerState, Send, SendClaim, SendFailure, SendNames, SendReceipt
from tests.workflow.scripted import OneAccount, ScriptedProvider

LINE = "line-1"
WHOLE = timedelta(seconds=30)


class Ledger:
    """Lets everybody claim, and knows whose request has not begun."""

    def __init__(self, provider: ScriptedProvider, its_time: float = 0.0) -> None:
        self._provider, self._time, self.outage = provider, its_time, False
        self.claimed: list[str] = []
        self.settled: list[tuple[str, LedgerState]] = []
        self.most_waiting = 0

    async def claim(self, send: Send, at: datetime | None = None, caps: Caps | None = None) -> SendClaim:
        await asyncio.sleep(self._time)
        if self.outage:
            raise StoreUnavailable("the disk is full")
        self.claimed.append(send.key)
        self.most_waiting = max(self.most_waiting, len(self.claimed) - len(self._provider.effects))
        return SendClaim(key=send.key, attempt=1, names=SendNames(reference="att_1", flow_token="ft_1"))

    async def settle(
        self,
        claim: SendClaim,
        state: LedgerState,
        receipt: SendReceipt | None,
        failure: SendFailure | None,
        at: datetime,
    ) -> None:
        self.settled.append((claim.key, state))

    async def find(self, send_key: str) -> LedgerEntry | None:
        return None

    async def resolve(
        self, send_key: str, state: LedgerState, receipt: SendReceipt | None, at: datetime
    ) -> LedgerEntry:
        raise NotImplementedError

    async def runs_of_others(self, thread_id: str, send_key: str) -> frozenset[str]:
        return frozenset()


class HoldsOnTheirWay:
    """Rows that take a while to be written, so that no claim in a test ever meets one."""

    async def hold(self, hold: HoldRow) -> None:
        await asyncio.sleep(0.2)

    async def standing(self, scope_keys: object, at: datetime) -> HoldRow | None:
        return None

    async def let_try(self, scope_key: str, workflow_id: str) -> None:
        raise NotImplementedError

    async def lift(self, scope_key: str) -> None:
        raise NotImplementedError


class Line:
    """One line with its worker's sends."""

    def __init__(self, rate: float, *, claim_takes: float = 0.0) -> None:
        self.provider = ScriptedProvider()
        self.ledger = Ledger(self.provider, claim_takes)
        caps: Mapping[str, Caps] = {}
        self._sends = SendActivities(OneAccount(self.provider), self.ledger, HoldsOnTheirWay(), caps=caps)
        self._sends.space(LINE, rate)

    async def send(
        self,
        key: str,
        *,
        held_up_for: timedelta = timedelta(0),
        planned_in: timedelta = timedelta(0),
        template: str = "intake_v1",
    ) -> SendReceipt:
        """One attempt that a worker took so long ago, by a workflow whose clock is ahead by ``planned_in``."""
        environment, now = ActivityEnvironment(), datetime.now(UTC)
        environment.info = dataclasses.replace(
            environment.info, started_time=now - held_up_for, start_to_close_timeout=WHOLE
        )
        receipt: SendReceipt = await environment.run(self._sends.send_message, send_of(key, now + planned_in, template))
        return receipt


def send_of(key: str, at: datetime, template: str = "intake_v1") -> Send:
    """A message that wants to leave through the line."""
    return Send(
        key=key,
        workflow_id="engagement:acme:1",
        tenant="acme",
        account=LINE,
        line=LINE,
        step="opening",
        n=1,
        contact_id="ct_1",
        address="+31612345678",
        template=TemplateRef(name=template, language="nl"),
        at=at,
    )


async def test_of_many_who_wait_for_their_line_few_have_claimed() -> None:
    line = Line(rate=200, claim_takes=0.001)
    await asyncio.gather(*(line.send(f"s-{n}") for n in range(150)))
    assert len(line.provider.effects) == 150
    assert line.ledger.most_waiting <= 101, "half a second's worth: the others are unclaimed if the worker dies now"
    slow = Line(rate=10)
    await asyncio.gather(*(slow.send(f"s-{n}") for n in range(12)))
    assert slow.ledger.most_waiting <= 6


async def test_who_waited_too_long_claims_nothing_and_takes_nobodys_turn() -> None:
    line = Line(rate=2)
    stale = [line.send(f"stale-{n}", held_up_for=timedelta(seconds=12)) for n in range(10)]
    begun = time.monotonic()
    *late, left = await asyncio.gather(*stale, line.send("fresh"), return_exceptions=True)
    assert isinstance(left, SendReceipt)
    assert time.monotonic() - begun < 2, "ten turns at this rate would be five seconds"
    assert {(type(one), getattr(one, "type", "")) for one in late} == {(ApplicationError, names.PROVIDER_UNAVAILABLE)}
    assert [send.key for send in line.provider.effects] == line.ledger.claimed == ["fresh"]


async def test_whose_turn_would_come_too_late_gives_it_up_at_once() -> None:
    line = Line(rate=0.05)
    await line.send("first")
    begun = time.monotonic()
    with pytest.raises(ApplicationError) as late:
        await line.send("second")
    assert (late.value.type, late.value.non_retryable) == (names.PROVIDER_UNAVAILABLE, False)
    assert time.monotonic() - begun < 5
    assert line.ledger.settled[-1] == ("second", LedgerState.NOT_SENT)


async def test_a_store_that_does_not_answer_gives_the_place_to_the_next() -> None:
    line = Line(rate=1)
    line.ledger.outage = True
    for n in range(3):
        with pytest.raises(ApplicationError) as failed:
            await asyncio.wait_for(line.send(f"s-{n}"), 5)
        assert failed.value.type == names.STORE_UNAVAILABLE
    line.ledger.outage = False
    await asyncio.wait_for(line.send("s-9"), 5)


@pytest.mark.parametrize(
    ("refusal", "heard"),
    [
        (ProviderRejected("the token is refused", scope=Scope.ACCOUNT, code="401"), (names.POLICY_REFUSED, True)),
        (
            ProviderUnavailable("slow down", scope=Scope.LINE, code="429", retry_after=timedelta(seconds=30)),
            (names.PROVIDER_UNAVAILABLE, False),
        ),
    ],
    ids=["a credential is refused", "a line is throttled"],
)
async def test_what_one_request_runs_into_stops_those_who_have_claimed_already(
    refusal: ProviderRejected | ProviderUnavailable, heard: tuple[str, bool]
) -> None:
    line = Line(rate=20)
    line.provider.send_endings = [refusal]
    first, *others = await asyncio.gather(*(line.send(f"s-{n}") for n in range(8)), return_exceptions=True)
    assert isinstance(first, ApplicationError)
    assert line.provider.requests == ["send_message"], "nobody else asked the provider"
    assert len(line.ledger.claimed) == 8, "though all had claimed"
    assert [(getattr(one, "type", ""), getattr(one, "non_retryable", None)) for one in others] == [heard] * 7
    assert sorted(line.ledger.settled)[1:] == [(f"s-{n}", LedgerState.NOT_SENT) for n in range(1, 8)]


async def test_a_throttle_that_is_over_stops_nobody() -> None:
    line = Line(rate=20)
    line.provider.send_endings = [
        ProviderUnavailable("slow down", scope=Scope.LINE, code="429", retry_after=timedelta(seconds=10))
    ]
    afterwards = line.send("s-2", planned_in=timedelta(seconds=11))
    first, second = await asyncio.gather(line.send("s-1"), afterwards, return_exceptions=True)
    assert isinstance(first, ApplicationError)
    assert isinstance(second, SendReceipt)


async def test_what_one_template_runs_into_stops_no_other() -> None:
    line = Line(rate=20)
    line.provider.send_endings = [ProviderRejected("paused", scope=Scope.TEMPLATE, code="132015")]
    first, second = await asyncio.gather(
        line.send("s-1"), line.send("s-2", template="another_v1"), return_exceptions=True
    )
    assert isinstance(first, ApplicationError)
    assert isinstance(second, SendReceipt)
