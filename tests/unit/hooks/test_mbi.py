"""MBI's APIs through the hook, against a server on the loopback; and that its keys show nowhere."""

from __future__ import annotations

import json
import logging
import socket
import traceback
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from airflow.sdk.exceptions import AirflowException

from mbi_reauth.api.datamodels import CheckResponse
from mbi_reauth.core.verdict import Cause
from mbi_reauth.hooks.api import ApiUnavailableError
from mbi_reauth.hooks.mbi import ExportNotReadyError, MbiError, MbiHook, TooSoonError
from mbi_reauth.hooks.session import Limits
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from tests.checking import FakeApi, a_credential, an_integration
from tests.loopback import reply, serving
from tests.mbi import CLIENT_ID, EXPORT_KEY, FAILED, IMPORT_KEY, Answer, Mbi, a_job, a_zip, mbi_server

QUICK = Limits(connect=1, read=0.5, retries=0)
SPELLINGS = [
    spelling
    for key in (IMPORT_KEY, EXPORT_KEY)
    for spelling in (key, quote(key, safe=""), quote_plus(key), key.partition("/")[0])
]
AUTHENTICATE = f"/v2/client/{CLIENT_ID}/authenticate"
STATUS = f"/0.1/client/{CLIENT_ID}/fullupdatestatus"


@pytest.fixture
def mbi() -> Iterator[Mbi]:
    with mbi_server() as running:
        yield running


@pytest.fixture(autouse=True)
def shown(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Log everything at its most talkative, and see afterwards that no key is in it."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "httpx", "httpcore", "requests", "airflow", "mbi_reauth"):
        caplog.set_level(logging.DEBUG, logger=name)
    written: list[str] = []

    def text() -> str:
        written.extend(capfd.readouterr())  # what Airflow's own loggers write
        written.extend(f"{each.getMessage()} {each.args!r}" for each in caplog.get_records("call"))
        return "\n".join(written)

    yield text
    assert not [spelling for spelling in SPELLINGS if spelling in text()]


class Hook(MbiHook):
    """The hook over a given credential, with a clock that a test moves."""

    def __init__(self, credential: Credential, **options: Any) -> None:
        self.seconds = 0.0
        options.setdefault("limits", QUICK)
        super().__init__(integration_conn_id=credential.conn_id, clock=lambda: self.seconds, **options)
        self.credential = credential


def importing(url: str, key: str = IMPORT_KEY, **options: Any) -> Hook:
    extra = {"integration_type": "mbi_import_api"}
    return Hook(a_credential(host=url, login=CLIENT_ID, password=key, extra=extra), **options)


def exporting(url: str, key: str = EXPORT_KEY, **options: Any) -> Hook:
    extra = {"integration_type": "mbi_export_api", "time_zone": "America/New_York"}
    return Hook(a_credential(host=url, login=CLIENT_ID, password=key, extra=extra), **options)


def leaks(error: BaseException) -> list[str]:
    """Find a key in what an exception shows, with everything that hangs on it."""
    texts, pending = [], [error]
    while pending:
        each = pending.pop()
        texts += [repr(each), str(each), repr(each.args), repr(vars(each))]
        texts += traceback.format_exception(each)
        pending += [hung for hung in (each.__cause__, each.__context__) if hung is not None]
    return [spelling for spelling in SPELLINGS if any(spelling in text for text in texts)]


# the Data Import API


def test_the_import_api_is_up_or_not_without_the_key(mbi: Mbi) -> None:
    assert importing(mbi.url).is_up()
    mbi.instead["/"] = lambda _: Answer(503)
    assert not importing(mbi.url).is_up()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not importing(f"http://127.0.0.1:{port}").is_up()


def test_an_accepted_import_key_is_no_error_and_shows_nowhere(mbi: Mbi, shown: Callable[[], str]) -> None:
    hook = importing(mbi.url)
    hook.authenticate()
    assert mbi.calls[AUTHENTICATE] == 1
    assert "apikey=***" in shown()  # the clients did log the address
    assert not [spelling for spelling in SPELLINGS if spelling in repr(vars(hook))]


def echo(status: int, **headers: str) -> Callable[[str], Answer]:
    """Answer with the whole address, key and all, as error pages do."""
    return lambda query: Answer(
        status,
        {"code": status, "message": f"Bad request: {AUTHENTICATE}?{query}", "apikey": IMPORT_KEY},
        headers,
    )


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (echo(401), Cause.MBI_KEY_REJECTED),
        (echo(400), Cause.PROBE_MISCONFIGURED),
        (echo(500), Cause.MBI_OUTAGE),
        (echo(403), Cause.MBI_KEY_REJECTED),
        (lambda query: Answer(200, f"<html>{query} {IMPORT_KEY}</html>"), Cause.UNKNOWN),
        (lambda query: Answer(200, f'{{"url": "?{query}'), Cause.UNKNOWN),
        (lambda query: Answer(302, headers={"Location": f"http://127.0.0.1:9/?{query}"}), Cause.UNKNOWN),
        (lambda query: Answer(302, headers={"Location": f"{AUTHENTICATE}?{query}"}), Cause.MBI_OUTAGE),
        (lambda query: Answer(302, headers={"Location": f"http://[?{query}"}), Cause.UNKNOWN),
        (
            lambda query: Answer(401, "", {"WWW-Authenticate": f"Key {IMPORT_KEY}", "X-Url": query}),
            Cause.MBI_KEY_REJECTED,
        ),
    ],
    ids=["401", "400", "500", "403", "page", "broken JSON", "elsewhere", "for ever", "nowhere", "headers"],
)
def test_no_refusal_of_the_import_api_shows_its_key(
    mbi: Mbi, answer: Callable[[str], Answer], cause: Cause
) -> None:
    mbi.instead[AUTHENTICATE] = answer
    with pytest.raises(MbiError) as raised:
        importing(mbi.url).authenticate()
    assert raised.value.finding.cause is cause
    assert leaks(raised.value) == []
    assert not [spelling for spelling in SPELLINGS if spelling in raised.value.finding.model_dump_json()]


