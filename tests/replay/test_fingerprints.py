"""A change of the commands that workflow code gives is never an accident."""

from pathlib import Path

from tests.replay.fingerprints import fingerprint

STORED = Path(__file__).parent / "fingerprints.txt"

TEACHING = """
The commands of workflow code have changed. Engagements stay open for weeks, so this may break those that run now:

1. Do the stored histories still replay?  pytest tests/replay/test_replay.py
2. If not, fork the new behaviour:  if workflow.patched("kebab-id"): ...new... else: ...old...
3. If they do, ask whether a history that is not stored could meet the change; record one (tests/replay/record.py).
4. Then accept the new fingerprint:  python -m tests.replay.accept
"""


def test_the_commands_of_workflow_code_are_those_we_accepted() -> None:
    assert fingerprint() == STORED.read_text().splitlines(), TEACHING
