"""Temporal UI alone answers the operator and the auditor, and only them: read from its pages in a real browser.

And the queries of docs/audit.md find in a real Temporal what they say they find.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.ids import engagement_workflow_id
from tests.figures import Show
from tests.ui.audited import (
    CITY,
    ERASED,
    FINISHED,
    HELD,
    JOB,
    NAME,
    OPERATOR,
    PAUSED_FOR,
    PHONES,
    QUESTION,
    RESUMED_FOR,
    STOPPED,
    STOPPED_FOR,
    TENANTS,
    UNKNOWN,
    WAITING,
    Audited,
)
from tests.ui.browser import NO_BROWSER, Page, find_chromium

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

GATE = "gate:template:meta:invitation:en"
OF_A_PERSON = (NAME, CITY, QUESTION, *(phone[1:] for phone in PHONES.values()))
NOT_SHOWN = ("send invitation", "Waiting for", "Last decisions", "att_", "template reminder", OPERATOR, *OF_A_PERSON)
"""Answers that none but the entitled may read."""
PAGE_OF_DOCS = Path(__file__).parents[2] / "docs" / "audit.md"
ROW = re.compile(r"^\| ([^|`]+) \| `([^`]+)` \|$", re.MULTILINE)
INSTANT = re.compile(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ'")
EVERYBODY = (HELD, WAITING, UNKNOWN, FINISHED, STOPPED, ERASED)
FOUND: dict[str, tuple[str, ...]] = {
    "needs a human": (UNKNOWN,),
    "held by one template": (HELD,),
    "held by any template of an account": (HELD,),
    "held, by rule": (HELD,),
    "waits for an answer, longer than 7 days": (WAITING,),
    "waits for anything, longer than 7 days": (HELD, WAITING, UNKNOWN),
    "all of a requisition": EVERYBODY,
    "sends of a tenant that nobody knows of": (UNKNOWN,),
    "paused": (),
    "should have gone on by itself and has not": (HELD, WAITING, UNKNOWN),
    "ended by a person, of one plan": (STOPPED,),
    "gates that are shut": (),
}
"""What each finds here, when the instant in it is three months from now."""
AND_GATES = {"gates that are shut": {GATE}}


async def test_a_browser_is_there_or_the_summary_says_that_nobody_looked(show: Show) -> None:
    if find_chromium() is None:
        show(NO_BROWSER)
        pytest.skip(NO_BROWSER)


async def details(page: Page, audited: Audited, reference: str, *answers: str) -> str:
    """What the tab with details says of an engagement to a reader of its tenant, once it says these answers."""
    await page.send_headers(Authorization=f"Bearer {TENANTS['acme']}")
    audited.admit_tenants()
    await page.open(audited.page_of(reference, "user-metadata"))
    text = await page.reads("Last decisions:", f"reference: {reference}", "tenant: acme", f"job: {JOB}", *answers)
    assert "contact: ct_" in text
    assert not any(word in text for word in OF_A_PERSON), "a reference, never a name; what was done, not what was said"
    return text


async def history(page: Page, audited: Audited, reference: str, *answers: str) -> str:
    """The same of the tab with the history."""
    await page.send_headers(Authorization=f"Bearer {TENANTS['acme']}")
    audited.admit_tenants()
    await page.open(audited.page_of(reference, "history"))
    return await page.reads("Workflow Execution Started", *answers)


async def test_a_held_engagement_says_what_holds_it_and_until_when(page: Page, audited: Audited) -> None:
    text = await details(
        page,
        audited,
        HELD,
        f"held · {HELD}",
        f"Waiting for {GATE} to open, until 20",
        "Waiting since 20",
        "by template-not-approved: invitation (en) is PENDING",
        f"Waits with others at {GATE}",
        "opening: template invitation (en)",
    )
    assert "Sends:" not in text


async def test_a_waiting_engagement_says_what_was_sent_and_what_the_candidate_and_the_operator_did(
    page: Page, audited: Audited
) -> None:
    await details(
        page,
        audited,
        WAITING,
        f"awaiting-answer · {WAITING}",
        "Waiting for an answer, else follow-up 1 of 1, until 20",
        "opening #1: sent · template invitation · flow running · message read",
        "ids at the provider: reference att_",
        "flow run ",
        "text the candidate wrote a text; the plan keeps waiting for the flow",
        f"pause paused, nothing leaves: {PAUSED_FOR} ({OPERATOR})",
        f"resume resumed: {RESUMED_FOR} ({OPERATOR})",
    )


async def test_a_send_that_failed_says_that_nobody_knows_and_that_a_person_is_needed(
    page: Page, audited: Audited
) -> None:
    await details(
        page,
        audited,
        UNKNOWN,
        f"reconciling · {UNKNOWN}",
        "Waiting for a person to say whether opening was sent, until 20",
        "Needs a person.",
        "opening #1: unknown · template invitation",
        "outcome-unknown opening: the answer was lost; it may have been sent",
    )


async def test_a_finished_engagement_says_how_it_ended_and_why_and_its_history_why_each_message_left(
    page: Page, audited: Audited
) -> None:
    await details(
        page,
        audited,
        FINISHED,
        f"closed · {FINISHED}",
        "COMPLETED by flow-finished: the candidate answered",
        "opening #1: sent · template invitation · flow finished · message read",
    )
    await history(
        page,
        audited,
        FINISHED,
        "opening #1: send invitation (en) on recrubo-line · plan warehouse-intake v1 begins",
        "close as COMPLETED, then tell the ATS · flow-finished: the candidate answered",
        CITY,  # the answers themselves stand in the result, for those who may read the candidate's payloads
    )


async def test_the_history_of_an_engagement_that_an_operator_ended_says_who_and_why(
    page: Page, audited: Audited
) -> None:
    await history(page, audited, STOPPED, f"close as STOPPED, then tell the ATS · stop: {STOPPED_FOR} ({OPERATOR})")


async def test_after_an_erasure_the_history_says_still_what_was_sent_and_why_and_nothing_of_the_person(
    page: Page, audited: Audited
) -> None:
    text = await history(
        page,
        audited,
        ERASED,
        "opening #1: send invitation (en) on recrubo-line · plan warehouse-intake v1 begins",
        "close as DECLINED, then tell the ATS · flow-finished: the answer says no by the plan's rule",
        "[erased]",
    )
    assert not any(word in text for word in OF_A_PERSON)


@pytest.mark.parametrize(
    ("headers", "tab"),
    [({}, "history"), ({"Authorization": f"Bearer {TENANTS['globex']}"}, "user-metadata")],
    ids=["nobody", "another tenant"],
)
async def test_without_entitlement_the_page_shows_none_of_it(
    page: Page, audited: Audited, headers: dict[str, str], tab: str
) -> None:
    await page.send_headers(**headers)
    audited.admit_tenants()
    asked = audited.door.asked
    await page.open(audited.page_of(WAITING, tab))
    text = await page.settles("Event History")
    assert audited.door.asked > asked, "the page did ask to see what is sealed"
    assert [word for word in NOT_SHOWN if word in text] == []
    assert f"engagement:acme:{WAITING}" in text


async def test_without_a_codec_server_the_page_shows_none_of_it(page: Page, audited: Audited) -> None:
    audited.door.lead_to(None)
    await page.open(audited.page_of(FINISHED, "history"))
    text = await page.settles("Workflow Execution Started")
    assert [word for word in NOT_SHOWN if word in text] == []


def queries() -> dict[str, str]:
    return dict(ROW.findall(PAGE_OF_DOCS.read_text()))


def at(query: str, instant: datetime) -> str:
    """The query with another instant in it."""
    return INSTANT.sub(f"'{instant:%Y-%m-%dT%H:%M:%SZ}'", query)


async def test_every_query_of_the_page_is_tried() -> None:
    assert set(queries()) == set(FOUND)


@pytest.mark.parametrize("name", FOUND)
async def test_a_query_finds_whom_it_says(audited: Audited, name: str) -> None:
    query = queries()[name]
    expected = {engagement_workflow_id("acme", one) for one in FOUND[name]} | AND_GATES.get(name, set())
    assert await audited.found_by(at(query, datetime.now(UTC) + timedelta(days=90))) == expected


@pytest.mark.parametrize("name", [name for name, query in queries().items() if INSTANT.search(query)])
async def test_who_waits_since_today_does_not_wait_longer_than_seven_days(audited: Audited, name: str) -> None:
    assert await audited.found_by(at(queries()[name], datetime.now(UTC) - timedelta(days=7))) == set()
