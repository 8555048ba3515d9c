"""Evidence made ready for matching: one body, one spelling of names, whatever form they arrived in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, cached_property
from typing import Any, NoReturn

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure

MAX_BODY = 1024 * 1024
"""Characters of a body that are read; what a probe promises is shorter, and a cut body cannot be parsed."""

MAX_TEXT = 8 * 1024
"""Characters that a regular expression is searched in."""

MAX_DEPTH = 100
_MAX_VALUES = 1000
_BLANK = " \t\r\n"  # all that JSON takes for blank (RFC 8259 section 2)
_HTML_TYPE = re.compile(r"\b(?:text/html|application/xhtml\+xml)\b", re.IGNORECASE)
_HTML_START = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_CLASS_NAME = re.compile(r"(?:\w+\.)*([A-Za-z_]\w*)")
_NUMBER = re.compile(r"-?\d+")

# What clients write for any failure to connect or any general error, and PgBouncer (08P01) for all that it
# refuses: the words say which.
_VAGUE_SQLSTATES = frozenset({"08000", "08001", "08006", "08P01", "HY000"})

# Headers by which something on the way says that it answered in the third party's place: Cloudflare, AWS's
# firewall and load balancers, Squid, F5, Zscaler; and logins that only companies' proxies use.
_MIDDLEBOX = {
    "cf-mitigated": re.compile("."),
    "x-amzn-waf-action": re.compile("."),
    "x-squid-error": re.compile("."),
    "proxy-authenticate": re.compile("."),
    "www-authenticate": re.compile(r"(?:^|,)\s*(?:ntlm|negotiate)\b", re.IGNORECASE),
    "server": re.compile(r"^\W*(?:awselb|big-?ip|squid|zscaler)", re.IGNORECASE),
}


class BodyKind(str, Enum):
    """What a body turned out to be; only ``json`` (an object or an array) can be read."""

    EMPTY = "empty"
    JSON = "json"
    HTML = "html"
    TEXT = "text"


@dataclass(frozen=True)
class Answer:
    """One answer as rules see it.

    Names of headers are in small letters. ``error_code`` is a number's digits, or the name of an exception
    class without its module, in small letters. ``sqlstate`` has its five characters, or is None.
    """

    endpoint: Endpoint
    status: int | None
    headers: Mapping[str, str]
    kind: BodyKind
    body: Any
    text: str
    failure: TransportFailure | None
    driver: Driver | None
    error_code: str | None
    sqlstate: str | None
    message: str | None
    _values: dict[str, list[Any]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, evidence: Evidence, *, driver: Driver | None = None) -> Answer:
        """Read the evidence; ``driver`` is whose numbers they are where the evidence does not say."""
        headers = {name.strip().lower(): value for name, value in evidence.headers.items()}
        kind, body, text = _read(evidence.body, headers.get("content-type", ""))
        driver = evidence.driver or driver
        code, sqlstate = _codes(evidence, driver)
        return cls(
            endpoint=evidence.endpoint,
            status=_status(evidence.status_code),
            headers=headers,
            kind=kind,
            body=body,
            text=text,
            failure=evidence.failure,
            driver=driver,
            error_code=code,
            sqlstate=sqlstate,
            message=evidence.message[:MAX_TEXT] if evidence.message else None,
        )

    @property
    def readable(self) -> bool:
        """Whether the body is what an API sends, or nothing at all."""
        return self.kind in (BodyKind.JSON, BodyKind.EMPTY)

    @cached_property
    def numbered(self) -> bool:
        """Whether a driver's number or SQLSTATE says what happened, which its message then cannot gainsay."""
        return self._error_number is not None or (
            self.sqlstate is not None and self.sqlstate not in _VAGUE_SQLSTATES
        )

    @property
    def _error_number(self) -> str | None:
        """The error number, of a driver that has some; the 7 that PDO gives for PostgreSQL says nothing."""
        code = self.error_code or ""
        return code if self.driver in _CODE_IN_MESSAGE and _NUMBER.fullmatch(code) else None

    @property
    def contradicts_itself(self) -> bool:
        """Whether it is what no single answer can be.

        A driver's error has no HTTP status and no body, and a server that gives an error's number is
        connected, which SQLSTATE class 08 denies; but that no connection came about, or that the server
        rejected it, clients write of a refused login too.
        """
        if self.driver is None:
            return False
        refused = self.error_code or self.sqlstate or self.message
        state = self.sqlstate or ""
        broken = state.startswith("08") and state not in ("08001", "08004")
        unconnected = broken and self._error_number is not None
        return self.status is not None or unconnected or bool(refused and self.kind is not BodyKind.EMPTY)

    @cached_property
    def from_middlebox(self) -> bool:
        """Whether a proxy or a firewall says in a header that it gave this answer."""
        return any(
            pattern.search(self.headers[name]) for name, pattern in _MIDDLEBOX.items() if name in self.headers
        )

    @cached_property
    def words(self) -> str:
        """The body as text to search in; JSON always in the same spelling."""
        if self.kind is BodyKind.JSON:
            return json.dumps(self.body, ensure_ascii=False)[:MAX_TEXT]
        return self.text[:MAX_TEXT]

    def values(self, path: str) -> list[Any]:
        """Find what a dotted path leads to (``error.code``, ``errors.*.reason``, ``0.name``; ``$``: all).

        Names are case-sensitive, as in RFC 6749; ``Fault|fault`` takes either spelling. ``*`` steps into each
        item of a list, or stays at what is no list: some third parties leave the list out around a single
        item. An answer that is a list of one object is read as that object.
        """
        if self.kind is not BodyKind.JSON:
            return []
        if path not in self._values:
            self._values[path] = self._find(_steps(path))
        return self._values[path]

    def _find(self, steps: tuple[str, ...]) -> list[Any]:
        found = [self.body]
        if isinstance(self.body, list) and len(self.body) == 1 and not _steps_into_list(steps):
            found = self.body
        for step in steps:
            if not found:
                break
            found = [inner for value in found for inner in _inside(value, step)][:_MAX_VALUES]
        return found

    def texts(self, path: str) -> list[str]:
        """Find the texts, numbers and truth values at a path, as text."""
        return [text for value in self.values(path) if (text := text_of(value)) is not None]


