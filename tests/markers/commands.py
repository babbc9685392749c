"""What operators type: many commands of ``rapport`` in one process, since starting one takes seconds.

Reads lines of JSON, ``[words…]`` or ``{"words": […], "types": "…"}``, and writes one with the exit code and the output
of each.
"""

import contextlib
import io
import json
import sys

from starter.cli import app


def carry_out(words: list[str], typed: str) -> tuple[int, str]:
    """One command as the shell would give it; its exit code and what it wrote on standard output."""
    written = io.StringIO()
    sys.stdin = io.StringIO(typed)
    try:
        with contextlib.redirect_stdout(written):
            app(words, prog_name="rapport")
    except SystemExit as ended:
        return int(ended.code or 0), written.getvalue()
    return 0, written.getvalue()


if __name__ == "__main__":
    shell = sys.stdin
    for line in shell:
        asked = json.loads(line)
        code, text = carry_out(asked["words"], asked.get("types", ""))
        sys.stdout.write(json.dumps({"words": asked["words"], "code": code, "output": text}) + "\n")
        sys.stdout.flush()
