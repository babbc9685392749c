"""As much of HTTP/1.1 and of gRPC as a fault proxy must understand to know what passes through it."""

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import dataclass

_END = b"\r\n\r\n"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA = 0
_PADDED = 0x8


class NotHttp(Exception):
    """Bytes that are no HTTP/1.1 message with a length."""


@dataclass(frozen=True)
class HttpMessage:
    """A request or an answer, as it came."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """All of it."""
        return self.head + self.body

    @property
    def words(self) -> list[str]:
        """The three words of the first line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)


async def read_message(reader: asyncio.StreamReader, *, bodiless: bool = False) -> HttpMessage | None:
    """The next message; None when the connection ended before it or inside it. Raises ``NotHttp``."""
    try:
        head = await reader.readuntil(_END)
        headers = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        if b"transfer-encoding" in headers:
            return HttpMessage(head, await _chunks(reader))
        length = 0 if bodiless else int(headers.get(b"content-length", b"0"))
        return HttpMessage(head, await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise NotHttp(str(error)) from error


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


@dataclass(frozen=True)
class Frame:
    """One HTTP/2 frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Frames:
    """Cuts a stream of bytes into HTTP/2 frames."""

    def __init__(self, *, from_client: bool) -> None:
        self._kept = b""
        self._preface = from_client

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now."""
        self._kept += data
        if self._preface and len(self._kept) >= len(_PREFACE):
            self._kept, self._preface = self._kept.removeprefix(_PREFACE), False
        while not self._preface and len(self._kept) >= 9:
            size = int.from_bytes(self._kept[:3], "big")
            if len(self._kept) < 9 + size:
                return
            stream = int.from_bytes(self._kept[5:9], "big") & 0x7FFFFFFF
            yield Frame(self._kept[3], self._kept[4], stream, self._kept[9 : 9 + size])
            self._kept = self._kept[9 + size :]


class Requests:
    """Puts gRPC requests together out of what a client sends."""

    def __init__(self) -> None:
        self._frames = Frames(from_client=True)
        self._parts: dict[int, bytes] = {}

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Requests that are whole now: their stream, and the message behind gRPC's prefix, unpacked."""
        for frame in self._frames.feed(data):
            if frame.kind != _DATA:
                continue
            payload = frame.payload
            if frame.flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            part = self._parts.pop(frame.stream, b"") + payload
            if len(part) < 5 or len(part) - 5 < int.from_bytes(part[1:5], "big"):
                self._parts[frame.stream] = part
                continue
            message = part[5 : 5 + int.from_bytes(part[1:5], "big")]
            yield frame.stream, gzip.decompress(message) if part[0] else message
