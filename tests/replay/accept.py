"""Accepts the present commands of workflow code: ``python -m tests.replay.accept``."""

from tests.replay.fingerprints import fingerprint
from tests.replay.test_fingerprints import STORED

if __name__ == "__main__":
    STORED.write_text("\n".join(fingerprint()) + "\n")