def text_of(value: Any) -> str | None:
    """Spell a JSON scalar as JSON does, without quotes; None for what has no text."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else None


@cache
def _steps(path: str) -> tuple[str, ...]:
    return () if path == "$" else tuple(path.split("."))


def _steps_into_list(steps: tuple[str, ...]) -> bool:
    return not steps or steps[0] == "*" or steps[0].isdigit()


def _inside(value: Any, step: str) -> list[Any]:
    if step == "*":
        return value if isinstance(value, list) else [value]
    if isinstance(value, dict):
        if "|" in step:
            return [value[name] for name in step.split("|") if name in value]
        return [value[step]] if step in value else []
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return [value[int(step)]]
    return []


def _read(body: Any, content_type: str) -> tuple[BodyKind, Any, str]:
    text = _as_text(body)
    if text is None:
        return BodyKind.TEXT, None, ""
    text = text.strip(_BLANK)
    empty = not text
    text = text.lstrip("\ufeff" + _BLANK)
    if _HTML_TYPE.search(content_type) or _HTML_START.match(text):
        return BodyKind.HTML, None, text[:MAX_TEXT]
    if empty:
        return BodyKind.EMPTY, None, ""
    parsed = _parsed(text)
    if isinstance(parsed, (dict, list)):
        return BodyKind.JSON, parsed, ""
    return BodyKind.TEXT, None, text[:MAX_TEXT]


def _as_text(body: Any) -> str | None:
    """Write a parsed value as its JSON text, so that both are judged alike; None if it has none."""
    if body is None:
        return ""
    if isinstance(body, str):
        return body
    if isinstance(body, (bytes, bytearray)):
        return bytes(body).decode("utf-8", errors="replace")
    try:
        return json.dumps(body)
    except (TypeError, ValueError, RecursionError):
        return None


def _parsed(text: str) -> Any:
    if len(text) > MAX_BODY:
        return None
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    crowded = text.count("[") + text.count("{") > MAX_DEPTH
    return None if crowded and _is_deeper(value, MAX_DEPTH) else value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError("too large for a number")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)


def _status(code: int | None) -> int | None:
    """Take only what can be one (RFC 9110 section 15); a client's 0 or -1 means that there was none."""
    return code if code is not None and 100 <= code <= 999 else None


def _codes(evidence: Evidence, driver: Driver | None) -> tuple[str | None, str | None]:
    code = evidence.error_code
    text = _code(code) if isinstance(code, str) else _digits(code)
    sqlstate = _sqlstate(evidence.sqlstate)
    if driver is Driver.POSTGRESQL and sqlstate is None and not (text or "").isalpha():
        sqlstate = _sqlstate(text)  # letters alone are an exception's name, as psycopg's Error
    wrapped = driver is Driver.MSSQL and text in _WRAPPERS
    if (text is None or wrapped) and evidence.message and driver in _CODE_IN_MESSAGE:
        found = _CODE_IN_MESSAGE[driver].search(evidence.message[:MAX_TEXT])
        text = found.group(1) if found else text
    return text or None, sqlstate


def _code(code: str) -> str:
    named = _CLASS_NAME.fullmatch(code.strip())
    return (named.group(1) if named else code.strip()).casefold()


def _sqlstate(text: str | None) -> str | None:
    """Take only five characters (ISO/IEC 9075): a longer or shorter text is none, and has no class."""
    state = (text or "").strip().upper()
    return state if _SQLSTATE.fullmatch(state) else None


def _digits(code: int | None) -> str | None:
    # Python refuses to write numbers of thousands of digits; no driver has an error number of ten.
    return None if code is None or abs(code) >= 10**10 else str(code)


_WRAPPERS = frozenset({"20002", "20018"})
"""DB-Library's own numbers around a number of SQL Server, which stands in the message."""

# How a number stands in a message when nobody took it out: PyMySQL's and mysqlclient's tuple,
# mysql's own "ERROR 1045 (28000)", ODBC's "(18456)" before "(SQLDriverConnect)", sqlcmd's "Msg 18456".
_CODE_IN_MESSAGE = {
    Driver.MYSQL: re.compile(r"(?:^\(?|[:)]\s*\(|\bERROR\s+)([1-9]\d{3})(?=\s*[,(:])"),
    Driver.MSSQL: re.compile(r"(?:\(|\bMsg\s+|\bError:?\s+|^)([1-9]\d{1,4})(?=[,)])"),
    Driver.MONGODB: re.compile(r"'?\"?\bcode'?\"?\s*:\s*(\d{1,5})\b"),
}
