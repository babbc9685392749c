"""What Temporal's list can be searched by, and what its details say, at every turn of an engagement."""

from datetime import timedelta

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from domain import names
from domain.calls import ResolveSend
from domain.errors import OutcomeUnknown, ProviderRejected
from domain.events import FlowRunStatus, TextReceived
from domain.sends import TemplateStatus
from runtime.code_digest import code_digest
from tests.workflow.conftest import DAY
from tests.workflow.scripted import PUSHED, ScriptedProvider
from tests.workflow.stage import NUDGE, TEMPLATE, Play, Stage, plan
from workflows import search_attributes as found_by

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def shown(play: Play) -> dict[str, object]:
    """The search attributes of now."""
    known = (await play.handle.describe()).typed_search_attributes
    return {key.name: known.get(key) for key in found_by.ALL if known.get(key) is not None}


async def details(play: Play) -> str:
    """The current details of now."""
    told = await play.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(told.current_details)


async def test_a_reminder_in_between_does_not_begin_the_wait_for_an_answer_anew(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=[{"after": "2d", "template": NUDGE}], silence="3d"))
    await play.rest()
    first = await shown(play)
    await play.pass_time(2 * DAY + timedelta(hours=1))
    later = await shown(play)
    assert len(stage.provider.effects) == 2
    assert first["EngagementStage"] == later["EngagementStage"] == "awaiting-answer"
    assert first["WaitingSince"] == later["WaitingSince"]
    assert first["NextActionAt"] != later["NextActionAt"]
    await play.pass_time(4 * DAY)
    assert "WaitingSince" not in await shown(play), "it waits no longer"


async def test_what_holds_it_can_be_searched_for_until_it_is_over(stage: Stage, provider: ScriptedProvider) -> None:
    provider.shut[TEMPLATE.name] = TemplateStatus.PENDING
    play = await stage.play()
    await play.rest()
    gate = f"gate:template:{stage.line}:{TEMPLATE.name}:nl"
    held = await shown(play)
    assert (held["HoldRule"], held["HeldBy"]) == ("template-not-approved", gate)
    assert "**Held** since" in await details(play)
    provider.shut.clear()
    await play.pass_time(timedelta(hours=1))
    free = await shown(play)
    assert free["EngagementStage"] == "awaiting-answer"
    assert free.get("HoldRule", "") == free.get("HeldBy", "") == ""
    assert free["WaitingSince"] != held["WaitingSince"]


async def test_a_send_that_nobody_knows_of_can_be_searched_for_until_somebody_does(
    stage: Stage, provider: ScriptedProvider
) -> None:
    provider.capabilities = PUSHED
    provider.send_endings = [OutcomeUnknown("the answer was lost")]
    play = await stage.play()
    await play.pass_time(timedelta(minutes=2))
    unknown = await shown(play)
    assert (unknown["SendUnknown"], unknown["NeedsHuman"]) == (True, True)
    key = (await play.snapshot()).sends[0].key
    await play.command(names.RESOLVE_SEND, model=ResolveSend, send_key=key, was_sent=True)
    await play.rest()
    assert (await shown(play))["SendUnknown"] is False
    assert "`resolve-send` opening: it was sent: because (olga)" in await details(play)


async def test_the_details_of_a_send_that_was_refused_say_so_and_why(stage: Stage, provider: ScriptedProvider) -> None:
    provider.send_endings = [ProviderRejected("the template has a variable too few", code="132000")]
    play = await stage.play()
    await play.result()
    told = await details(play)
    assert f"- opening #1: **rejected** · template {TEMPLATE.name}" in told
    assert "the template has a variable too few" in told.partition("Sends:")[0]
    assert "the template has a variable too few" in told.partition("Last decisions:")[2]


async def test_the_details_say_what_the_candidate_and_the_operator_did_and_nobodys_words_draw_a_line_of_ours(
    stage: Stage,
) -> None:
    play = await stage.play()
    await play.rest()
    await play.tell(TextReceived(text="my name is Ada"), message_id="m-1")
    await play.command(names.PAUSE)
    forged = "x\n- 2026-01-01 00:00:00 UTC `sent` **forged** <b>bold</b> [link](http://127.0.0.1)"
    await play.handle.execute_update(names.RESUME, {"command_id": "c-2", "actor": "olga", "reason": forged}, id="c-2")
    await play.rest()
    told = await details(play)
    assert "`text` the candidate wrote a text" in told
    assert "`pause` paused, nothing leaves: because (olga)" in told
    assert "Ada" not in told
    assert "\n- 2026-01-01" not in told
    assert r"\`sent\` \*\*forged\*\* \<b\>bold\</b\> \[link\]" in told
    await play.finish_run()
    assert (await play.result()).settlement.answers == {}
    assert "flow-finished: the candidate answered" in await details(play)
    assert stage.provider.runs["run-1"].flow_run_status is FlowRunStatus.FINISHED


async def summaries(stage: Stage, play: Play) -> list[str]:
    """Every summary in its history, in order."""
    converter, told = stage.skipper.client.data_converter, []
    async for event in play.handle.fetch_history_events():
        if event.user_metadata.HasField("summary"):
            (text,) = await converter.decode([event.user_metadata.summary], [str])
            told.append(str(text))
    return told


async def test_the_history_says_why_each_message_left_and_who_ended_it(stage: Stage) -> None:
    play = await stage.play(plan(follow_ups=[{"after": "2d", "template": NUDGE}]))
    await play.rest()
    await play.pass_time(2 * DAY + timedelta(hours=1))
    await play.command(names.PAUSE)
    await play.rest()
    await play.command(names.STOP, "c-2")
    await play.result()
    told = await summaries(stage, play)
    assert f"opening #1: send {TEMPLATE.name} (nl) on {stage.line} · plan intake v1 begins" in told
    assert f"follow-up-1 #1: send {NUDGE.name} (nl) on {stage.line} · nothing came for 2 days" in told
    assert "somebody to resume it · paused by olga: because" in told
    assert "close as STOPPED, then tell the ATS · stop: because (olga)" in told


async def test_a_send_once_more_says_at_whose_word(stage: Stage, provider: ScriptedProvider) -> None:
    provider.capabilities = PUSHED
    provider.send_endings = [OutcomeUnknown("the answer was lost")]
    play = await stage.play()
    await play.pass_time(timedelta(minutes=2))
    await play.command(names.RESEND)
    await play.rest()
    told = await summaries(stage, play)
    assert f"opening #2: send {TEMPLATE.name} (nl) on {stage.line} · sent once more: because (olga)" in told


async def test_the_history_says_by_which_code_each_step_was_decided(stage: Stage) -> None:
    play = await stage.play()
    await play.rest()
    history = await play.handle.fetch_history()
    kept = [event.workflow_task_completed_event_attributes for event in history.events]
    assert {one.worker_version.build_id for one in kept if one.started_event_id} == {code_digest()}
