"""Reads secrets by reference, and the two keys that everything else hangs on."""

import base64
import binascii
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import SecretStr

from domain.errors import SetupError
from domain.topology import Topology
from runtime.settings import Settings

log = structlog.get_logger()

KEY_BYTES = 32
COMMAND_SECONDS = 30.0
_REFERENCE = re.compile(r"(env|file):(.+)", re.DOTALL)
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_COMMAND = "command:"


def resolve(ref: str) -> SecretStr:
    """The secret that ``env:NAME`` or ``file:PATH`` refers to, without the line end of a file.

    Raises ``SetupError`` that names the reference and never the value.
    """
    found = _REFERENCE.fullmatch(ref)
    if found is None:  # the text may be a secret put where a reference belongs: it is not repeated
        raise SetupError("a secret is named as env:NAME or file:PATH; what is written here is neither")
    kind, name = found.groups()
    value = os.environ.get(name) if kind == "env" else _read(name, ref)
    if value is None:
        raise SetupError(f"{ref}: the environment variable is not set")
    if not value.strip():
        raise SetupError(f"{ref}: is empty")
    return SecretStr(value.rstrip("\r\n") if kind == "file" else value)


def _read(name: str, ref: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SetupError(f"{ref}: is not text") from None
    except OSError as error:
        raise SetupError(f"{ref}: cannot be read ({error.strerror})") from None


def resolve_all(refs: Iterable[str]) -> dict[str, SecretStr]:
    """Every reference with its secret. Raises one ``SetupError`` that lists all that cannot be read."""
    found: dict[str, SecretStr] = {}
    missing: list[str] = []
    for ref in dict.fromkeys(refs):
        try:
            found[ref] = resolve(ref)
        except SetupError as error:
            missing.append(str(error))
    if missing:
        raise SetupError("\n".join(["secrets cannot be read:", *(f"  {line}" for line in missing)]))
    return found


def references(topology: Topology) -> tuple[str, ...]:
    """Every secret that a configuration refers to, in the order of the file, each once."""
    refs = [
        *(tenant.ats.secret for tenant in topology.tenants if tenant.ats is not None),
        *(ref for tenant in topology.tenants for ref in tenant.ats_webhook_secrets),
        *(ref for account in topology.accounts for ref in (account.credential, *account.webhook_secrets)),
        *(token.token for token in topology.tokens),
    ]
    return tuple(dict.fromkeys(refs))


@dataclass(frozen=True)
class Keys:
    """The key that wraps all others, and the one under which people are recognised: 32 bytes each."""

    master: bytes = field(repr=False)
    pepper: bytes = field(repr=False)
    former: tuple[bytes, ...] = field(default=(), repr=False)
    """Master keys that only open."""
    is_development: bool = False
    """Made by us on this machine, so no reason to guard what they seal from whoever sits at it."""


def load_keys(settings: Settings) -> Keys:
    """Read the keys; on a single machine without any, make them once in the state directory and say so.

    Raises ``SetupError`` when only one is given, when one is no key, or when the store is shared and none is given.
    """
    given = {"MASTER": settings.keys.master, "PEPPER": settings.keys.pepper}
    missing = [name for name, value in given.items() if value is None]
    former = settings.keys.former
    if missing and former is not None:
        raise SetupError("RAPPORT_KEYS__FORMER is set without RAPPORT_KEYS__MASTER: which key seals now?")
    if len(missing) == 1:
        raise SetupError(f"RAPPORT_KEYS__{missing[0]} is not set while the other key is; set both or neither")
    if missing:
        return _development_keys(settings)
    master, pepper = (_key(f"RAPPORT_KEYS__{name}", value) for name, value in given.items() if value is not None)
    if secrets.compare_digest(master, pepper):
        raise SetupError("RAPPORT_KEYS__MASTER and RAPPORT_KEYS__PEPPER are the same key; make two")
    return Keys(master, pepper, () if former is None else _former(former))


def _former(value: SecretStr) -> tuple[bytes, ...]:
    parts = [part for part in value.get_secret_value().split(",") if part.strip()]
    return tuple(_key("RAPPORT_KEYS__FORMER", SecretStr(part)) for part in parts)


def _key(name: str, value: SecretStr) -> bytes:
    text = value.get_secret_value().strip()
    if text.startswith(_COMMAND):
        text = _told_by(name, text.removeprefix(_COMMAND)).strip()
    elif text.startswith(("env:", "file:")):
        text = resolve(text).get_secret_value().strip()
    try:
        raw = bytes.fromhex(text) if _HEX.fullmatch(text) else base64.b64decode(_standard(text), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise SetupError(f"{name}: must be {KEY_BYTES} bytes in base64 or hex; make one with: openssl rand -base64 32")
    return raw


def _told_by(name: str, command: str) -> str:
    """What a command writes: how a key management service gives a key that stands nowhere else. No shell reads it.

    Neither its words nor what it writes are repeated: either may be secret.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own words, as the key itself would be
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, ValueError) as error:
        raise SetupError(f"{name}: its command cannot be run ({type(error).__name__})") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"{name}: its command did not answer within {COMMAND_SECONDS:.0f} seconds") from None
    if done.returncode != 0:
        raise SetupError(f"{name}: its command failed with {done.returncode}; run it by hand to see why")
    return done.stdout.decode("ascii", errors="replace")


def _standard(text: str) -> str:
    text = text.replace("-", "+").replace("_", "/").rstrip("=")
    return text + "=" * (-len(text) % 4)


def _development_keys(settings: Settings) -> Keys:
    if not settings.is_single_machine:
        raise SetupError(
            "RAPPORT_KEYS__MASTER and RAPPORT_KEYS__PEPPER are not set, and a store that others share needs keys that "
            "others have: make two with openssl rand -base64 32 and give them to every process"
        )
    master, pepper = (_made_once(settings.state_dir / f"{name}.key") for name in ("master", "pepper"))
    log.warning("development_keys_in_use", directory=str(settings.state_dir), advice="set RAPPORT_KEYS__* elsewhere")
    return Keys(master, pepper, is_development=True)


def _made_once(path: Path) -> bytes:
    """Read the key file, or make it so that two processes that start at once agree on one key."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)  # fails where another process was first, and then its key counts
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return _key(str(path), SecretStr(path.read_text()))
    except OSError as error:
        raise SetupError(f"{path}: the key file cannot be made or read ({error.strerror})") from None
