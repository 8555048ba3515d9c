from __future__ import annotations

import json

import pytest

from mbi_reauth.probes.secret_values import HIDDEN, SecretValues
from tests.checking import a_credential

SECRET = 'fa/ke"s3cret'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f" {SECRET}\n",
        "fa%2Fke%22s3cret",
        "fa%2fke%22s3cret",
        "fa%252Fke%2522s3cret",
        json.dumps(SECRET),
        json.dumps(json.dumps(SECRET)),
        r"fa\/ke\"s3cret",
        r"fa\u002Fke\u0022s3cret",
        "ZmEva2UiczNjcmV0",
    ],
)
def test_every_spelling_of_a_secret_is_hidden(text: str) -> None:
    hidden = SecretValues([SECRET]).hide(f"before {text} after")
    assert HIDDEN in hidden
    assert "s3cret" not in hidden


def test_json_stays_json() -> None:
    assert json.loads(SecretValues([SECRET]).hide(json.dumps({"key": SECRET}))) == {"key": HIDDEN}


def test_a_secret_within_a_longer_one_leaves_nothing_of_it() -> None:
    assert SecretValues(["fake-secret", "fake-secret-longer"]).hide("fake-secret-longer") == HIDDEN


def test_what_is_too_short_to_hide_leaves_the_text_readable() -> None:
    assert SecretValues(["a", ""]).hide("an answer") == "an answer"


def test_a_connections_secrets_are_its_password_and_extras_named_like_one() -> None:
    credential = a_credential(
        extra={"client_secret": "fake-client-secret", "refresh_token": "fake-refresh", "account": "Example"}
    )
    hidden = SecretValues.of(credential).hide("fake-password fake-client-secret fake-refresh Example")
    assert hidden == f"{HIDDEN} {HIDDEN} {HIDDEN} Example"
