"""How the story of an engagement looks: on a screen, and as Markdown for a report."""

from collections.abc import Iterator
from datetime import UTC
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from starter.cli.output import screen
from starter.story import clock
from starter.views import LineKind, Story, StoryLine

WIDTH = 110
"""Where nobody's terminal sets the width: sentences are folded as on paper."""
_STYLES = {
    LineKind.SENT: "green",
    LineKind.NOT_SENT: "yellow",
    LineKind.WAITS: "yellow",
    LineKind.UNSURE: "magenta",
    LineKind.OPERATOR: "cyan",
    LineKind.ATS: "cyan",
    LineKind.OUTCOME: "bold",
    LineKind.QUIET: "dim italic",
    LineKind.NOTE: "dim",
}


def print_story(story: Story, console: Console | None = None) -> None:
    """For a person: what came of it first, then day by day."""
    console = console or _paper()
    console.print(Text.assemble((story.reference, "bold"), f": {story.headline}"))
    if story.because:
        console.print(Padding(Text(story.because), (0, 0, 0, 2)))
    console.print()
    for name, value in story.facts:
        console.print(Text.assemble((f"  {name:<9} ", "dim"), value))
    console.print(Text.assemble(("  times     ", "dim"), _whose(story)))
    for day, lines in _days(story):
        console.print()
        console.print(Text(day, style="bold"))
        console.print(_table(story, lines))


def as_markdown(story: Story) -> str:
    """For a report: the same, to be pasted."""
    said = [f"# {story.reference}: {story.headline}", ""]
    said += [story.because, ""] if story.because else []
    said += [f"- {name}: {value}" for name, value in story.facts]
    said.append(f"- times: {_whose(story)}")
    local = _has_zone(story)
    for day, lines in _days(story):
        said += ["", f"## {day}", "", "| time | UTC | | |" if local else "| UTC | | |"]
        said.append("|---|---|---|---|" if local else "|---|---|---|")
        for line in lines:
            text = line.text.replace("|", "\\|")
            cells = [*_times(story, line), "" if line.kind is LineKind.QUIET else line.kind.value]
            said.append(f"| {' | '.join(cells)} | {f'*{text}*' if line.kind is LineKind.QUIET else text} |")
    return "\n".join(said)


def _paper() -> Console:
    console = screen()
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _has_zone(story: Story) -> bool:
    return story.zone not in ("", "UTC")


def _whose(story: Story) -> str:
    return f"by the candidate's clock ({story.zone}), UTC beside it" if _has_zone(story) else "UTC"


def _days(story: Story) -> Iterator[tuple[str, list[StoryLine]]]:
    def day(line: StoryLine) -> str:
        local = clock(line.at, story.zone)
        return f"{local:%A} {local.day} {local:%B %Y}"

    for name, lines in groupby(story.lines, key=day):
        yield name, list(lines)


def _times(story: Story, line: StoryLine) -> list[str]:
    """The columns with the time; empty for what lasted."""
    if line.kind is LineKind.QUIET:
        return ["", ""] if _has_zone(story) else [""]
    there = [f"{clock(line.at, story.zone):%H:%M}"] if _has_zone(story) else []
    return [*there, f"{line.at.astimezone(UTC):%H:%M}"]


def _table(story: Story, lines: list[StoryLine]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    if _has_zone(story):
        table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, min_width=max(len(kind) for kind in LineKind))
    table.add_column(overflow="fold")
    for line in lines:
        *there, utc = _times(story, line)
        style = _STYLES.get(line.kind, "")
        word = "" if line.kind is LineKind.QUIET else line.kind.value
        stamp = f"{utc} UTC" if utc else ""
        table.add_row(*there, stamp, Text(word, style=style), Text(line.text, style=style))
    return Padding(table, (0, 0, 0, 2))
