"""``classify``: one answer a line, whatever the lines are."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mbi_reauth.__main__ import main

KNOWN = {"id": "a", "integration_type": "mysql_direct", "evidence": {"endpoint": "probe", "error_code": 1045}}


class _Input:
    """Standard input as bytes, as a pipe gives them."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.fixture
def classify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*lines: Any, arguments: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]], str]:
        written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        monkeypatch.setattr(sys, "stdin", _Input(b"\n".join(written) + b"\n"))
        status = main(["classify", *arguments])
        said = capsys.readouterr()
        return status, [json.loads(line) for line in said.out.splitlines()], said.err

    return run


def test_a_line_is_answered_with_who_must_act_and_why(classify: Any) -> None:
    assert classify(KNOWN) == (
        0,
        [
            {
                "id": "a",
                "verdict": "needs_reauth",
                "cause": "credentials_rejected",
                "actor": "owner",
                "rule": "default_mysql.login_refused",
                "explanation": "The database does not accept the saved username and password.",
            }
        ],
        "",
    )


def test_order_is_kept_and_blank_lines_are_skipped(classify: Any) -> None:
    status, answers, _ = classify(KNOWN, b"", b"  ", {**KNOWN, "id": 2}, {**KNOWN, "id": None})
    assert (status, [answer["id"] for answer in answers]) == (0, ["a", 2, None])


@pytest.mark.parametrize(
    ("line", "line_id", "message"),
    [
        (b"{", None, "line 2: not valid JSON"),
        (b"[]", None, "line 2: must be a JSON object"),
        (b"\xff", None, "line 2: not UTF-8 text"),
        (b"[" * 100_000, None, "line 2: not valid JSON: nested too deeply"),
        (b'{"id": NaN}', None, "line 2: not valid JSON: NaN is not JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", None, "line 2: not valid JSON"),
        ({**KNOWN, "id": ["a"]}, None, "line 2: id: must be text or a number"),
        ({**KNOWN, "id": True}, None, "line 2: id: must be text or a number"),
        (b'{"id": 1e999}', None, "line 2: id: is too large for a number"),
        ({**KNOWN, "evidnce": {}}, "a", 'line 2: unknown key "evidnce"; did you mean "evidence"?'),
        (
            {**KNOWN, "integration_type": "z" * 5000},
            "a",
            "line 2: integration_type: There is no integration type",
        ),
        ({**KNOWN, "integration_type": "mysql_direct\x00"}, "a", 'did you mean "mysql_direct"?'),
        ({"id": "b", "evidence": {}}, "b", "line 2: integration_type: is missing"),
        ({**KNOWN, "integration_type": 5}, "a", "line 2: integration_type: must be text"),
        ({**KNOWN, "integration_type": "mysql_drct"}, "a", 'did you mean "mysql_direct"?'),
        ({**KNOWN, "evidence": []}, "a", "line 2: evidence: must be an object"),
        ({"id": "a", "integration_type": "zendesk"}, "a", "line 2: evidence: is missing"),
        ({**KNOWN, "evidence": {}}, "a", "line 2: evidence.endpoint: is missing"),
        ({**KNOWN, "evidence": {"endpoint": "prob"}}, "a", "evidence.endpoint: input should be"),
        ({**KNOWN, "evidence": {"endpoint": "probe", "statuscode": 1}}, "a", 'did you mean "status_code"?'),
        ({**KNOWN, "evidence": {"endpoint": "probe", "status_code": "401"}}, "a", "must be a whole number"),
        ({**KNOWN, "evidence": {"endpoint": "probe", "status_code": True}}, "a", "must be a whole number"),
        ({**KNOWN, "evidence": {"endpoint": "probe", "message": 5}}, "a", "evidence.message: must be text"),
        ({**KNOWN, "evidence": {"endpoint": "probe", "headers": {"a": 1}}}, "a", "evidence.headers.a: "),
        ({**KNOWN, "evidence": {"endpoint": "probe", "failure": "gone"}}, "a", "evidence.failure: "),
    ],
)
def test_a_bad_line_is_an_error_and_the_rest_is_answered(
    classify: Any, line: Any, line_id: Any, message: str
) -> None:
    status, answers, errors = classify(KNOWN, line, KNOWN)
    assert status == 1
    assert answers[1]["id"] == line_id
    assert message in answers[1]["error"]
    assert errors == answers[1]["error"] + "\n"
    assert answers[0] == answers[2]


@pytest.mark.parametrize(
    "evidence",
    [
        {"endpoint": "probe", "body": None, "headers": None, "message": None, "status_code": None},
        {"endpoint": "probe", "message": "\ud800", "headers": {"\ud800": "\udfff"}, "body": ["\ud800"]},
        {"endpoint": "probe", "body": "x" * 10_000_000},
        {"endpoint": "probe", "body": {"a": [[[1e308]]]}},
    ],
    ids=["nulls", "halves of characters", "ten megabytes", "numbers"],
)
def test_a_strange_line_is_answered(classify: Any, evidence: dict[str, Any]) -> None:
    status, answers, _ = classify({**KNOWN, "evidence": evidence})
    assert (status, answers[0]["verdict"]) == (0, "indeterminate")


def test_a_sites_own_types_are_known(classify: Any, tmp_path: Path) -> None:
    packaged = Path(__file__).parents[3] / "plugins/mbi_reauth/catalogue/zendesk.yaml"
    (tmp_path / "own_type.yaml").write_text(packaged.read_text("utf-8"), encoding="utf-8")
    line = {"id": 1, "integration_type": "own_type", "evidence": {"endpoint": "probe", "status_code": 401}}
    _, answers, _ = classify(line, arguments=("--catalogue-folder", str(tmp_path)))
    assert answers[0]["rule"] == "own_type.refused"


def test_answers_come_while_the_input_is_still_open() -> None:
    command = [sys.executable, "-m", "mbi_reauth", "classify"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(KNOWN) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == "a"
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_classify_starts_without_airflow_or_a_client() -> None:
    program = """
import sys, mbi_reauth.__main__, mbi_reauth.cli.classify, mbi_reauth.catalogue.loader
print({name.partition(".")[0] for name in sys.modules} & {"airflow", "httpx", "requests", "sqlalchemy"})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in ("classify", "check", "doctor"))
