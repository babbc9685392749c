"""What ``rapport trace`` tells: stories that a reader understands who has never seen the product."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.ats import AtsWord
from domain.contacts import OptOutScope
from domain.errors import Scope
from domain.outcomes import Decision, EngagementOutcome
from domain.plans import Condition
from domain.snapshot import EngagementSnapshot
from starter.cli.stories import as_markdown
from starter.story import tell
from starter.story_words import OUTCOMES, RULES
from starter.views import LineKind
from tests.stories.journeys import JOURNEYS
from tests.stories.rules import rules
from tests.stories.telling import HISTORIES, STORIES, on_paper, story_of

DOCS = Path(__file__).parents[2] / "docs" / "trace.md"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EACH = pytest.mark.parametrize("name", JOURNEYS)
OURS = re.compile(r"gate:|engagement:|follow-up-\d|#\d|\bn=|\{|\}|\bNone\b|_rule|\bATS says\b")
"""Words that a reader cannot know."""


@EACH
async def test_a_journey_is_told_like_this(name: str) -> None:
    assert on_paper(await story_of(name)) == (STORIES / f"{name}.txt").read_text(), (
        "read the difference; python -m tests.stories.telling accepts it"
    )


@EACH
async def test_each_line_is_a_sentence_without_our_own_words_and_without_personal_data(name: str) -> None:
    story = await story_of(name)
    spoken = [line.text for line in story.lines] + [story.headline, story.because]
    assert story.lines
    for line in story.lines:
        assert line.text.endswith("."), line.text
        assert line.text[0].isupper() or line.text.startswith("olga "), line.text
    for text in spoken:
        assert not OURS.search(text), text
        codes = [rule for rule in RULES if "-" in rule and re.search(rf"(?<![\w-]){rule}(?![\w-])", text)]
        assert set(codes) <= {"follow-up", "opt-in"}, text  # these are English
    whole = story.model_dump_json()
    assert not any(secret in whole for secret in ("Ada", "612345678", "Utrecht", "avondwerk"))


@EACH
async def test_a_report_says_the_same_as_the_screen(name: str) -> None:
    story = await story_of(name)
    report = as_markdown(story)
    assert report.startswith(f"# {name}: {story.headline}\n")
    assert story.because in report
    for line in story.lines:
        assert line.text in report


def test_every_journey_is_recorded_and_told_and_nothing_else() -> None:
    assert {path.stem for path in HISTORIES.glob("*.json")} == set(JOURNEYS)
    assert {path.stem for path in STORIES.glob("*.txt")} == set(JOURNEYS)


def test_the_documentation_shows_a_story_as_it_is_told() -> None:
    assert (STORIES / "skipped-by-condition.txt").read_text() in DOCS.read_text()


def test_every_rule_that_the_code_can_log_has_words() -> None:
    found = rules()
    assert len(found) > 60
    speechless = {rule: at for rule, at in found.items() if not any(re.fullmatch(rule, known) for known in RULES)}
    assert speechless == {}, "give each a line in starter/story_words.py"


def test_words_are_kept_for_no_rule_that_the_code_does_not_know() -> None:
    found = rules()
    assert [known for known in RULES if not any(re.fullmatch(rule, known) for rule in found)] == []


def test_every_member_of_a_family_of_rules_has_words() -> None:
    families: dict[str, Iterable[str]] = {
        "when-{}": Condition,
        "ats-{}": AtsWord,
        "opt-out-{}": OptOutScope,
        "{}-rejected": Scope,
        "{}-held": [scope for scope in Scope if scope.is_shared],
    }
    wanted = {rule.format(member) for rule, members in families.items() for member in members}
    assert wanted <= set(RULES)


def test_every_outcome_has_words() -> None:
    assert set(OUTCOMES) == set(EngagementOutcome)


@pytest.mark.parametrize("rule", RULES)
def test_the_words_of_a_rule_fit_what_it_may_say(rule: str) -> None:
    texts = ("opening: it went so", "it went so", "held: it went so", "COMPLETED: it went so", "it: follow-up 1")
    decisions = tuple(Decision(at=NOON, rule=rule, text=text, actor="ops") for text in texts)
    story = tell(standing(*decisions), [], NOON)
    assert len(story.lines) == len(texts)
    assert all(re.fullmatch(r"[A-Zo][^{}]*\.", line.text) for line in story.lines)


def test_a_rule_of_a_later_release_is_told_with_its_own_text() -> None:
    later = Decision(at=NOON, rule="not-made-yet", text="opening: went by pigeon")
    (line,) = tell(standing(later), [], NOON).lines
    assert (line.kind, line.text, line.rule) == (
        LineKind.NOTE, "The opening message: went by pigeon.", "not-made-yet",
    )  # fmt: skip


@pytest.mark.parametrize("zone", ["", "Nowhere/Atlantis"])
def test_without_a_zone_that_is_known_times_are_utc(zone: str) -> None:
    story = tell(standing(Decision(at=NOON, rule="admitted", text="plan x"), zone=zone), [], NOON)
    assert "12:00 UTC  begun" in on_paper(story) or " 12:00  12:00 UTC  begun" in on_paper(story)


def test_what_came_after_the_outcome_is_said_to_have_come_too_late() -> None:
    late = Decision(at=NOON, rule="text", text="came after the outcome NO_REPLY: the plan counts a text as answer")
    (line,) = tell(standing(late), [], NOON).lines
    assert line.text == "This came too late to change how it ended: the plan counts a text as answer."


def standing(*decisions: Decision, zone: str = "Europe/Madrid") -> EngagementSnapshot:
    """An open engagement with this decision log."""
    return EngagementSnapshot(
        workflow_id="engagement:acme:a-1",
        tenant="acme",
        reference="a-1",
        plan="intake",
        zone=zone,
        line="recruiting",
        stage="awaiting-answer",
        decisions=decisions,
    )
