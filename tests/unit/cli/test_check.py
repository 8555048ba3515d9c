from __future__ import annotations

import json
from pathlib import Path

import pytest

from mbi_reauth.__main__ import main
from mbi_reauth.api.datamodels import FindingReceipt
from mbi_reauth.check import Checked
from mbi_reauth.cli.check import lines_of
from mbi_reauth.core.verdict import Cause, Certainty, Finding
from tests.checking import NOON, an_integration
from tests.loopback import reply, serving

REGISTRY = """
integrations:
  shop:
    type: zendesk
    name: Dana's shop
    owner: {name: Dana Example, email: dana@example.com}
"""


def text_of(
    finding: Finding, *, reported: bool = True, steps: tuple[str, ...] = ("Sign in.", "Save.")
) -> str:
    receipt = FindingReceipt(accepted=True) if reported else None
    return "\n".join(lines_of(an_integration(), Checked(finding, 1, receipt), list(steps)))


def a_finding(cause: Cause, **fields: object) -> Finding:
    return Finding.model_validate(
        {"cause": cause, "rule": "made_up.r", "explanation": "It was refused.", **fields}
    )


def test_a_lost_authorization_is_told_in_full() -> None:
    finding = a_finding(
        Cause.GRANT_REVOKED, vendor_words="token revoked", checked_at=NOON, proved_at=NOON, account="123"
    )
    assert text_of(finding).splitlines() == [
        "shop (shop) is needs_reauth",
        "  Cause         grant_revoked: The access was withdrawn.",
        "  Why           It was refused. [made_up.r]",
        '  It said       "token revoked"',
        "  Account       123",
        "  Checked       2026-11-24 12:00:00 UTC",
        "  Last proved   2026-11-24 12:00:00 UTC",
        "  Who must act  the owner, Dana Example <dana@example.com>",
        "What to do",
        "  1. Sign in.",
        "  2. Save.",
    ]


@pytest.mark.parametrize(
    ("cause", "who", "what"),
    [
        (Cause.AUTHORIZED, "nobody", None),
        (Cause.PROBE_MISCONFIGURED, "a data engineer", "doctor"),
        (Cause.RATE_LIMITED, "nobody", "Wait"),
        (Cause.UNKNOWN, "nobody yet", "--verbose"),
    ],
)
def test_it_says_who_must_act_and_how(cause: Cause, who: str, what: str | None) -> None:
    text = text_of(a_finding(cause))
    assert f"Who must act  {who}" in text
    assert (what in text) if what else ("What to do" not in text)


def test_an_ambiguous_refusal_is_not_told_as_certain() -> None:
    assert "second check" in text_of(a_finding(Cause.CREDENTIALS_REJECTED, certainty=Certainty.AMBIGUOUS))


def test_an_app_that_could_not_be_told_is_mentioned() -> None:
    assert "could not be told" in text_of(a_finding(Cause.AUTHORIZED), reported=False)


def test_an_overdue_update_of_mbi_is_told_with_its_facts_and_the_ticket() -> None:
    finding = a_finding(Cause.MBI_STALE, rule="mbi_signal.updates", facts={"Update job": "13554"})
    lines = text_of(finding).splitlines()
    assert "  Update job    13554" in lines
    assert "  Who must act  a data engineer" in lines
    assert "Subject: Commerce Intelligence: data are not updated any more (shop)" in lines
    assert "MBI says: Update job: 13554" in lines


def test_a_refused_key_to_mbi_is_told_with_the_steps_to_renew_it() -> None:
    assert "  1. Sign in." in text_of(a_finding(Cause.MBI_KEY_REJECTED))


@pytest.mark.parametrize(
    ("answer", "exit_status", "words"),
    [
        (reply(body=b'{"users": [], "count": 0}'), 0, "is authorized"),
        (reply("401 No", b'{"error": "Couldn\'t authenticate you"}'), 1, "needs_reauth"),
        (reply("503 Down"), 3, "unavailable"),
    ],
)
def test_the_exit_status_says_who_must_act(
    answer: object,
    exit_status: int,
    words: str,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(answer) as server:  # type: ignore[arg-type]
        connection = {
            "conn_type": "mbireauth",
            "host": server.url,
            "login": "dana",
            "password": "fake-token",
        }
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
        assert main(["check", "shop", "--registry", registry]) == exit_status
    written = capsys.readouterr().out
    assert words in written
    assert "fake-token" not in written


def test_a_missing_connection_is_for_the_engineer(
    registry: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"conn_type": "generic", "host": "http://127.0.0.1:1", "password": "fake-key"}
    monkeypatch.setenv("AIRFLOW_CONN_MBI_REAUTH_API", json.dumps(key))
    # The app does not answer either, so it may be Airflow's API server that could not be asked.
    assert main(["check", "shop", "--registry", registry]) == 3
    assert "'shop' could not be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wanted", "words"), [("shopp", 'did you mean "shop"?'), ("shop", "integrations.yaml")]
)
def test_what_is_not_in_the_registry_is_said_on_standard_error(
    wanted: str, words: str, registry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if wanted == "shop":
        Path(registry).write_text("integrations: [")
    assert main(["check", wanted, "--registry", registry]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
