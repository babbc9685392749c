"""Whatever happens to the ledger in whatever order, it agrees with a small model, and nothing leaves twice."""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from domain.contacts import OptOut, OptOutScope
from domain.errors import (
    NotAllowed,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PolicyRefused,
    ProviderRejected,
    ProviderUnavailable,
)
from domain.holds import HoldRow
from domain.ids import line_scope
from domain.sends import LedgerState, SendClaim, SendReceipt
from store.database import Database
from store.holds import Pause, PauseScope
from store.keys import KeyRing
from store.stores import Stores
from tests.databases import migrated_sqlite
from tests.memory import in_memory
from tests.unit.store.samples import A_PHONE, NOON, a_send

KEYS = KeyRing(bytes(32), bytes(range(32)))
MINUTE = timedelta(minutes=1)
ENDINGS = st.sampled_from([LedgerState.SENT, LedgerState.NOT_SENT, LedgerState.REJECTED, LedgerState.UNKNOWN])
NUMBERS = st.sampled_from([1, 2])
MOVABLE = (LedgerState.CALLING, LedgerState.UNKNOWN)


class LedgerAgainstModel(RuleBasedStateMachine):
    """Two send keys of one person: claims, endings, resolutions, rules that come and go, restarts."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=in_memory()))
        (self.folder / "store.sqlite3").write_bytes(migrated_sqlite())
        self.runner = asyncio.Runner()
        self.stores = self._open()
        self.contact_id = self.runner.run(self.stores.contacts.resolve([A_PHONE]))
        # the model
        self.states = dict.fromkeys((1, 2), LedgerState.FREE)
        self.attempts = dict.fromkeys((1, 2), 0)
        self.opted_out = self.paused = False
        self.held_until = self.now = NOON

    def teardown(self) -> None:
        self.runner.run(self.stores.database.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def _open(self) -> Stores:
        url = f"sqlite:///{self.folder / 'store.sqlite3'}"
        return Stores.on(self.runner.run(Database.open(url)), KEYS)

    def _key(self, n: int) -> str:
        return a_send(self.contact_id, n=n).key

    @rule(target=claims, n=NUMBERS)
    def claim(self, n: int) -> object:
        attempt = self.stores.ledger.claim(a_send(self.contact_id, n=n, at=self.now))
        state = self.states[n]
        forbidden = self._forbidden()
        if state is LedgerState.SENT:
            assert self.runner.run(attempt).earlier is not None
        elif state is LedgerState.REJECTED:
            with pytest.raises(ProviderRejected):
                self.runner.run(attempt)
        elif state in MOVABLE:
            with pytest.raises(OutcomeUnknown):
                self.runner.run(attempt)
        elif forbidden is not None:
            with pytest.raises(forbidden):
                self.runner.run(attempt)
        else:
            claim = self.runner.run(attempt)
            assert claim.earlier is None
            assert claim.attempt == self.attempts[n] + 1
            self.states[n], self.attempts[n] = LedgerState.CALLING, claim.attempt
            return n, claim
        return multiple()

    def _forbidden(self) -> type[NotSent] | None:
        if self.opted_out or self.paused or self.now + 2 * MINUTE < self.held_until:
            return PolicyRefused
        return ProviderUnavailable if self.now < self.held_until else None

    @rule(granted=claims, ending=ENDINGS)
    def settle(self, granted: tuple[int, SendClaim], ending: LedgerState) -> None:
        """Of any grant ever made, as an answer may come at any time."""
        n, claim = granted
        receipt = SendReceipt(run_id=f"run-{claim.attempt}") if ending is LedgerState.SENT else None
        self.runner.run(self.stores.ledger.settle(claim, ending, receipt, None, self.now))
        comes_after_all = (self.states[n], ending) == (LedgerState.UNKNOWN, LedgerState.SENT)
        if claim.attempt == self.attempts[n] and (self.states[n] is LedgerState.CALLING or comes_after_all):
            self.states[n] = ending

    @rule(granted=consumes(claims), ending=ENDINGS)
    def settle_for_the_last_time(self, granted: tuple[int, SendClaim], ending: LedgerState) -> None:
        self.settle(granted, ending)

    @rule(n=NUMBERS, ending=ENDINGS)
    def resolve(self, n: int, ending: LedgerState) -> None:
        state = self.states[n]
        resolution = self.stores.ledger.resolve(self._key(n), ending, None, self.now)
        if state in MOVABLE or state is ending:
            assert self.runner.run(resolution).state is ending
            self.states[n] = ending
        else:
            with pytest.raises(NotFound if self._never_claimed(n) else NotAllowed):
                self.runner.run(resolution)

    def _never_claimed(self, n: int) -> bool:
        return self.runner.run(self.stores.ledger.find(self._key(n))) is None

    @rule()
    def time_passes(self) -> None:
        self.now += MINUTE

    @rule(minutes=st.sampled_from([1, 2, 5]))
    def hold(self, minutes: int) -> None:
        until = self.now + minutes * MINUTE
        self.held_until = max(self.held_until, until)
        hold = HoldRow(scope_key=line_scope("nl-1"), until=until, reason="throttled", at=self.now)
        self.runner.run(self.stores.holds.hold(hold))

    @rule()
    def pause_or_resume(self) -> None:
        self.paused = not self.paused
        if self.paused:
            pause = Pause(scope=PauseScope.TENANT, scope_value="acme", reason="r", actor="kim", at=self.now)
            self.runner.run(self.stores.holds.pause(pause))
        else:
            self.runner.run(self.stores.holds.resume(PauseScope.TENANT, "acme"))

    @rule()
    def say_stop_or_start(self) -> None:
        self.now += MINUTE
        self.opted_out = not self.opted_out
        if self.opted_out:
            opt_out = OptOut(scope=OptOutScope.LINE, scope_value="nl-1", source="word", at=self.now)
            self.runner.run(self.stores.contacts.opt_out(self.contact_id, opt_out))
        else:
            self.runner.run(self.stores.contacts.opt_in(self.contact_id, OptOutScope.LINE, "nl-1", self.now))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.stores.database.close())
        self.stores = self._open()

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        for n in (1, 2):
            entry = self.runner.run(self.stores.ledger.find(self._key(n)))
            told = (LedgerState.FREE, 0) if entry is None else (entry.state, entry.attempt)
            assert told == (self.states[n], self.attempts[n])


class NothingLeavesTwice(RuleBasedStateMachine):
    """The promise alone, without a model of the ledger: what each grant was last known to have become."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LedgerAgainstModel()
        self.ledger = self.inner.stores.ledger
        self.grants: list[SendClaim] = []
        self.known_not_sent: set[int] = set()

    def teardown(self) -> None:
        self.inner.teardown()

    @rule()
    def claim(self) -> None:
        try:
            claim = self.inner.runner.run(self.ledger.claim(a_send(self.inner.contact_id)))
        except (OutcomeUnknown, ProviderRejected):
            return
        if claim.earlier is None:
            assert {earlier.attempt for earlier in self.grants} <= self.known_not_sent
            self.grants.append(claim)

    @rule(ending=ENDINGS, which=st.integers(min_value=0))
    def settle(self, ending: LedgerState, which: int) -> None:
        if self.grants:
            claim = self.grants[which % len(self.grants)]
            self.inner.runner.run(self.ledger.settle(claim, ending, None, None, NOON))
            self._note(claim.attempt, ending)

    @rule(ending=ENDINGS)
    def resolve(self, ending: LedgerState) -> None:
        if self.grants:
            try:
                self.inner.runner.run(self.ledger.resolve(self.grants[-1].key, ending, None, NOON))
            except NotAllowed:
                return
            self._note(self.grants[-1].attempt, ending)

    def _note(self, attempt: int, ending: LedgerState) -> None:
        if ending is LedgerState.NOT_SENT:
            self.known_not_sent.add(attempt)


LedgerAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
NothingLeavesTwice.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestLedgerAgainstModel = LedgerAgainstModel.TestCase
TestNothingLeavesTwice = NothingLeavesTwice.TestCase
