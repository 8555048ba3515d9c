"""Logging in to SQL Server through Airflow's hook, whose driver is pymssql on FreeTDS.

pymssql 2.4.6 (2026) keeps the errors of failed logins in one place for the whole process. It keeps the
gravest only, so that of "cannot open database" (4060) and "login failed" (18456), which come together, the
first is lost; and it never forgets how grave that was, so that the number of one server's refusal is given to
whatever fails next, be it a refused connection to another server. So each login hears DB-Library's own
messages, whose handlers are called in the thread that logs in, and afterwards pymssql has its own handlers
again. Tests over a socket show both faults, and their absence here.

FreeTDS checks a server's certificate only where its own configuration names a ``ca file``
(https://www.freetds.org/userguide/freetdsconf.html); neither the hook nor pymssql can ask for it.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
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
    # A thread that no signal interrupts: what it raised in a handler, as a task's timeout, would be lost.
    with ThreadPoolExecutor(1) as own:
        login = own.submit(_log_in, hook)
        try:
            return login.result()
        except (TypeError, ValueError, _mssql.MSSQLException) as error:
            words = SecretValues.of(credential).hide(str(error))
            raise MisconfiguredError(
                f"The extra of the Airflow connection {credential.conn_id!r} is nothing for pymssql: {words}"
            ) from None


def _log_in(hook: MsSqlHook) -> Any:
    heard = _EAR.heard = _Heard()
    try:
        with _HANDLERS.before_pymssql():
            return hook.get_conn()
    except pymssql.Error:
        raise _refusal(heard.messages) from None


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
    heard: _Heard | None = None
    """Where to put what DB-Library says in this thread, if it is here that somebody logs in."""


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


class _Handlers:
    """DB-Library's handlers of messages and of errors, of which a process has one each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logins = 0
        # Kept for ever, since C may be on its way to them.
        self._ours = (_MessageHandler(self._hear_server), _ErrorHandler(self._hear_library))
        self._pymssqls: list[Any] = []

    @contextmanager
    def before_pymssql(self) -> Iterator[None]:
        """Hear DB-Library before pymssql does, and pass everything on, as long as anybody logs in."""
        install = _installers()
        with self._lock:
            if not self._logins:
                before = [put(ours) for put, ours in zip(install, self._ours, strict=True)]
                self._pymssqls = [
                    type(ours)(address) for ours, address in zip(self._ours, before, strict=True)
                ]
            self._logins += 1
        try:
            yield
        finally:
            with self._lock:
                self._logins -= 1
                if not self._logins:
                    for put, pymssqls in zip(install, self._pymssqls, strict=True):
                        put(pymssqls)

    def _hear_server(
        self, process: Any, number: int, state: int, severity: int, words: bytes, *rest: Any
    ) -> int:
        if _EAR.heard is not None and severity > _INFORMATION:
            _EAR.heard.server.append(Message(number, words.decode("utf-8", "replace").strip()))
        return int(self._pymssqls[0](process, number, state, severity, words, *rest)) if self._pymssqls else 0

    def _hear_library(
        self, process: Any, severity: int, number: int, cause: int, words: bytes, why: bytes
    ) -> int:
        if _EAR.heard is not None and number not in _NO_NEWS:
            text = b": ".join((words, why) if why and cause > 0 else (words,))
            _EAR.heard.library.append(Message(number, text.decode("utf-8", "replace")))
        passed_on = self._pymssqls and self._pymssqls[1](process, severity, number, cause, words, why)
        return int(passed_on or _GIVE_UP)


_HANDLERS = _Handlers()


@cache
def _installers() -> tuple[Any, Any]:
    """Find what installs a handler and returns the address of the one before.

    :raises MisconfiguredError: pymssql was built in another way than its wheels are
    """
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
    return on_message, on_error
