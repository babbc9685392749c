"""A candidate who opts out while something else goes on at a step hears nothing more from us.

The moments are those of the pauses: a provider that is being asked, a night, a line that stands still.
"""

import pytest

from domain.outcomes import EngagementOutcome as Outcome
from tests.workflow.moments import heal
from tests.workflow.stage import Stage
from tests.workflow.test_pause_everywhere import CASES
from tests.workflow.test_stop_everywhere import RESTING, by_word

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELSEWHERE = {*RESTING, "in-flight", "before-admission"}
"""Moments of tests.workflow.test_stop_everywhere, and one at which leave to write is still to be asked for."""
ALWAYS = {
    ("opening", "template-being-read"),
    ("opening", "thread-being-opened"),
    ("follow-up-1", "overnight"),
    ("follow-up-2", "line-flagged"),
    ("follow-up-2", "provider-asked-first"),
}
BETWEEN = [case for case in CASES if case[1] not in ELSEWHERE]


@pytest.mark.parametrize(
    ("step", "moment"),
    [pytest.param(*case, marks=[] if case in ALWAYS else [pytest.mark.long], id="-".join(case)) for case in BETWEEN],
)
async def test_nothing_leaves_after_an_opt_out_while_something_else_goes_on(
    stage: Stage, step: str, moment: str
) -> None:
    at = await CASES[step, moment](stage, step)
    sent = len(stage.provider.effects)
    await by_word(at.play)
    await heal(stage)
    await at.go_on()
    assert (await at.play.result()).settlement.outcome is Outcome.OPTED_OUT
    assert len(stage.provider.effects) == sent
