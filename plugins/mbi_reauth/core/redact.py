"""Third parties' words, made fit for people: short, on one line, and without anything secret.

Error answers echo what was sent: the key in an address, the token in a header, the password in a connection
string. Nothing here knows the secrets; it goes by their names and their looks, and prefers hiding too much.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

HIDDEN = "***"
MAX_LENGTH = 300
_MAX_READ = 4000
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s\"'<>]*@", re.IGNORECASE)
_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_QUERY = re.compile(r"\?[\w.\-%\[\]~]{1,80}=[^\s\"'<>]*")

_SECRET_NAME = (
    r"[\w.\-]{0,60}?(?:token|secret|passw(?:or)?d|passphrase|pwd|credentials?|authorization|signature|assertion"
    r"|session|cookie|jwt|verifier|key|otp|nonce|hmac|auth)s?"
    r"|(?:auth(?:orization)?_)?code|sig|sid|pin|pw"
)
_VALUE = (
    r"\\*\"(?:\\.|[^\"\\])*(?:\"|$)|\\*'(?:\\.|[^'\\])*(?:'|$)|\[[^\]]*\]?|\{[^}]*\}?"
    r"|(?:(?:bearer|basic|digest|token|negotiate)\s+)?[^\s,;&\"'<>(){}\[\]]+"
)
_PAIR = re.compile(
    rf"(?P<name>(?<![\w.\-])(?:{_SECRET_NAME})\\*[\"']?\s{{0,3}}(?P<sign>[:=]|%3d|%3a|=>)\s{{0,3}})"
    rf"(?P<value>{_VALUE})",
    re.IGNORECASE,
)
# What looks like a pair and is none, as Facebook says that a session has expired after "access token:",
# and MySQL whether it was given a password.
_PROSE = re.compile(r"(?!Bearer|Basic|Digest|Negotiate)[A-Z][a-z]+(?=\s+[a-z(])")
_STATE = re.compile(r"(?:yes|no|null|none|true|false|required|missing|invalid|expired)[.!]?", re.IGNORECASE)
_ERROR_CODE = re.compile(r"\"?(?:\d{1,6}|[a-z_]{1,40})\"?", re.IGNORECASE)

_SCHEME = re.compile(
    r"\b((?i:bearer|basic|digest|negotiate)\s+)(?=\S*[\d=A-Z]|\S{16})(?!realm|error)[\w.~+/=\-]{6,}"
)
_JWT = re.compile(r"\beyJ[\w\-]{6,}(?:\.[\w\-]*){0,4}")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_RUN = re.compile(r"[A-Za-z0-9_\-+/~.]{16,}={0,2}")
_PART = re.compile(r"[A-Za-z0-9]+")


def redact(text: str, *, limit: int = MAX_LENGTH) -> str:
    """Return ``text`` on one line, at most ``limit`` characters long, with secrets as ``***``."""
    shown = _one_line(text)
    shown = _USERINFO.sub(r"\1", shown)
    shown = _ADDRESS.sub(r"\1", shown)
    shown = _QUERY.sub("", shown)
    shown = _PAIR.sub(_hide_value, shown)
    shown = _SCHEME.sub(rf"\1{HIDDEN}", shown)
    shown = _UUID.sub(HIDDEN, _JWT.sub(HIDDEN, shown))
    shown = _RUN.sub(lambda run: _hide_run(run.group()), shown)
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def _one_line(text: str) -> str:
    visible = "".join(
        " " if char.isspace() else char
        for char in text[:_MAX_READ]
        if char.isspace() or unicodedata.category(char) not in _INVISIBLE
    )
    words = visible.split()
    if len(text) > _MAX_READ:
        words = words[:-1]  # it may be the beginning of a secret that would not look like one
    return " ".join(words)


def _hide_value(pair: re.Match[str]) -> str:
    name, value = pair.group("name"), pair.group("value")
    if _STATE.fullmatch(value) or _is_error_code(pair):
        return pair.group()
    spoken = pair.group("sign") == ":" and name.endswith(" ")
    if spoken and _PROSE.match(pair.string, pair.start("value")):
        return pair.group()
    return name + HIDDEN


def _is_error_code(pair: re.Match[str]) -> bool:
    """Tell an error's code from an authorization code, which is longer and has digits among its letters."""
    if "code" not in pair.group("name").lower():
        return False
    return bool(_ERROR_CODE.fullmatch(pair.group("value"))) and pair.group("sign") == ":"


def _hide_run(run: str) -> str:
    """Hide what no person wrote: letters among digits, or letters in no order of words."""
    noisy = any(_is_noise(part) for part in _PART.findall(run))
    return HIDDEN if noisy or ("." not in run and _is_mixed(run)) else run


def _is_noise(part: str) -> bool:
    digits = sum(char.isdigit() for char in part)
    if len(part) >= 12 and 0 < digits < len(part):
        return True
    return len(part) >= 32 or _changes(part) > max(4, len(part) / 3)


def _is_mixed(run: str) -> bool:
    """Tell whether short parts add up to a secret, as in base64 with its signs."""
    changes = _changes(run)
    digits = sum(char.isdigit() for char in run)
    three_kinds = digits > 0 and run.upper() != run != run.lower()
    return (changes >= 4 and (digits >= 5 or three_kinds)) or changes > len(run) / 3


def _changes(run: str) -> int:
    kinds = ["0" if char.isdigit() else "A" if char.isupper() else "a" for char in run if char.isalnum()]
    return sum(one != two for one, two in pairwise(kinds))
