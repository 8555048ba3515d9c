"""A stand-in for MongoDB: a fake behind a real socket, for there is no server to install.

The wire is real: OP_MSG with BSON, and SCRAM-SHA-256 by a library of its own (scramp), so that PyMongo and
Airflow's hook run as they are. Collections are mongomock's, another library that answers queries as MongoDB
does. What a MongoDB is that this one is not: journals, replication, indexes, versions.

https://github.com/mongodb/specifications/tree/master/source/message
"""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bson
import mongomock
from scramp import ScramException, ScramMechanism  # type: ignore[import-untyped]

from tests.loopback import exactly, listening

Document = dict[str, Any]

_OP_QUERY, _OP_REPLY, _OP_MSG = 2004, 1, 2013
_OPEN = frozenset(
    {"hello", "isMaster", "ismaster", "ping", "buildInfo", "saslStart", "saslContinue", "endSessions"}
)
_MECHANISM = "SCRAM-SHA-256"
_EVERYTHING = "*"
_HELLO = {
    "helloOk": True,
    "ismaster": True,
    "isWritablePrimary": True,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "maxBsonObjectSize": 16 * 1024 * 1024,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30,
}


def failure(code: int, name: str, words: str) -> Document:
    """Say no as a server does."""
    return {"ok": 0.0, "errmsg": words, "code": code, "codeName": name}


AUTHENTICATION_FAILED = failure(18, "AuthenticationFailed", "Authentication failed.")
BAD_AUTH = failure(8000, "AtlasError", "bad auth : Authentication failed.")


@dataclass
class FakeMongo:
    """Where it listens, whom it lets in, what they may read, and what it was asked.

    ``users`` is None for a server without authorization. ``rights`` lists the collections of the database
    ``shop`` that a user may read; a user that is not in it may read all. ``troubles`` gives a command's
    answer whatever was asked. ``logins`` counts the proofs of a password, and the logins that were refused
    before one.
    """

    port: int = 0
    users: Mapping[str, str] | None = field(default_factory=lambda: {"reader": "fake-reader-password"})
    rights: Mapping[str, Sequence[str]] = field(default_factory=dict)
    troubles: dict[str, Document] = field(default_factory=dict)
    hello: Document = field(default_factory=dict)
    hangs_up_on: str = ""
    silent_on: str = ""
    tls: ssl.SSLContext | None = None
    logins: int = 0
    commands: list[Document] = field(default_factory=list)
    data: Any = field(default_factory=mongomock.MongoClient)

    @property
    def shop(self) -> Any:
        """The database."""
        return self.data["shop"]

    def asked(self, command: str) -> list[Document]:
        """List the commands of this name."""
        return [each for each in self.commands if next(iter(each)) == command]

    def may_read(self, user: str | None, collection: str) -> bool:
        """Tell whether a user may read a collection."""
        allowed = self.rights.get(user or "", (_EVERYTHING,))
        return _EVERYTHING in allowed or collection in allowed


