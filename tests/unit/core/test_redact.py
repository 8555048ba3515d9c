"""Third parties' words carry no secret, whatever they echo."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.redact import redact

_LETTERS = string.ascii_letters + string.digits

# Made the way secrets are: random letters and digits, hexadecimal, a UUID, base64, with the signs of a token.
secrets = st.one_of(
    st.text(_LETTERS, min_size=20, max_size=60),
    st.binary(min_size=16, max_size=32).map(bytes.hex),
    st.uuids().map(str),
    st.binary(min_size=24, max_size=48).map(lambda raw: base64.b64encode(raw).decode()),
).filter(lambda secret: len(set(secret)) >= 10 and any(char.isdigit() for char in secret))
named = st.text(_LETTERS + "!$*+.-_~", min_size=7, max_size=40).map(lambda text: f"x1{text}")


@pytest.mark.parametrize(
    "around",
    [
        "https://api.example.com/v2/x?apikey={}&b=1",
        "Max retries exceeded with url: /v2/client/1/authenticate?apikey={} (Caused by timeout)",
        "postgresql://mbi:{}@db.example.com/shop",
        "password={} is wrong",
        "password: {}",
        '{{"access_token": "{}", "x": 1}}',
        '{{\\"client_secret\\": \\"{}\\"}}',
        "'X-Api-Key': '{}'",
        "Authorization: Bearer {}",
        "authorization=Basic {}",
        "code={}&state=x",
        "signature={};",
        "refresh_token%3D{}",
    ],
)
@given(secret=named)
def test_what_is_named_like_a_secret_is_hidden(around: str, secret: str) -> None:
    assert secret not in redact(around.format(secret), limit=10_000)


@given(secret=secrets, before=st.sampled_from(["", "Invalid token ", "bad key (", "for "]), after=st.text())
def test_what_looks_like_a_secret_is_hidden_anywhere(secret: str, before: str, after: str) -> None:
    assert secret not in redact(f"{before}{secret} {after}", limit=10_000)


@given(st.text(), st.integers(min_value=1, max_value=400))
def test_the_result_is_one_short_line_without_control_characters(text: str, limit: int) -> None:
    shown = redact(text, limit=limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert "  " not in shown


@pytest.mark.parametrize(
    "words",
    [
        "Couldn't authenticate you",
        "Error validating access token: Session has expired on Friday, 20-Nov-26 12:00:00 PST.",
        "Access denied for user 'mbi'@'192.0.2.7' (using password: YES)",
        "message=ThrottleExceeded; errorCode=003001; statusCode=429",
        'FATAL: password authentication failed for user "mbi"',
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "invalid_grant: Token has been expired or revoked.",
        "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure",
        "Basic authentication failed",
        "error code: 18456",
    ],
)
def test_plain_words_stay_as_they_are(words: str) -> None:
    assert redact(words) == words


def test_a_secret_that_the_limit_would_cut_is_hidden_before_it_is_cut() -> None:
    assert "abc123" not in redact("x " * 140 + "token=abc123def456ghi789jkl012")


def test_an_invisible_character_does_not_split_a_secret() -> None:
    assert redact("pass\u200bword=hunter\u200b2x") == "password=***"


def test_a_long_text_is_read_only_so_far() -> None:
    assert len(redact("a" * 10_000_000)) <= 300
