"""Texts for the audit, told from everything else by their type."""

from typing import Final

LONGEST_SUMMARY: Final = 280
"""Bytes of a summary. Temporal asks for 400 at most in a summary's payload, and sealing takes its part."""

WHY: Final = " · "
"""Stands in a summary between what is done or waited for and why."""

ERASED_TEXT: Final = "[erased]"
"""Stands where something was that went with the person."""


class AuditLine(str):
    """A line that says what we do and why: summaries and details in Temporal. It holds nothing of a person.

    It is sealed under the tenant's audit key, so it stays readable after the candidate was erased. What must go with
    the candidate is an ordinary ``str``.
    """

    __slots__ = ()


def summary(what: str, why: str = "") -> AuditLine:
    """One line for a list in Temporal UI: what, then why, as much as there is room for."""
    line = in_one_line(f"{what}{WHY}{why}" if why else what)
    kept = line.encode()
    if len(kept) <= LONGEST_SUMMARY:
        return AuditLine(line)
    return AuditLine(kept[: LONGEST_SUMMARY - len("…".encode())].decode(errors="ignore").rstrip() + "…")


def in_one_line(text: str) -> str:
    """The text without line breaks, so that nobody's words look like a line of ours."""
    return " ".join(text.split())
