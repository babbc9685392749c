"""Reads a file of opt-outs: CSV with a header line, one person per row, every mistake found in one pass."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from domain.contacts import OptOutScope
from domain.errors import BadInput, Mistake
from domain.model import E164, Model
from starter.csv_file import records_in, text_of
from starter.mistakes import did_you_mean
from starter.phones import known_region, read_phone

REQUIRED = ("phone",)
OPTIONAL = ("scope", "value", "source", "at")
CLOCK_SKEW = timedelta(minutes=5)
_INSTANT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_LONGEST_SOURCE = 200


class OptOutRow(Model):
    """One row. Where the file says nothing, scope, source and instant are the command's own."""

    phone: E164
    scope: OptOutScope | None = None
    value: str = ""
    source: str = ""
    at: datetime | None = None
    line: int


@dataclass
class OptOutsRead:
    """What a file held. ``mistakes`` are all of them, in the order of the file."""

    rows: list[OptOutRow] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def checked(self) -> tuple[OptOutRow, ...]:
        """The rows. Raises ``BadInput`` with every mistake when there is one."""
        if self.mistakes:
            raise BadInput(self.mistakes)
        return tuple(self.rows)


def read_opt_outs(path: Path, now: datetime, region: str | None = None) -> OptOutsRead:
    """Read ``phone[,scope][,value][,source][,at]``; separators and text as in a file of candidates.

    ``region`` (``NL``) reads phone numbers without a country code. Never raises for what is in the file.
    """
    return _Reading(path, now, region).read()


class _Reading:
    def __init__(self, path: Path, now: datetime, region: str | None) -> None:
        self._path, self._now, self._region = path, now, region
        self._read = OptOutsRead()
        self._columns: list[str] = []

    def read(self) -> OptOutsRead:
        if self._region is not None and not known_region(self._region):
            self._wrong("not a region of two letters, as in NL", "region", None)
            self._region = None
        text = text_of(self._path, self._wrong)
        if text is None:
            return self._read
        records = records_in(text, self._wrong)
        header = next(records, None)
        if header is None:
            self._wrong("the file is empty: its first line must name the columns, as in phone,scope,value", "", None)
        elif self._header(*header):
            for line, cells in records:
                self._row(line, cells)
            if not self._read.rows and not self._read.mistakes:
                self._wrong("there is nobody below the header", "", header[0] + 1)
        return self._read

    def _wrong(self, message: str, column: str, line: int | None) -> None:
        self._read.mistakes.append(Mistake(message, field=column, file=str(self._path), line=line))

    def _header(self, line: int, cells: list[str]) -> bool:
        known = {*REQUIRED, *OPTIONAL}
        self._columns = [cell.casefold() if cell.casefold() in known else cell for cell in cells]
        for name in sorted({c for c in self._columns if c and self._columns.count(c) > 1}):
            self._wrong("the column is there twice", name, line)
        for name in sorted({c for c in self._columns if c} - known):
            # what is not understood might be what limits an opt-out, so it is not passed over
            self._wrong("no such column" + did_you_mean(name, known - set(self._columns)), name, line)
        for name in REQUIRED:
            if name not in self._columns:
                self._wrong("the column is missing", name, line)
        return set(REQUIRED) <= set(self._columns)

    def _row(self, line: int, cells: list[str]) -> None:
        before = len(self._read.mistakes)
        if len(cells) > len(self._columns):
            self._wrong(f"{len(cells)} cells where the header names {len(self._columns)} columns", "", line)
        values = dict(zip(self._columns, cells, strict=False))
        phone = self._phone(values.get("phone", ""), line)
        scope = self._scope(values.get("scope", ""), line)
        at = self._at(values.get("at", ""), line)
        source = values.get("source", "")
        if len(source) > _LONGEST_SOURCE:
            self._wrong(f"longer than {_LONGEST_SOURCE} characters", "source", line)
        if len(self._read.mistakes) == before:
            row = OptOutRow(phone=phone, scope=scope, value=values.get("value", ""), source=source, at=at, line=line)
            self._read.rows.append(row)

    def _phone(self, text: str, line: int) -> str:
        if not text:
            self._wrong("missing", "phone", line)
            return ""
        try:
            return read_phone(text, self._region)
        except ValueError as error:
            self._wrong(str(error), "phone", line)
            return ""

    def _scope(self, text: str, line: int) -> OptOutScope | None:
        if not text:
            return None
        try:
            return OptOutScope(text.casefold())
        except ValueError:
            self._wrong(f"must be one of {', '.join(OptOutScope)}", "scope", line)
            return None

    def _at(self, text: str, line: int) -> datetime | None:
        if not text:
            return None
        try:
            at = _INSTANT.validate_python(None if text.isdigit() else text)
        except ValidationError:
            self._wrong("not a date and time with its zone, as in 2026-03-01T09:00:00Z", "at", line)
            return None
        if at > self._now + CLOCK_SKEW:
            self._wrong("lies in the future", "at", line)
            return None
        return at
