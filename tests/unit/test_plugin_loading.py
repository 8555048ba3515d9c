"""Airflow's real loaders on this package: as a plugins folder, as an installed package, and as both."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGINS = CHECKOUT / "plugins"

REPORT = """
import json, sys
from airflow import plugins_manager as core
from airflow.sdk import plugins_manager as sdk

loaded = {name: loader._get_plugins() for name, loader in (("core", core), ("sdk", sdk))}
file_of = lambda name: getattr(sys.modules.get(name), "__file__", None)
files = [file_of(name) for name in list(sys.modules)]
ours = [file for file in files if file and "mbi_reauth" in file]
print("REPORT", json.dumps({
    "names": {name: [plugin.name for plugin in plugins] for name, (plugins, _) in loaded.items()},
    "errors": {name: errors for name, (_, errors) in loaded.items()},
    "executed_twice": sorted({file for file in ours if ours.count(file) > 1}),
    "shadowed": sorted(name for name in sys.stdlib_module_names if file_of(name) in ours),
    "modules": sorted(name for name in sys.modules if name.startswith("mbi_reauth")),
    "heavy": sorted({"fastapi", "requests", "aiohttp", "jinja2.environment"} & set(sys.modules)),
}))
"""


def site_packages_without_us(folder: Path) -> Path:
    """Link everything that is installed here but this package, as on an Airflow that never installed it."""
    folder.mkdir()
    for root in site.getsitepackages():
        for entry in Path(root).iterdir():
            if "mbi_reauth" not in entry.name.replace("-", "_") and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def load(airflow_home: Path, *, plugins_folder: Path, packages: Path | None) -> Any:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", REPORT]
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
        command.insert(1, "-S")
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stderr[-3000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("REPORT"))
    return json.loads(line.removeprefix("REPORT "))


@pytest.fixture(scope="module", params=["folder", "package", "both"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "no_plugins").mkdir()
    return load(
        folder / "home",
        plugins_folder=folder / "no_plugins" if request.param == "package" else PLUGINS,
        packages=site_packages_without_us(folder / "packages") if request.param == "folder" else None,
    )


def test_there_is_one_plugin(loaded: Any) -> None:
    assert loaded["names"] == {"core": ["mbi_reauth"], "sdk": ["mbi_reauth"]}


def test_nothing_fails_to_import(loaded: Any) -> None:
    assert loaded["errors"] == {"core": {}, "sdk": {}}


def test_no_module_is_executed_under_two_names(loaded: Any) -> None:
    assert loaded["executed_twice"] == []


def test_no_module_of_the_standard_library_is_shadowed(loaded: Any) -> None:
    assert loaded["shadowed"] == []


def test_loading_the_plugin_imports_its_declarations_and_nothing_else(loaded: Any) -> None:
    assert set(loaded["modules"]) <= {
        "mbi_reauth",
        "mbi_reauth.airflow_plugin",
        "mbi_reauth.provider_info",
        "mbi_reauth.settings",
        "mbi_reauth_plugin",
    }
    assert "fastapi" not in loaded["heavy"]
