"""Submissions of templates: nobody submits one twice, whoever dies when."""

import asyncio
from datetime import timedelta

import pytest

from domain.errors import OutcomeUnknown
from domain.templates import SubmissionState
from store.stores import Stores
from tests.unit.store.samples import HOUR, NOON, TEMPLATE

ENGLISH = TEMPLATE.model_copy(update={"language": "en"})
ENDINGS = [one for one in SubmissionState if one is not SubmissionState.CALLING]


async def test_a_first_claim_is_granted_and_a_second_is_told_that_its_outcome_is_unknown(stores: Stores) -> None:
    assert await stores.submissions.find("main", TEMPLATE) is None
    assert await stores.submissions.claim("main", TEMPLATE, "f-1", NOON, actor="kim")
    with pytest.raises(OutcomeUnknown, match=TEMPLATE.name):
        await stores.submissions.claim("main", TEMPLATE, "f-1", NOON + HOUR)
    row = await stores.submissions.find("main", TEMPLATE)
    assert row is not None
    assert (row.state, row.fingerprint, row.at, row.actor) == (SubmissionState.CALLING, "f-1", NOON, "kim")
    assert await stores.submissions.claim("main", ENGLISH, "f-1", NOON)
    assert await stores.submissions.claim("other", TEMPLATE, "f-1", NOON)


@pytest.mark.parametrize(
    ("ending", "same", "changed", "again"),
    [
        (SubmissionState.SUBMITTED, False, False, True),
        (SubmissionState.REFUSED, False, True, True),
        (SubmissionState.UNKNOWN, None, None, True),
        (SubmissionState.NOT_SUBMITTED, True, True, True),
    ],
)
@pytest.mark.parametrize("asked", ["same", "changed", "again"])
async def test_what_may_be_submitted_once_more(
    stores: Stores, asked: str, ending: SubmissionState, *, same: bool | None, changed: bool | None, again: bool
) -> None:
    await stores.submissions.claim("main", TEMPLATE, "f-1", NOON)
    await stores.submissions.settle("main", TEMPLATE, ending, "why", NOON)
    expected = {"same": same, "changed": changed, "again": again}[asked]
    attempt = stores.submissions.claim(
        "main", TEMPLATE, "f-2" if asked == "changed" else "f-1", NOON + HOUR, again=asked == "again"
    )
    if expected is None:
        with pytest.raises(OutcomeUnknown):
            await attempt
    else:
        assert await attempt is expected
    row = await stores.submissions.find("main", TEMPLATE)
    assert row is not None
    claimed = (SubmissionState.CALLING, "", NOON + HOUR)
    assert (row.state, row.reason, row.at) == (claimed if expected else (ending, "why", NOON))


@pytest.mark.parametrize("ending", [None, *ENDINGS])
async def test_a_persons_word_to_submit_again_counts_once(stores: Stores, ending: SubmissionState | None) -> None:
    """The activity that carries it may be tried again, with the same instant, after its worker died."""
    await stores.submissions.claim("main", TEMPLATE, "f-1", NOON)
    assert await stores.submissions.claim("main", TEMPLATE, "f-1", NOON + HOUR, again=True)
    if ending is not None:
        await stores.submissions.settle("main", TEMPLATE, ending, "", NOON + HOUR)
    repeated = stores.submissions.claim("main", TEMPLATE, "f-1", NOON + HOUR, again=True)
    if ending in (None, SubmissionState.UNKNOWN):
        with pytest.raises(OutcomeUnknown):
            await repeated
    else:
        assert await repeated is (ending is SubmissionState.NOT_SUBMITTED)


async def test_a_later_look_settles_a_doubt_and_an_ending_from_before_the_claim_does_not(stores: Stores) -> None:
    await stores.submissions.settle("main", TEMPLATE, SubmissionState.SUBMITTED, "", NOON)
    assert await stores.submissions.find("main", TEMPLATE) is None
    await stores.submissions.claim("main", TEMPLATE, "f-1", NOON)
    await stores.submissions.settle("main", TEMPLATE, SubmissionState.UNKNOWN, "no answer", NOON)
    await stores.submissions.claim("main", TEMPLATE, "f-1", NOON + HOUR, again=True)
    await stores.submissions.settle("main", TEMPLATE, SubmissionState.NOT_SUBMITTED, "late", NOON + HOUR / 2)
    row = await stores.submissions.find("main", TEMPLATE)
    assert row is not None
    assert row.state is SubmissionState.CALLING
    await stores.submissions.settle("main", TEMPLATE, SubmissionState.SUBMITTED, "it is there", NOON + 2 * HOUR)
    assert await stores.submissions.claim("main", TEMPLATE, "f-1", NOON + 3 * HOUR) is False


@pytest.mark.parametrize("again", [False, True])
async def test_of_many_that_claim_at_once_one_submits(stores: Stores, *, again: bool) -> None:
    if again:
        await stores.submissions.claim("main", TEMPLATE, "f-1", NOON - timedelta(days=1))
    answers = await asyncio.gather(
        *(stores.submissions.claim("main", TEMPLATE, "f-1", NOON, again=again) for _ in range(12)),
        return_exceptions=True,
    )
    assert answers.count(True) == 1
    assert sum(isinstance(answer, OutcomeUnknown) for answer in answers) == 11