def test_a_wrong_import_key_is_refused_and_shows_nowhere(mbi: Mbi) -> None:
    with pytest.raises(MbiError) as raised:
        importing(mbi.url, key=EXPORT_KEY).authenticate()
    assert raised.value.finding.cause is Cause.MBI_KEY_REJECTED
    assert leaks(raised.value) == []


def hang(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def cut(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


@pytest.mark.parametrize("script", [hang, cut, lambda connection, _: connection.close()])
def test_silence_of_the_import_api_is_an_outage_and_shows_no_key(script: Any) -> None:
    with serving(script) as server, pytest.raises(MbiError) as raised:
        importing(server.url, limits=Limits(connect=0.3, read=0.3, retries=0)).authenticate()
    assert raised.value.finding.cause is Cause.MBI_OUTAGE
    assert leaks(raised.value) == []


def test_airflows_button_shows_no_key_either(mbi: Mbi) -> None:
    assert importing(mbi.url).test_connection() == (True, "Authorized.")
    mbi.instead[AUTHENTICATE] = echo(401)
    good, message = importing(mbi.url).test_connection()
    assert not good
    assert not [spelling for spelling in SPELLINGS if spelling in message]


@pytest.mark.parametrize(
    "answer",
    [
        echo(400),
        lambda query: Answer(302, headers={"Location": f"/v2/moved?{query}"}),
        lambda query: Answer(302, headers={"Location": f"http://localhost:9/?x=1&{query}"}),
    ],
    ids=["echoed", "moved", "elsewhere"],
)
def test_pushing_rows_as_with_any_http_hook_shows_no_key(mbi: Mbi, answer: Callable[[str], Answer]) -> None:
    mbi.instead["/v2/client/194/table/orders/data"] = answer
    mbi.instead["/v2/moved"] = echo(404)
    hook = importing(mbi.url)
    hook.method = "POST"
    with pytest.raises((AirflowException, OSError)) as raised:
        hook.run("/v2/client/194/table/orders/data", data='[{"keys": ["id"], "id": 1}]')
    assert leaks(raised.value) == []


# the Update Cycle Status API


def test_the_last_completed_update_is_told_in_utc(mbi: Mbi) -> None:
    mbi.job = a_job("2025-12-09 03:29:03", start="2025-12-09 03:26:25")
    cycle = exporting(mbi.url).update_cycle()
    job = cycle.last_completed
    assert job is not None
    assert job.started_at == datetime(2025, 12, 9, 8, 26, 25, tzinfo=timezone.utc)
    assert job.ended_at == datetime(2025, 12, 9, 8, 29, 3, tzinfo=timezone.utc)
    assert (job.id, job.kind, job.status_id, job.status) == (
        13554,
        "Full Update",
        4,
        "Completed Successfully",
    )
    assert job.is_successful
    assert (cycle.client_id, cycle.time_zone, cycle.abbreviation) == (194, "America/New_York", "EST")


def test_a_failed_update_is_a_result_and_no_error(mbi: Mbi) -> None:
    mbi.job = a_job("2025-12-09 03:29:03", status=FAILED)
    job = exporting(mbi.url).update_cycle().last_completed
    assert job is not None
    assert (job.is_successful, job.status) == (False, "Failed")


def test_an_account_that_was_never_updated_has_no_last_update(mbi: Mbi) -> None:
    assert exporting(mbi.url).update_cycle().last_completed is None


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer(403, {"message": f"Key {EXPORT_KEY} is not known"}), Cause.MBI_KEY_REJECTED),
        (Answer(429), Cause.RATE_LIMITED),
        (Answer(503, "<html></html>"), Cause.MBI_OUTAGE),
        (Answer(200, {"clientId": 194}), Cause.UNKNOWN),
        (Answer(200, f"<html>{EXPORT_KEY}</html>"), Cause.UNKNOWN),
    ],
)
def test_what_is_no_update_cycle_is_an_error_that_says_what_it_means(
    mbi: Mbi, answer: Answer, cause: Cause
) -> None:
    mbi.instead[STATUS] = lambda _: answer
    with pytest.raises(MbiError) as raised:
        exporting(mbi.url).update_cycle()
    assert raised.value.finding.cause is cause
    assert leaks(raised.value) == []


