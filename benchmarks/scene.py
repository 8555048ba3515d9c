"""What the plugin works with in a benchmark: a third party, a database, the app; each in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil  # type: ignore[import-untyped]
import tenacity
from cryptography.fernet import Fernet

from benchmarks.accounts import TYPE_FOLDER, Accounts
from benchmarks.folder import temporary_folder
from demo.keeper import Kept
from demo.ports import free_port
from demo.source_database import SourceDatabase
from demo.webserver import LOOPBACK
from tests.postgresql import PASSWORD, create_database

APP_KEY = "fake-key-of-the-app"
DATABASES = ("postgresql", "sqlite")
_SHOP, _APP = "benchmarks.shop", "uvicorn"
_STARTS_WITHIN = 60.0

Found = TypeVar("Found")


@dataclass(frozen=True)
class Cost:
    """CPU seconds, by who spent them."""

    app: float
    database: float
    shop: float

    def __sub__(self, earlier: Cost) -> Cost:
        return Cost(self.app - earlier.app, self.database - earlier.database, self.shop - earlier.shop)


@dataclass(frozen=True)
class ThirdParty:
    """How the third party answers, and on how many hosts; ``latency`` in seconds."""

    hosts: int = 50
    latency: float = 0
    refuses: bool = False

    @property
    def command(self) -> list[str]:
        """Say how to start it."""
        options = ["--hosts", str(self.hosts), "--latency", str(self.latency)]
        return ["-m", _SHOP, *options, *(["--refuse"] if self.refuses else [])]


@dataclass(frozen=True)
class Scene:
    """Everything runs; ``environment`` is for a worker of the same Airflow."""

    accounts: Accounts
    environment: dict[str, str]

    def asked(self) -> dict[str, int]:
        """Tell how often the third party was asked for each account since the last time."""
        found: dict[str, int] = json.loads(_fetch(f"http://{LOOPBACK}:{self.accounts.ports[0]}/asked"))
        return found

    def spent(self) -> Cost:
        """Tell what the processes beside the worker have cost so far."""
        return Cost(
            app=sum(map(_cpu, _named(_APP))),
            database=sum(map(_cpu, _named("postgres"))),
            shop=sum(map(_cpu, _named(_SHOP))),
        )

    def app_memory(self) -> float:
        """Tell how many MiB the app's process takes."""
        return float(sum(process.memory_info().rss for process in _named(_APP)) / 2**20)

    def run(self, module: str, *options: str) -> Any:
        """Run one side of a comparison in a new process, and return what it prints."""
        command = [sys.executable, "-m", module, self.accounts.as_json(), *options]
        done = subprocess.run(  # noqa: S603
            command, env=self.environment | self._connections(), stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)

    def _connections(self) -> dict[str, str]:
        """Let a process without Airflow's supervisor read the accounts' connections, and the app's key."""
        return {
            "AIRFLOW__SECRETS__BACKEND": "benchmarks.accounts_backend.AccountsBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"accounts": self.accounts.as_json()}),
            "AIRFLOW_CONN_MBI_REAUTH_API": json.dumps({"conn_type": "generic", "password": APP_KEY}),
        }


@contextmanager
def standing(database: str, *, count: int, third_party: ThirdParty, one_key: bool = True) -> Iterator[Scene]:
    """Start everything, with so many integrations' connections saved; leave nothing behind."""
    with ExitStack() as ends:
        folder = ends.enter_context(temporary_folder())
        accounts = Accounts(count, started_shop(ends, third_party, folder), one_key)
        url = f"sqlite:///{folder / 'airflow.db'}"
        if database == "postgresql":
            url = create_database(ends.enter_context(_postgresql(folder)), "airflow")
        port = free_port()
        environment = _environment(folder, url, f"http://{LOOPBACK}:{port}", accounts.registry(folder))
        seed = [sys.executable, "-m", "benchmarks.seed", accounts.as_json()]
        subprocess.run(seed, env=environment, check=True)  # noqa: S603
        app = ["-m", _APP, "mbi_reauth.api.app:create_app", "--factory", "--host", LOOPBACK]
        app += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
        _started(
            ends, app, folder / "app.log", environment, lambda _: _fetch(f"http://{LOOPBACK}:{port}/health")
        )
        yield Scene(accounts, environment)


def started_shop(ends: ExitStack, third_party: ThirdParty, folder: Path) -> list[int]:
    """Start a third party; return its hosts' ports."""
    return _started(ends, third_party.command, folder / "shop.log", os.environ, _ports_in)


def _postgresql(folder: Path) -> SourceDatabase:
    folder.chmod(0o711)  # it does not run as root, and has to get to its own folder
    return SourceDatabase(folder / "cluster", admin_password=PASSWORD, reader_password="fake-reader")  # noqa: S106


def _started(
    ends: ExitStack,
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    works: Callable[[Path], Found],
) -> Found:
    """Start a Python program, and return what ``works`` tells of it once it does."""
    ends.callback(Kept([sys.executable, *arguments], log=log, environment=environment).stop)
    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((OSError, ValueError)),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(_STARTS_WITHIN),
        reraise=True,
    )
    try:
        return waiting(works, log)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"It did not start:\n{log.read_text()[-3000:]}") from error


def _ports_in(log: Path) -> list[int]:
    """Read what the third party has printed."""
    ports: list[int] = json.loads(log.read_text())
    return ports


def _environment(home: Path, database_url: str, app_url: str, registry: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    settings = {
        "CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CORE__LOAD_EXAMPLES": "False",
        "DATABASE__SQL_ALCHEMY_CONN": database_url,
        "MBI_REAUTH__APP_URL": app_url,
        "MBI_REAUTH__CATALOGUE_FOLDER": str(TYPE_FOLDER),
        "MBI_REAUTH__REGISTRY": str(registry),
    }
    return {
        **inherited,
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_HOME": str(home),
    }


def _named(program: str) -> list[Any]:
    """Find the processes of this benchmark that run a program; not their keepers."""
    found = []
    for process in psutil.Process().children(recursive=True):
        command = process.cmdline()
        kept = any(word.endswith("keeper.py") for word in command)
        if not kept and (program in command or process.name() == program):
            found.append(process)
    return found


def _cpu(process: Any) -> float:
    """Tell the CPU seconds of a process, and of its children that have ended."""
    return float(sum(process.cpu_times()[:4]))


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the loopback
        content: bytes = answer.read()
    return content
