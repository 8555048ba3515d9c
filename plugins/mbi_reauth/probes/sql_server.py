"""Logging in to SQL Server through Airflow's hook, whose driver is pymssql on FreeTDS.

pymssql 2.4.6 (2026) keeps the errors of failed logins in one place for the whole process. It keeps the
gravest only, so that of "cannot open database" (4060) and "login failed" (18456), which come together, the
first is lost; and it never forgets how grave that was, so that the number of one server's refusal is given to
whatever fails next, be it a refused connection to another server. So each login hears DB-Library's own
messages, whose handlers are called in the thread that logs in. Tests over a socket show both faults, and
their absence here.

FreeTDS checks a server's certificate only where its own configuration names a ``ca file``
(https://www.freetds.org/userguide/freetdsconf.html); neither the hook nor pymssql can ask for it.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import pymssql
from airflow.providers.microsoft.mssql.hooks.mssql import MsSqlHook
from pymssql import _mssql

from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.secret_values import SecretValues

LOGIN_FAILED = 18456
_INFORMATION = 10
"""Messages up to this severity are no errors."""

# Named, so that FreeTDS does not try one version after another: that multiplies timeouts, and used to
# multiply refused logins. A server that knows only older ones answers with its own.
_TDS_VERSION = "7.4"
_NO_NEWS = frozenset({20012, 20018})
"""DB-Library has no name for the server in its own files; and, see the server's own messages."""
_COMPLAINT = re.compile(r"DB-Lib error message (\d+), severity \d+:\n(.*)")


class Message(NamedTuple):
    """A number and its words, of SQL Server or of DB-Library."""

    number: int
    words: str


def log_in(credential: Credential, *, timeout: int, read_timeout: int) -> Any:
    """Log in once and return pymssql's connection, which commits by itself: nothing is ever written.

    :param timeout: seconds for connecting
    :param read_timeout: seconds for an answer; FreeTDS holds one such limit for the whole process
    :raises MisconfiguredError: the extra has something that pymssql does not take
    :raises pymssql.Error: its arguments are a number and the words that belong to it
    """
    # What the connection says itself goes before.
    extra = {
        "login_timeout": timeout,
        "timeout": read_timeout,
        "tds_version": _TDS_VERSION,
        "autocommit": True,
        **credential.extra,
    }
    target = replace(credential, extra=extra)
    hook = MsSqlHook(mssql_conn_id=target.conn_id, connection=as_connection(target))
    with _EAR.listening() as heard:
        try:
            return hook.get_conn()
        except pymssql.Error:
            raise _refusal(heard.messages) from None
        except (TypeError, ValueError, _mssql.MSSQLException) as error:
            words = SecretValues.of(credential).hide(str(error))
            raise MisconfiguredError(
                f"The extra of the Airflow connection {credential.conn_id!r} is nothing for pymssql: {words}"
            ) from None


def _refusal(heard: Sequence[Message]) -> pymssql.Error:
    """Say what was heard during this login, whatever pymssql made of it."""
    if not heard:
        return pymssql.OperationalError("The login failed, and nothing said why")
    # The most telling number: "login failed" comes with whatever it failed for.
    number = next((each.number for each in heard if each.number != LOGIN_FAILED), LOGIN_FAILED)
    return pymssql.OperationalError(number, " ".join(dict.fromkeys(each.words for each in heard)))


def told(error: Exception) -> Message | None:
    """Read an error of pymssql; None where it has no number."""
    if len(error.args) != 2 or not isinstance(error.args[0], int):
        return None
    number, words = error.args
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    # pymssql appends what DB-Library says to the server's words, or gives it alone.
    said = text.partition("DB-Lib error message")[0].strip()
    if not said and (complaint := _COMPLAINT.search(text)):
        return Message(int(complaint[1]), complaint[2].strip())
    return Message(number, said)


class _Heard:
    """What was said during one login: by the server, and by DB-Library about the connection."""

    def __init__(self) -> None:
        self.server: list[Message] = []
        self.library: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """The server's words, which say more, or else DB-Library's."""
        return self.server or self.library


class _Ear(threading.local):
    """Hears DB-Library in this thread, while there is somebody to tell."""

    heard: _Heard | None = None

    @contextmanager
    def listening(self) -> Iterator[_Heard]:
        """Collect what is said until the end."""
        _stand_before_pymssql()
        self.heard = _Heard()
        try:
            yield self.heard
        finally:
            self.heard = None


_EAR = _Ear()

# int (DBPROCESS *, DBINT number, int state, int severity, char *words, char *server, char *procedure, int)
_MessageHandler = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_int32,
    ctypes.c_int,
    ctypes.c_int,
    *(3 * [ctypes.c_char_p]),
    ctypes.c_int,
)
# int (DBPROCESS *, int severity, int number, int system's number, char *words, char *system's words)
_ErrorHandler = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, *(3 * [ctypes.c_int]), *(2 * [ctypes.c_char_p])
)
_GIVE_UP = 2
"""What a handler of errors returns (INT_CANCEL in FreeTDS, include/sybdb.h)."""

_standing = threading.Lock()
_kept: list[Any] = []
"""The handlers of messages and of errors, each time pymssql's before ours; for ever, since C calls them."""


def _stand_before_pymssql() -> None:
    """Hear DB-Library before pymssql does, once in a process, and pass everything on."""
    with _standing:
        if _kept:
            return
        try:
            library = ctypes.CDLL(_mssql.__file__)
            on_message, on_error = library.dbmsghandle, library.dberrhandle
        except (OSError, AttributeError):
            raise MisconfiguredError(
                "This build of pymssql hides DB-Library, so that a refusal would not be told from an outage; "
                "install the one from PyPI: pip install 'mbi-reauth[mssql]'"
            ) from None
        on_message.argtypes, on_message.restype = (_MessageHandler,), ctypes.c_void_p
        on_error.argtypes, on_error.restype = (_ErrorHandler,), ctypes.c_void_p
        _kept.extend(_replaced(on_message, _MessageHandler, _hear_server))
        _kept.extend(_replaced(on_error, _ErrorHandler, _hear_library))


def _replaced(install: Any, kind: Any, handler: Callable[..., int]) -> list[Any]:
    """Install a handler; return the one before, if there was one, and the new one."""
    new = kind(handler)
    before = install(new)
    return [kind(before) if before else None, new]


def _hear_server(process: Any, number: int, state: int, severity: int, words: bytes, *rest: Any) -> int:
    if _EAR.heard is not None and severity > _INFORMATION:
        _EAR.heard.server.append(Message(number, words.decode("utf-8", "replace").strip()))
    return int(_kept[0](process, number, state, severity, words, *rest)) if _kept and _kept[0] else 0


def _hear_library(process: Any, severity: int, number: int, cause: int, words: bytes, why: bytes) -> int:
    if _EAR.heard is not None and number not in _NO_NEWS:
        text = b": ".join((words, why) if why and cause > 0 else (words,))
        _EAR.heard.library.append(Message(number, text.decode("utf-8", "replace")))
    before = _kept[2] if _kept[2:] else None
    return int(before(process, severity, number, cause, words, why)) if before else _GIVE_UP
