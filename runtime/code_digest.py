"""Which code the workflows of this process run, as Temporal keeps it of workers that are not versioned."""

import hashlib
from functools import cache
from pathlib import Path

import temporalio

_ROOT = Path(__file__).parents[1]
_DECIDING = ("domain", "workflows")


@cache
def code_digest() -> str:
    """A digest of what decides: our workflows, the values and rules that they use, and the SDK's version.

    Without it the SDK reads every module that is loaded for a digest of its own, a fifth of a second for each process.
    """
    digest = hashlib.sha256(temporalio.__version__.encode())
    for package in _DECIDING:
        for file in sorted((_ROOT / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
