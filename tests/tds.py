"""The tokens of the Tabular Data Stream, as a server writes them (MS-TDS, version 7.4).

https://learn.microsoft.com/openspecs/windows_protocols/ms-tds
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.loopback import exactly

PRELOGIN, LOGIN7, BATCH, ATTENTION = 0x12, 0x10, 0x01, 0x06
_REPLY = 0x04
_VERSION = b"\x74\x00\x00\x04"
_COLLATION = b"\x09\x04\xd0\x00\x34"
_PAYLOAD = 4096 - 8
_NO_ENCRYPTION = 2


@dataclass(frozen=True)
class Login:
    """What a client says of itself in LOGIN7."""

    user: str
    password: str
    server: str
    database: str


@dataclass(frozen=True)
class Message:
    """An error as SQL Server sends it; ``severity`` is called class in the protocol."""

    number: int
    text: str
    severity: int = 14
    state: int = 1


Column = tuple[str, str]
"""A name and a type of SQL Server."""


@dataclass(frozen=True)
class Rows:
    """One result set; an error among the rows ends it."""

    columns: Sequence[Column]
    rows: Iterable[Sequence[Any] | Message] = ()


class Wire:
    """Packets over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> tuple[int, bytes]:
        """Read one message.

        :raises EOFError: the client is gone
        """
        kind, payload, last = 0, b"", False
        while not last:
            kind, status, length, *_ = struct.unpack(">BBHHBB", exactly(self._connection, 8))
            payload += exactly(self._connection, length - 8)
            last = bool(status & 1)
        return kind, payload

    def send(self, *parts: bytes | Iterator[bytes]) -> None:
        """Write one message, piece by piece as the pieces come."""
        waiting, number = bytearray(), 1
        for part in parts:
            for piece in (part,) if isinstance(part, bytes) else part:
                waiting += piece
                while len(waiting) > _PAYLOAD:
                    self._packet(bytes(waiting[:_PAYLOAD]), number)
                    del waiting[:_PAYLOAD]
                    number += 1
        self._packet(bytes(waiting), number, last=True)

    def _packet(self, payload: bytes, number: int, *, last: bool = False) -> None:
        head = struct.pack(">BBHHBB", _REPLY, last, len(payload) + 8, 0, number % 256, 0)
        self._connection.sendall(head + payload)


def prelogin() -> bytes:
    """Answer PRELOGIN: SQL Server 16, without encryption."""
    version, encryption = b"\x10\x00\x10\x04\x00\x00", bytes([_NO_ENCRYPTION])
    head = struct.pack(">BHHBHHB", 0, 11, len(version), 1, 11 + len(version), 1, 0xFF)
    return head + version + encryption


def login_of(payload: bytes) -> Login:
    """Read LOGIN7."""

    def text(at: int, *, scrambled: bool = False) -> str:
        offset, length = struct.unpack_from("<HH", payload, at)
        raw = payload[offset : offset + 2 * length]
        if scrambled:
            raw = bytes(((byte ^ 0xA5) << 4 | (byte ^ 0xA5) >> 4) & 0xFF for byte in raw)
        return raw.decode("utf-16-le")

    return Login(text(40), text(44, scrambled=True), text(52), text(68))


def statement_of(payload: bytes) -> str:
    """Read an SQL batch."""
    (headers,) = struct.unpack_from("<I", payload)
    return payload[headers:].decode("utf-16-le")


def login_ack() -> bytes:
    """Accept a login."""
    name = "Microsoft SQL Server"
    body = b"\x01" + _VERSION + _b_text(name) + b"\x10\x00\x10\x04"
    return b"\xad" + struct.pack("<H", len(body)) + body


def error(message: Message) -> bytes:
    """Write an ERROR token."""
    text = message.text.encode("utf-16-le")
    body = struct.pack("<iBBH", message.number, message.state, message.severity, len(message.text))
    body += text + _b_text("fake") + _b_text("") + struct.pack("<I", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body


def done(*, failed: bool = False, rows: int | None = None, cancelled: bool = False) -> bytes:
    """Write the DONE token that ends a reply."""
    status = failed * 0x02 | (rows is not None) * 0x10 | cancelled * 0x20
    return b"\xfd" + struct.pack("<HHQ", status, 0xC1, rows or 0)


def result(answer: Rows) -> Iterator[bytes]:
    """Write COLMETADATA, the rows as they come, and DONE."""
    types = [type_of(kind) for _, kind in answer.columns]
    yield b"\x81" + struct.pack("<H", len(types))
    for (name, _), kind in zip(answer.columns, types, strict=True):
        yield struct.pack("<IH", 0, 9) + kind.info + _b_text(name)
    count = 0
    for row in answer.rows:
        if isinstance(row, Message):
            yield error(row) + done(failed=True)
            return
        count += 1
        yield b"\xd1" + b"".join(kind.write(value) for kind, value in zip(types, row, strict=True))
    yield done(rows=count)


@dataclass(frozen=True)
class Type:
    """How one type is described, and how its values are written."""

    info: bytes
    raw: Callable[[Any], bytes]
    long: bool = False

    def write(self, value: Any) -> bytes:
        """Write a value with its length in front; None is NULL."""
        if self.long:
            return b"\xff\xff" if value is None else _us_bytes(self.raw(value))
        return b"\x00" if value is None else bytes([len(self.raw(value))]) + self.raw(value)


def _whole(size: int) -> Callable[[Any], bytes]:
    return lambda value: int(value).to_bytes(size, "little", signed=size > 1)


def _money(value: Any) -> bytes:
    high, low = divmod(int(Decimal(str(value)).scaleb(4)), 1 << 32)
    return struct.pack("<iI", high, low)


_LONG = b"\x40\x1f"  # 8000 bytes at most
_TYPES = {
    "bit": Type(b"\x68\x01", _whole(1)),
    "int": Type(b"\x26\x04", _whole(4)),
    "bigint": Type(b"\x26\x08", _whole(8)),
    "float": Type(b"\x6d\x08", lambda value: struct.pack("<d", float(value))),
    "money": Type(b"\x6e\x08", _money),
    "uniqueidentifier": Type(b"\x24\x10", lambda value: UUID(str(value)).bytes_le),
    "nvarchar": Type(b"\xe7" + _LONG + _COLLATION, lambda value: str(value).encode("utf-16-le"), long=True),
    "varchar": Type(b"\xa7" + _LONG + _COLLATION, lambda value: str(value).encode("cp1252"), long=True),
    "varbinary": Type(b"\xa5" + _LONG, bytes, long=True),
    "timestamp": Type(b"\xa5" + _LONG, bytes, long=True),
}


def type_of(kind: str) -> Type:
    """Describe a type by its SQL name; what is not here is not spoken by this server."""
    name, _, size = kind.rstrip(")").partition("(")
    if name != "decimal":
        return _TYPES[name]
    precision, scale = (int(part) for part in size.split(","))

    def raw(value: Any) -> bytes:
        unscaled = int(Decimal(str(value)).scaleb(scale))
        return bytes([unscaled >= 0]) + abs(unscaled).to_bytes(16, "little")

    return Type(bytes([0x6A, 17, precision, scale]), raw)


def _us_bytes(raw: bytes) -> bytes:
    return struct.pack("<H", len(raw)) + raw


def _b_text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")
