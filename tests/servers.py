"""Private MariaDB and SSH servers: on free ports, in a temporary folder, without root's rights."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from demo.ports import free_port
from tests.tls import self_signed_chain

_NOBODY = 65534


def binary(*names: str) -> str:
    """Find a server's program, or skip the test with the reason."""
    folders = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"))
    for name in names:
        if found := shutil.which(name, path=folders):
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """Make a folder for a server that must not run as root."""
    with tempfile.TemporaryDirectory(prefix="mbi_reauth_") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        yield folder


def unprivileged() -> dict[str, Any]:
    """Give :class:`subprocess.Popen` the user to run a server as."""
    return {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}


@contextmanager
def running(command: Sequence[str], port: int, log: Path, *, timeout: float = 30) -> Iterator[None]:
    """Run a server until the end, once it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, **unprivileged()
        )
    try:
        _wait_for(process, port, log, timeout)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _listens(port):
        if time.monotonic() > deadline or process.poll() is not None:
            raise AssertionError(
                f"{process.args!r} does not listen on {port}:\n{log.read_text(errors='replace')}"
            )
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


_HBA = """
local all all trust
hostnossl all plain_only all scram-sha-256
hostssl all plain_only all reject
host all all all scram-sha-256
"""


@dataclass(frozen=True)
class PostgreSQL:
    """A cluster of files, and an administrator's way to the server that runs on it."""

    port: int
    folder: Path
    _programs: dict[str, str]

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What it has logged since it was last started."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def process(self) -> int:
        """The id of the server's first process."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    @contextmanager
    def running(self, *settings: str) -> Iterator[None]:
        """Run the server until the end."""
        own = ("fsync=off", f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1")
        options = [word for setting in (*own, *settings) for word in ("-c", setting)]
        command = [self._programs["postgres"], "-D", str(self.data), "-p", str(self.port), *options]
        with running(command, self.port, self.folder / "log"):
            yield

    def run(self, *statements: str) -> None:
        """Execute as the administrator, each statement by itself."""
        psql = [self._programs["psql"], "-h", str(self.folder), "-p", str(self.port), "-U", "admin"]
        for statement in statements:
            self._execute([*psql, "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement])

    @staticmethod
    def _execute(command: list[str]) -> None:
        """Execute, again while the server listens but is still starting up."""
        deadline = time.monotonic() + 20
        while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
            if "starting up" not in done.stderr or time.monotonic() > deadline:
                raise AssertionError(done.stderr)
            time.sleep(0.05)

    def write(self, name: str, text: str = "") -> None:
        """Write one of the cluster's files."""
        _write(self.data / name, text, 0o600)


@contextmanager
def postgresql_cluster() -> Iterator[PostgreSQL]:
    """Create a cluster; its administrator needs no password on the socket file."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    programs = {
        name: binary(*(str(f / name) for f in folders), name) for name in ("initdb", "postgres", "psql")
    }
    with folder_of_nobody() as folder:
        cluster = PostgreSQL(free_port(), folder, programs)
        command = [programs["initdb"], "-D", str(cluster.data), "-U", "admin", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, **unprivileged())
        cluster.write("pg_hba.conf", _HBA)
        yield cluster


@contextmanager
def tls_postgresql_server(*statements: str) -> Iterator[PostgreSQL]:
    """Start a PostgreSQL with a certificate that nobody vouches for; ``statements`` are executed first."""
    with postgresql_cluster() as cluster:
        cluster.write("chain.pem", self_signed_chain().decode())
        with cluster.running("ssl=on", "ssl_cert_file=chain.pem", "ssl_key_file=chain.pem"):
            cluster.run(*statements)
            yield cluster


@dataclass(frozen=True)
class MariaDB:
    """A server, and an administrator's way to it."""

    port: int
    _socket: Path

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._socket.with_name("log").read_text(errors="replace")

    def run(self, *statements: str) -> None:
        """Execute as the administrator."""
        client = binary("mariadb", "mysql")
        command = [
            client,
            "--no-defaults",
            "--user=root",
            f"--socket={self._socket}",
            "-e",
            ";".join(statements),
        ]
        subprocess.run(command, check=True, capture_output=True)


_WITHOUT_PASSWORD = ("--auth-root-authentication-method=normal", "--skip-test-db")


@contextmanager
def mariadb_server() -> Iterator[MariaDB]:
    """Start MariaDB with an empty administrator's password, on its socket file only."""
    server, install = binary("mariadbd", "mysqld"), binary("mariadb-install-db", "mysql_install_db")
    with folder_of_nobody() as folder:
        data, port, socket_file = folder / "data", free_port(), folder / "server.sock"
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", *_WITHOUT_PASSWORD],
            check=True,
            capture_output=True,
            **unprivileged(),
        )
        command = [
            server, "--no-defaults", f"--datadir={data}", f"--socket={socket_file}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}", "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--performance-schema=off",
        ]  # fmt: skip
        with running(command, port, folder / "log"):
            yield MariaDB(port, socket_file)


@dataclass(frozen=True)
class Sshd:
    """A server that knows one client key; ``host_key`` is as in the extra of an Airflow connection."""

    port: int
    user: str
    private_key: str
    host_key: str
    _folder: Path

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(errors="replace")


_SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
LogLevel VERBOSE
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding yes
{further}
"""


@contextmanager
def ssh_server(further: str = "") -> Iterator[Sshd]:
    """Start sshd as an ordinary user, who alone can log in, with a key.

    :param further: lines of its configuration
    """
    program = binary("sshd")
    with folder_of_nobody() as folder:
        port, host, client = free_port(), new_key(), new_key()
        _write(folder / "host_key", host[0], 0o600)
        _write(folder / "authorized_keys", client[1], 0o644)
        _write(folder / "config", _SSHD_CONFIG.format(port=port, folder=folder, further=further), 0o644)
        with running([program, "-D", "-e", "-f", str(folder / "config")], port, folder / "log"):
            user = "nobody" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
            yield Sshd(port, user, client[0], host[1], folder)


def new_key() -> tuple[str, str]:
    """Make an SSH key; return its private and its public half as text."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)
