"""Texts for the audit, told from everything else by their type."""

from typing import Final

ERASED_TEXT: Final = "[erased]"
"""Stands where something was that went with the person."""


class AuditLine(str):
    """A line that says what we do and why: summaries and details in Temporal. It holds nothing of a person.

    It is sealed under the tenant's audit key, so it stays readable after the candidate was erased. What must go with
    the candidate is an ordinary ``str``.
    """

    __slots__ = ()
