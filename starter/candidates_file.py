"""Reads a file of candidates: CSV with a header line, one candidate per row, every mistake found in one pass."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from domain.contacts import Candidate, Consent
from domain.errors import BadInput, Mistake
from domain.model import Model, Reference
from starter.csv_file import records_in, text_of
from starter.mistakes import did_you_mean, mistakes_of
from starter.phones import known_region, read_phone, spells_phone
from starter.zones import known_zone

REQUIRED = ("reference", "phone", "consent_source", "consent_at")
OPTIONAL = ("zone", "job")
_REFERENCE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CandidateRow(Model):
    """One row: the candidate under the caller's reference, and where in the file it stands."""

    reference: Reference
    candidate: Candidate
    job: str = ""
    line: int


@dataclass
class CandidatesRead:
    """What a file held. ``mistakes`` are all of them, in the order of the file; ``rows`` are the rows without one."""

    rows: list[CandidateRow] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def checked(self) -> tuple[CandidateRow, ...]:
        """The rows. Raises ``BadInput`` with every mistake when there is one."""
        if self.mistakes:
            raise BadInput(self.mistakes)
        return tuple(self.rows)


def read_candidates(path: Path, variables: frozenset[str] | None, region: str | None = None) -> CandidatesRead:
    """Read ``reference,phone,consent_source,consent_at[,zone][,job]`` and a column per template variable.

    ``variables`` are those that the plan needs, other columns are left out (None: the plan is not known, nothing is
    said of them). Separators may be commas, semicolons or tabs; the text is UTF-8, or UTF-16 with its mark.
    ``region`` (``NL``) reads phone numbers without a country code. Never raises for what is in the file.
    """
    return _Reading(path, variables, region).read()


class _Reading:
    def __init__(self, path: Path, variables: frozenset[str] | None, region: str | None) -> None:
        self._path = path
        self._variables = variables
        self._region = region
        self._read = CandidatesRead()
        self._seen: dict[str, int] = {}
        self._columns: list[str] = []

    def read(self) -> CandidatesRead:
        if self._region is not None and not known_region(self._region):
            self._wrong("not a region of two letters, as in NL", "region")
            self._region = None
        text = text_of(self._path, self._wrong)
        if text is None:
            return self._read
        records = records_in(text, self._wrong)
        header = next(records, None)
        if header is None:
            self._wrong("the file is empty: its first line must name the columns " + ",".join(REQUIRED))
        elif self._header(*header):
            count = 0
            for line, cells in records:
                count += 1
                self._row(line, cells)
            if not count and not self._read.mistakes:
                self._wrong("there is no candidate below the header", line=header[0] + 1)
        return self._read

    def _wrong(self, message: str, column: str = "", line: int | None = None) -> None:
        self._read.mistakes.append(Mistake(message, field=column, file=str(self._path), line=line))

    def _header(self, line: int, cells: list[str]) -> bool:
        self._columns = [cell.casefold() if cell.casefold() in REQUIRED + OPTIONAL else cell for cell in cells]
        for name in sorted({c for c in self._columns if c and self._columns.count(c) > 1}):
            self._wrong("the column is there twice", name, line)
        needed = [*REQUIRED, *sorted(self._variables or ())]
        spare = {c for c in self._columns if c and c not in needed and c not in OPTIONAL}
        for name in needed:
            if name not in self._columns:
                self._wrong("the column is missing" + did_you_mean(name, spare), name, line)
        return set(REQUIRED) <= set(self._columns)

    def _row(self, line: int, cells: list[str]) -> None:
        before = len(self._read.mistakes)
        if len(cells) > len(self._columns):
            self._wrong(f"{len(cells)} cells where the header names {len(self._columns)} columns", line=line)
        values = dict(zip(self._columns, cells, strict=False))
        reference = values.get("reference", "")
        self._reference(reference, line)
        phone = self._phone(values.get("phone", ""), line)
        if phone and spells_phone(reference, phone):
            self._wrong("is the candidate's phone number: use a key of your own", "reference", line)
        consent = self._consent(values, line)
        variables = self._values_of_variables(values, line)
        zone = values.get("zone", "")
        if zone and not known_zone(zone):
            self._wrong("not a time zone, as in Europe/Amsterdam", "zone", line)
        if len(self._read.mistakes) > before:
            return
        candidate = Candidate(phone=phone, variables=variables, zone=zone, consent=consent)
        row = CandidateRow(reference=reference, candidate=candidate, job=values.get("job", ""), line=line)
        self._read.rows.append(row)

    def _reference(self, reference: str, line: int) -> None:
        if not reference:
            self._wrong("missing", "reference", line)
        elif not _REFERENCE.fullmatch(reference):
            self._wrong("must be 1 to 64 of the characters A-Z a-z 0-9 . _ -", "reference", line)
        elif reference in self._seen:
            self._wrong(f"stands in line {self._seen[reference]} already", "reference", line)
        else:
            self._seen[reference] = line

    def _phone(self, text: str, line: int) -> str:
        if not text:
            self._wrong("missing", "phone", line)
            return ""
        try:
            return read_phone(text, self._region)
        except ValueError as error:
            self._wrong(str(error), "phone", line)
            return ""

    def _consent(self, values: dict[str, str], line: int) -> Consent | None:
        source, at = values.get("consent_source", ""), values.get("consent_at", "")
        if not source:
            self._wrong("no consent: say where the candidate agreed to be contacted", "consent_source", line)
        if not at:
            self._wrong("no consent: say when the candidate agreed to be contacted", "consent_at", line)
            return None
        if at.isdigit():
            self._wrong("not a date and time, as in 2026-03-01T09:00:00Z", "consent_at", line)
            return None
        try:
            return Consent.model_validate({"source": source or "-", "obtained_at": at})
        except ValidationError as error:
            for mistake in mistakes_of(error, Consent):
                self._wrong(mistake.message, "consent_at", line)
            return None

    def _values_of_variables(self, values: dict[str, str], line: int) -> dict[str, str]:
        if self._variables is None:
            return {}
        for name in sorted(self._variables):
            if name in self._columns and not values.get(name):
                self._wrong("no value for this template variable", name, line)
        return {name: values[name] for name in sorted(self._variables) if values.get(name)}
