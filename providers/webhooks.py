"""What every webhook reader does alike: compare secrets in constant time, and refuse to start without one."""

import hashlib
import hmac
from collections.abc import Iterable

from pydantic import SecretStr

from domain.errors import SetupError


def usable_secrets(account: str, secrets: Iterable[SecretStr]) -> tuple[bytes, ...]:
    """The secrets as bytes. Raises ``SetupError`` when there is none or one is empty or no line of plain ASCII."""
    values = [secret.get_secret_value() for secret in secrets]
    if not values or not all(v and v.isascii() and v.isprintable() and v == v.strip() for v in values):
        text = "a webhook secret is missing, empty or not one line of plain ASCII; the receiver does not start without"
        raise SetupError(f"account {account}: {text}: check webhook_secrets")
    return tuple(value.encode() for value in values)


def is_one_of(secrets: tuple[bytes, ...], shown: str) -> bool:
    """Whether ``shown`` is one of the secrets, in a time that tells nothing about which or how much of it."""
    told = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest()
    matches = [hmac.compare_digest(hashlib.sha256(secret).digest(), told) for secret in secrets]
    return any(matches)
