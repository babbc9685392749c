"""Everything that is keyed: hashes of aliases, names of sends, fingerprints, and sealed bytes.

Two roots. The **pepper** never changes: what is looked up by hash must hash alike for ever. **Master keys** rotate:
what is sealed names its key, so old blobs open as long as their master is still given.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final, overload

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.contacts import Alias, AliasKind
from domain.errors import SetupError
from domain.sends import SendNames

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_KEY_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = len(_VERSION) + _KEY_ID_BYTES
_NAME_CHARACTERS: Final = 26
"""130 bits in base32: nobody guesses one, and ``att_`` with it stays under every provider's limit."""

_SINGLE: Final = "master"


class KeyRing:
    """The keys of this installation. Holds secrets, shows none.

    ``KeyRing(master, pepper)`` for one master key, ``KeyRing(masters={name: key}, current=name, pepper=pepper)`` while
    keys rotate: the current one seals, all of them open. Names are the operator's; blobs carry an id that is computed
    from the key itself, so renaming loses nothing. Raises ``SetupError`` for keys of the wrong length.
    """

    @overload
    def __init__(self, master: bytes, pepper: bytes) -> None: ...

    @overload
    def __init__(self, *, masters: Mapping[str, bytes], current: str, pepper: bytes) -> None: ...

    def __init__(
        self,
        master: bytes = b"",
        pepper: bytes = b"",
        *,
        masters: Mapping[str, bytes] | None = None,
        current: str = _SINGLE,
    ) -> None:
        given = {_SINGLE: master} if masters is None else dict(masters)
        _check(given, current, pepper)
        self._masters = {_key_id(key): key for key in given.values()}
        self._current = _key_id(given[current])
        self._alias_key = _derive(pepper, b"alias")
        self._reference_key = _derive(pepper, b"send-reference")
        self._flow_token_key = _derive(pepper, b"flow-token")
        self._fingerprint_key = _derive(pepper, b"fingerprint")
        self._veil_key = _derive(pepper, b"veil/mac") + _derive(pepper, b"veil/text")
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}

    @classmethod
    def generate(cls) -> "KeyRing":
        """Fresh random keys, for development and tests: what they seal is lost with the process."""
        return cls(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))

    @property
    def current_id(self) -> str:
        """Id of the master key that seals now; not secret."""
        return self._current.hex()

    def has(self, master_id: str) -> bool:
        """Whether what this master key sealed opens here."""
        return master_id in {key.hex() for key in self._masters}

    @property
    def veil(self) -> AESSIV:
        """The cipher of texts that are looked up and must not be read (``store.veil``): 256-bit AES-SIV."""
        return AESSIV(self._veil_key)

    def alias_digest(self, alias: Alias) -> bytes:
        """The keyed hash under which an alias is kept: 32 bytes.

        A phone number and a WhatsApp id of the same digits are one alias, whatever their scope: both name a number.
        """
        kind, scope, value = alias.kind.value, alias.scope, alias.value
        if alias.kind in (AliasKind.PHONE, AliasKind.WA_ID):
            kind, scope, value = "number", "", value.removeprefix("+")
        return _mac(self._alias_key, kind, scope, value)

    def send_names(self, send_key: str) -> SendNames:
        """What a provider sees of a send: equal for equal keys, and nothing that anybody else could compute."""
        return SendNames(
            reference="att_" + _name(self._reference_key, send_key),
            flow_token="ft_" + _name(self._flow_token_key, send_key),
        )

    def fingerprint(self, text: str) -> str:
        """A keyed hash that tells whether two texts are equal without keeping either: 64 hexadecimal digits."""
        return _mac(self._fingerprint_key, text).hex()

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Encrypt with AES-256-GCM under the current master key. Only ``open`` with the same purpose reads it."""
        header = _VERSION + self._current
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return header + nonce + self._cipher(self._current, purpose).encrypt(nonce, data, _bound(header, purpose))

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt what ``seal`` made.

        Raises ``SetupError`` when its master key is not given here, when it was sealed for another purpose, and when
        it was altered.
        """
        header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        if len(header) < _HEADER_BYTES or not header.startswith(_VERSION):
            raise SetupError(f"Stored {purpose} data is not of a form that this release reads")
        key_id = header[len(_VERSION) :]
        if key_id not in self._masters:
            raise SetupError(f"Stored {purpose} data needs master key {key_id.hex()}: give it beside the current one")
        nonce, secret = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return self._cipher(key_id, purpose).decrypt(nonce, secret, _bound(header, purpose))
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce and a tag
            raise SetupError(
                f"Stored {purpose} data does not open: it was altered, or sealed for something else"
            ) from None

    def _cipher(self, key_id: bytes, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((key_id, purpose))
        if cipher is None:
            cipher = AESGCM(_derive(self._masters[key_id], b"seal/" + purpose.encode()))
            self._ciphers[key_id, purpose] = cipher
        return cipher

    def __repr__(self) -> str:
        return f"KeyRing(current_id={self.current_id!r})"


def _check(masters: Mapping[str, bytes], current: str, pepper: bytes) -> None:
    wrong = [
        f"master key {name} has {len(key)} bytes, not {KEY_BYTES}"
        for name, key in masters.items()
        if len(key) != KEY_BYTES
    ]
    if current not in masters:
        wrong.append(f"there is no master key {current}, which should be the current one")
    if len(pepper) < KEY_BYTES:
        wrong.append(f"the pepper has {len(pepper)} bytes, less than {KEY_BYTES}")
    if wrong:
        raise SetupError("Keys are wrong: " + "; ".join(wrong))


def _derive(root: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"rapport/1/" + label).derive(root)


def _key_id(master: bytes) -> bytes:
    return hashlib.sha256(_derive(master, b"key-id")).digest()[:_KEY_ID_BYTES]


def _mac(key: bytes, *parts: str) -> bytes:
    """HMAC over parts whose borders cannot be shifted: each is preceded by its length."""
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.digest(key, message, "sha256")


def _name(key: bytes, send_key: str) -> str:
    return base64.b32encode(_mac(key, send_key)).decode().lower()[:_NAME_CHARACTERS]


def _bound(header: bytes, purpose: str) -> bytes:
    return header + purpose.encode()