@pytest.mark.parametrize("extra", [{}, {"time_zone": "EST"}])
def test_without_a_time_zone_nothing_is_asked(mbi: Mbi, extra: dict[str, str]) -> None:
    credential = a_credential(
        host=mbi.url,
        login=CLIENT_ID,
        password=EXPORT_KEY,
        extra={"integration_type": "mbi_export_api", **extra},
    )
    with pytest.raises(MisconfiguredError, match="time"):
        Hook(credential).update_cycle()
    assert mbi.asked == []


def test_one_process_asks_about_an_account_once_a_minute(mbi: Mbi) -> None:
    mbi.job = a_job("2025-12-09 03:29:03")
    first, second = exporting(mbi.url), exporting(mbi.url)
    first.update_cycle()
    second.seconds = 59
    with pytest.raises(TooSoonError) as raised:
        second.update_cycle()
    assert 0 < raised.value.retry_after <= 60
    second.seconds = 3600
    second.update_cycle()
    assert mbi.calls[STATUS] == 2


def registered(mbi: Mbi, *answers: CheckResponse | Exception) -> tuple[Hook, FakeApi]:
    api = FakeApi(*answers)
    integration = an_integration(id="updates", type="mbi_update_cycle", conn_id="shop_conn")
    credential = a_credential(
        host=mbi.url, login=CLIENT_ID, password=EXPORT_KEY, extra={"time_zone": "America/New_York"}
    )
    return Hook(credential, integration=integration, api=api), api