class _Client:
    """One connection: who is logged in, and the open cursors."""

    def __init__(self, server: FakeMongo, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._user: str | None = None
        self._login: Any = None
        self._name = ""
        self._cursors: dict[int, Iterator[Document]] = {}

    def speak(self) -> None:
        """Answer until the client leaves."""
        for number in itertools.count(1):
            request, opcode, command = self._receive()
            answer = self._answer(command)
            if opcode == _OP_QUERY:
                body = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(answer)
                opcode = _OP_REPLY
            else:
                body = struct.pack("<iB", 0, 0) + bson.encode(answer)
            self._connection.sendall(struct.pack("<iiii", len(body) + 16, number, request, opcode) + body)

    def _receive(self) -> tuple[int, int, Document]:
        length, request, _, opcode = struct.unpack("<iiii", exactly(self._connection, 16))
        body = exactly(self._connection, length - 16)
        start = body.index(b"\0", 4) + 1 + 8 if opcode == _OP_QUERY else 5
        (size,) = struct.unpack_from("<i", body, start)
        return request, opcode, bson.decode(body[start : start + size])

    def _answer(self, command: Document) -> Document:
        name = next(iter(command))
        self._server.commands.append(command)
        if name == self._server.hangs_up_on:
            self._server.logins += name == "saslContinue"
            raise EOFError
        if name == self._server.silent_on:
            exactly(self._connection, 1)
        if name in self._server.troubles:
            self._server.logins += name == "saslStart"
            return self._server.troubles[name]
        if self._server.users is not None and self._user is None and name not in _OPEN:
            return failure(13, "Unauthorized", f"Command {name} requires authentication")
        handler = getattr(self, f"_{name.lower()}", None)
        if handler is None:
            return failure(59, "CommandNotFound", f"no such command: '{name}'")
        answer: Document = handler(command)
        return {"ok": 1.0, **answer}

    def _hello(self, command: Document) -> Document:
        answer = {**_HELLO, **self._server.hello}
        name = str(command.get("saslSupportedMechs", "")).partition(".")[2]
        if name in (self._server.users or {}):
            answer["saslSupportedMechs"] = [_MECHANISM]
        early = command.get("speculativeAuthenticate")
        if early and "saslStart" not in self._server.troubles:
            began = self._begun(early)
            if began["ok"]:
                answer["speculativeAuthenticate"] = began
        return answer

    _ismaster = _hello

    def _ping(self, _: Document) -> Document:
        return {}

    _endsessions = _killcursors = _ping

    def _buildinfo(self, _: Document) -> Document:
        return {"version": "7.0.0"}

    def _saslstart(self, command: Document) -> Document:
        began = self._begun(command)
        self._server.logins += not began["ok"]
        return began

    def _begun(self, command: Document) -> Document:
        first = bytes(command["payload"]).decode()
        self._name = first.split("n=")[1].split(",")[0]
        password = (self._server.users or {}).get(self._name)
        if command.get("mechanism") != _MECHANISM or password is None:
            return AUTHENTICATION_FAILED
        mechanism = ScramMechanism(_MECHANISM)
        secret = mechanism.make_auth_info(password, iteration_count=4096)
        self._login = mechanism.make_server(lambda _: secret)
        self._login.set_client_first(first)
        return _step(self._login.get_server_first(), done=False)

    def _saslcontinue(self, command: Document) -> Document:
        self._server.logins += 1
        try:
            self._login.set_client_final(bytes(command["payload"]).decode())
        except ScramException:
            return AUTHENTICATION_FAILED
        self._user = self._name
        return _step(self._login.get_server_final(), done=True)

    def _find(self, command: Document) -> Document:
        collection, database = command["find"], command["$db"]
        if not self._server.may_read(self._user, collection):
            return failure(
                13,
                "Unauthorized",
                f'not authorized on {database} to execute command {{ find: "{collection}" }}',
            )
        found = self._server.data[database][collection].find(
            command.get("filter") or {}, command.get("projection"), limit=command.get("limit", 0)
        )
        if order := command.get("sort"):
            found = found.sort(list(order.items()))
        return self._batch(f"{database}.{collection}", iter(found), command, "firstBatch")

    def _getmore(self, command: Document) -> Document:
        rest = self._cursors.pop(command["getMore"], None)
        if rest is None:
            return failure(43, "CursorNotFound", f"cursor id {command['getMore']} not found")
        return self._batch(f"{command['$db']}.{command['collection']}", rest, command, "nextBatch")

    def _batch(self, where: str, rest: Iterator[Document], command: Document, name: str) -> Document:
        batch = list(itertools.islice(rest, command.get("batchSize", 101)))
        number = 0
        if (following := next(rest, None)) is not None:
            number = len(self._server.commands)
            self._cursors[number] = itertools.chain((following,), rest)
        return {"cursor": {"id": bson.Int64(number), "ns": where, name: batch}}

    def _listcollections(self, command: Document) -> Document:
        wanted = (command.get("filter") or {}).get("name")
        names = [
            name
            for name in self._server.data[command["$db"]].list_collection_names()
            if self._server.may_read(self._user, name) and wanted in (None, name)
        ]
        documents = [{"name": name, "type": "collection"} for name in names]
        return {
            "cursor": {
                "id": bson.Int64(0),
                "ns": f"{command['$db']}.$cmd.listCollections",
                "firstBatch": documents,
            }
        }


def _step(payload: str, *, done: bool) -> Document:
    return {"ok": 1.0, "conversationId": 1, "done": done, "payload": payload.encode()}


@contextmanager
def mongo_server(**fields: Any) -> Iterator[FakeMongo]:
    """Listen on the loopback until the end."""
    server = FakeMongo(**fields)

    def serve(connection: socket.socket) -> None:
        wrapped = server.tls.wrap_socket(connection, server_side=True) if server.tls else connection
        _Client(server, wrapped).speak()

    with listening(serve) as server.port:
        yield server
