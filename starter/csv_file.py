"""Reads CSV files as people's programs write them; what is wrong is told by line, never raised."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

_SEPARATORS = (",", ";", "\t")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LARGEST = 50 * 1024 * 1024

Wrong = Callable[[str, str, int | None], None]
"""Hears of a mistake: what is wrong, the column where there is one, the line where it is known."""


def text_of(path: Path, wrong: Wrong) -> str | None:
    """The text of a file in UTF-8, or in UTF-16 with its mark; None when it cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        wrong(f"cannot be read: {error.strerror}", "", None)
        return None
    if len(raw) > _LARGEST:
        wrong("larger than 50 MiB: split it", "", None)
        return None
    encoding = next((name for bom, name in _BOMS if raw.startswith(bom)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        wrong("not UTF-8: save it as CSV UTF-8", "", raw.count(b"\n", 0, error.start) + 1)
        return None
    if "\0" in text:
        wrong("holds NUL bytes, so it is not a text file: save it as CSV UTF-8", "", None)
        return None
    return text


def records_in(text: str, wrong: Wrong) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not blank, with the line that it begins in. Separators: commas, semicolons or tabs."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            wrong("a quote is not closed, or stands inside a cell without being doubled", "", line)
            return
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, [cell.strip() for cell in cells]