def test_with_the_app_one_process_of_all_has_the_turn_and_tells_what_came(mbi: Mbi) -> None:
    mbi.job = a_job("2020-01-01 00:00:00")
    hook, api = registered(mbi, CheckResponse(credential_version=3, turn="turn"))
    assert hook.update_cycle().last_completed is not None
    report = api.reports[0]
    assert (report.turn, report.credential_version, report.finding.cause) == ("turn", 3, Cause.MBI_STALE)
    assert report.finding.proved_at == report.finding.checked_at


def test_without_the_turn_mbi_is_not_asked(mbi: Mbi) -> None:
    hook, _ = registered(mbi, CheckResponse(credential_version=3, turn_in=42))
    with pytest.raises(TooSoonError) as raised:
        hook.update_cycle()
    assert raised.value.retry_after == 42
    assert mbi.asked == []


def test_where_the_app_is_away_the_process_counts_by_itself(mbi: Mbi) -> None:
    down = ApiUnavailableError("The plugin's app cannot be reached: timeout")
    hook, api = registered(mbi, down)
    hook.update_cycle()
    with pytest.raises(TooSoonError):
        registered(mbi, down)[0].update_cycle()
    assert mbi.calls[STATUS] == 1
    assert api.reports == []


# the Export API


def test_exports_are_listed_as_mbi_describes_them(mbi: Mbi) -> None:
    mbi.exports = [{"id": 51, "name": "Orders", "status": "Completed", "rows": 3}, {"id": "52"}, {}]
    listed = exporting(mbi.url).exports()
    assert [(each.id, each.name, each.status) for each in listed] == [
        (51, "Orders", "Completed"),
        (52, None, None),
    ]
    assert listed[0].fields["rows"] == 3


def test_an_export_is_described_and_downloaded_whole(mbi: Mbi, tmp_path: Path) -> None:
    hook = exporting(mbi.url)
    assert hook.export_info(51).status == "Completed"
    path = hook.download_export(51, tmp_path / "orders.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("orders.csv") == b"id\n1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_that_is_not_ready_is_told_from_one_that_has_expired(mbi: Mbi, tmp_path: Path) -> None:
    hook = exporting(mbi.url)
    with pytest.raises(ExportNotReadyError, match="may be making it still"):
        hook.download_export(52, tmp_path / "orders.zip")
    with pytest.raises(MbiError, match="seven days") as raised:
        hook.download_export(40, tmp_path / "orders.zip")
    assert not isinstance(raised.value, ExportNotReadyError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"<html>Sign in</html>", b"{}"])
def test_what_is_no_archive_leaves_no_file(mbi: Mbi, tmp_path: Path, body: bytes) -> None:
    mbi.instead["/0.1/export/51"] = lambda _: Answer(200, body)
    (tmp_path / "orders.zip").write_bytes(b"the last one")
    with pytest.raises(MbiError, match="not a zip archive"):
        exporting(mbi.url).download_export(51, tmp_path / "orders.zip")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"the last one"]


def half_a_zip(connection: socket.socket, _: bytes) -> None:
    content = a_zip()
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content[:20])


@pytest.mark.parametrize("script", [half_a_zip, hang])
def test_a_download_that_breaks_off_is_an_outage_and_leaves_no_file(script: Any, tmp_path: Path) -> None:
    with serving(script) as server, pytest.raises(MbiError) as raised:
        exporting(server.url).download_export(51, tmp_path / "orders.zip")
    assert raised.value.finding.cause is Cause.MBI_OUTAGE
    assert list(tmp_path.iterdir()) == []
    assert leaks(raised.value) == []


