"""JSON as Meta writes it, and the signature over its very bytes."""

import hashlib
import hmac
import json

from pydantic import JsonValue


def written(value: JsonValue) -> bytes:
    r"""JSON without blanks, what is not ASCII as ``\u00e9``, slashes as ``\/``: a re-serialised body never verifies."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode()


def signature(app_secret: str, body: bytes) -> str:
    """The value of ``X-Hub-Signature-256``."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
