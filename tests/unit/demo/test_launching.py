"""What the launcher settles before anything is started."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from demo import connections, standalone
from demo.keys import load_or_create
from demo.launcher import DemoError, run
from demo.options import CHECKOUT, parse
from demo.ports import free_port, is_free, taken
from demo.third_party import ThirdParty


def test_a_port_is_taken_from_the_option_before_the_environment() -> None:
    environment = {"MBI_DEMO_AIRFLOW_PORT": "9001", "MBI_DEMO_WORKER_LOG_PORT": "9002"}
    options = parse(["--airflow-port", "9003"], environment)
    assert (options.ports["airflow"], options.ports["worker-log"]) == (9003, 9002)


@pytest.mark.parametrize("text", ["0", "65536", "http"])
def test_what_is_no_port_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--smtp-port", text], {})
    assert f"'{text}' is not a port" in capsys.readouterr().err


def test_everything_is_written_inside_the_checkout() -> None:
    assert parse([], {}).home.is_relative_to(CHECKOUT / ".airflow")


def test_a_taken_port_is_named_with_the_option_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        faults = taken({"--smtp-port": port, "--demo-port": free_port()})
    assert faults == [f"port {port} is in use; stop what listens there, or choose another with --smtp-port"]


def test_a_port_given_twice_is_a_fault() -> None:
    port = free_port()
    assert "given twice" in taken({"--smtp-port": port, "--demo-port": port})[0]


def free_options(home: Path, *more: str) -> list[str]:
    names = ("airflow", "demo", "shop", "smtp", "database", "worker-log", "triggerer-log")
    ports = [word for name in names for word in (f"--{name}-port", str(free_port()))]
    return [*ports, "--home", str(home), *more]


def test_a_folder_with_other_things_is_neither_used_nor_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DemoError, match="did not make"):
        run(parse(free_options(tmp_path, "--fresh"), {}))
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_keys_are_made_once_and_readable_by_their_user_only(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path / "keys.json")
    assert load_or_create(tmp_path / "keys.json") == keys
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert keys.database_reader not in repr(keys)


def test_another_airflows_settings_do_not_leak_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "of-another-airflow")
    monkeypatch.setenv("AIRFLOW_CONN_SHOPDEMO", "http://elsewhere")
    environment = standalone.environment(parse(free_options(tmp_path), {}))
    assert not {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_SHOPDEMO"} & environment.keys()


def test_airflow_listens_on_loopback_and_finds_itself_there(tmp_path: Path) -> None:
    options = parse(free_options(tmp_path), {})
    environment = standalone.environment(options)
    address = f"http://127.0.0.1:{options.ports['airflow']}"
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__API__BASE_URL"] == address
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{address}/execution/"


def test_the_oauth_connection_holds_a_grant_that_works() -> None:
    with ThirdParty() as shop:
        body = connections.as_request_body("shopdemo", connections.shopdemo(shop))
        extra = json.loads(body["extra"])
        assert (body["conn_type"], body["host"]) == ("mbireauth", shop.url)
        assert shop.grant_state(extra["account"]) == "grant lives"