def test_a_figure_is_exported_as_csv_with_its_columns(mbi: Mbi) -> None:
    mbi.figure = 'table,latest\n"orders, web",2026-11-24 03:29:03\n'
    figure = exporting(mbi.url).export_figure(360531)
    assert figure.columns == ("table", "latest")
    assert figure.records() == [{"table": "orders, web", "latest": "2026-11-24 03:29:03"}]
    assert mbi.forms == [{"format": ["csv"], "includeColumnHeaders": ["1"]}]


def test_a_figure_without_rows_is_empty_and_what_is_no_csv_is_said_so(mbi: Mbi) -> None:
    assert exporting(mbi.url).export_figure(360531).rows == ()
    mbi.figure = 'a,b\n"1\n'
    with pytest.raises(MbiError, match="not the CSV"):
        exporting(mbi.url).export_figure(360531)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer(403, {"message": f"No access for {EXPORT_KEY}"}), Cause.MBI_KEY_REJECTED),
        (Answer(500), Cause.MBI_OUTAGE),
        (Answer(302, headers={"Location": f"https://portal.example/?key={EXPORT_KEY}"}), Cause.UNKNOWN),
        (Answer(200, {"tables": [], "key": EXPORT_KEY}), Cause.UNKNOWN),
        (Answer(200, f"<html>{EXPORT_KEY}</html>"), Cause.UNKNOWN),
        (Answer(200, "[1,"), Cause.UNKNOWN),
    ],
)
def test_what_the_export_api_refuses_says_what_it_means_and_shows_no_key(
    mbi: Mbi, answer: Answer, cause: Cause
) -> None:
    mbi.instead["/0.1/export"] = lambda _: answer
    with pytest.raises(MbiError) as raised:
        exporting(mbi.url).exports()
    assert raised.value.finding.cause is cause
    assert leaks(raised.value) == []


def test_a_result_with_an_echoed_key_has_stars_in_its_place(mbi: Mbi) -> None:
    mbi.exports = [{"id": 51, "name": f"by {EXPORT_KEY}"}]
    assert exporting(mbi.url).exports()[0].fields["name"] == "by ***"


def test_a_wrong_export_key_is_refused(mbi: Mbi) -> None:
    with pytest.raises(MbiError) as raised:
        exporting(mbi.url, key=IMPORT_KEY).exports()
    assert raised.value.finding.cause is Cause.MBI_KEY_REJECTED
    assert leaks(raised.value) == []


# one hook, one key


def test_each_key_opens_its_own_api_alone(mbi: Mbi, tmp_path: Path) -> None:
    for ask in (importing(mbi.url).exports, importing(mbi.url).update_cycle):
        with pytest.raises(MisconfiguredError, match="no Export API key"):
            ask()
    for refused in (exporting(mbi.url).authenticate, exporting(mbi.url).is_up):
        with pytest.raises(MisconfiguredError, match="no Import API key"):
            refused()
    assert mbi.asked == []


def test_a_connection_to_something_else_is_no_mbi() -> None:
    with serving(reply()) as server:
        credential = a_credential(host=server.url, extra={"integration_type": "zendesk"})
        with pytest.raises(MisconfiguredError, match="of type zendesk"):
            Hook(credential).exports()


def test_the_connection_is_airflows(mbi: Mbi, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "mbireauth",
        "host": mbi.url,
        "login": CLIENT_ID,
        "password": IMPORT_KEY,
        "extra": {"integration_type": "mbi_import_api"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MBI_DEFAULT", json.dumps(connection))
    MbiHook().authenticate()
    assert mbi.calls[AUTHENTICATE] == 1


def test_an_hour_that_comes_twice_is_read_as_the_later_one(mbi: Mbi) -> None:
    mbi.job = a_job("2026-11-01 01:30:00")
    job = exporting(mbi.url).update_cycle().last_completed
    assert job is not None
    assert job.ended_at == datetime(2026, 11, 1, 5, 30, tzinfo=timezone.utc) + timedelta(hours=1)
