"""The SSH tunnel in front of a database, through Airflow's SSH provider."""

from __future__ import annotations

import io
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.secret_values import SecretValues

if TYPE_CHECKING:
    import paramiko  # type: ignore[import-untyped]

_UNCHECKED = ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change")
_OWN_KEYS = ("private_key", "key_file")
_FAILURES: tuple[tuple[type[BaseException], TransportFailure], ...] = (
    (socket.gaierror, TransportFailure.DNS),
    (TimeoutError, TransportFailure.TIMEOUT),
    (ConnectionRefusedError, TransportFailure.CONNECTION_REFUSED),
    (ConnectionError, TransportFailure.CONNECTION_RESET),
    (EOFError, TransportFailure.CONNECTION_RESET),
)


class TunnelError(Exception):
    """The way to the database failed before the database was asked; ``evidence`` says how."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(f"SSH tunnel: {evidence.error_code}: {evidence.message}")
        self.evidence = evidence


@contextmanager
def tunnel(ssh: Credential, *, host: str, port: int, timeout: float = 10) -> Iterator[int]:
    """Forward a local port to ``host:port`` as the SSH server sees it; yield the port on 127.0.0.1.

    The server's host key is always checked. One attempt; ``timeout`` seconds for each step of it.

    :raises TunnelError: the SSH server was not reached, refused the login or could not reach the database
    :raises MisconfiguredError: the SSH connection lacks something, or does not check the host key
    """
    client = _logged_in(ssh, timeout)
    from airflow.providers.ssh.tunnel import SSHTunnel

    witness = _Witness(client, timeout)
    try:
        with SSHTunnel(ssh_client=witness, remote_host=host, remote_port=port) as forward:
            yield forward.local_bind_port
    except Exception as error:
        if witness.refusal is None:
            raise
        raise TunnelError(_evidence(witness.refusal, ssh)) from error
    finally:
        client.close()


class _Witness:
    """Stands between the provider's tunnel and paramiko: the tunnel only logs why a channel was refused.

    It also bounds the wait for a channel, which is an hour by paramiko's default.
    """

    def __init__(self, client: paramiko.SSHClient, timeout: float) -> None:
        self.refusal: Exception | None = None
        self._transport = client.get_transport()
        self._timeout = timeout

    def get_transport(self) -> _Witness:
        return self

    def is_active(self) -> bool:
        return self._transport is not None and self._transport.is_active()

    def open_channel(self, kind: str, destination: Any, source: Any) -> paramiko.Channel:
        import paramiko

        if self._transport is None:
            raise EOFError("the SSH connection is closed")
        try:
            return self._transport.open_channel(kind, destination, source, timeout=self._timeout)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.refusal = error
            raise


def is_readable(private_key: str, passphrase: str) -> bool:
    """Tell whether the SSH library can use a private key at all; without the library, that is not known.

    Airflow's hook (SSHHook of its SSH provider) takes the same kinds of keys.
    """
    try:
        from paramiko import ECDSAKey, Ed25519Key, RSAKey
    except ImportError:
        return True
    return any(_reads(kind, private_key, passphrase) for kind in (RSAKey, ECDSAKey, Ed25519Key))


def _reads(kind: type[paramiko.PKey], private_key: str, passphrase: str) -> bool:
    try:
        kind.from_private_key(io.StringIO(private_key), password=passphrase or None)
    except Exception:  # noqa: BLE001 - of a text that is no key, its parsers raise anything
        return False
    return True


def _logged_in(ssh: Credential, timeout: float) -> paramiko.SSHClient:
    hook = _hook(ssh, timeout)
    import paramiko

    try:
        return hook.get_conn()
    except (FileNotFoundError, PermissionError) as error:
        raise MisconfiguredError(
            f"The key_file of the SSH connection {ssh.conn_id!r} cannot be read on this machine:"
            f" {error.strerror}"
        ) from None
    except paramiko.PasswordRequiredException:
        raise MisconfiguredError(
            f"The private key of the SSH connection {ssh.conn_id!r} is encrypted; give its "
            "private_key_passphrase"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        _hang_up(error)
        raise TunnelError(_evidence(error, ssh)) from None


def _hang_up(error: BaseException) -> None:
    """Close the connection of a login that failed.

    Neither paramiko (5.1) nor Airflow's hook does, nor gives its client away but by the traceback; and an SSH
    server with some strangers on the line lets nobody in (MaxStartups in sshd_config(5)).
    """
    import paramiko

    for frame, _ in traceback.walk_tb(error.__traceback__):
        client = frame.f_locals.get("self")
        if isinstance(client, paramiko.SSHClient):
            client.close()


def _hook(ssh: Credential, timeout: float) -> Any:
    unchecked = [name for name in _UNCHECKED if str(ssh.extra.get(name, "")).lower() == "true"]
    if unchecked:
        raise MisconfiguredError(
            f"The SSH connection {ssh.conn_id!r} sets {unchecked[0]}, so anyone could pose as the server. "
            "Remove it, and give the server's host_key instead"
        )
    try:
        import airflow.providers.ssh.tunnel  # noqa: F401 - an older provider has none
        from airflow.providers.ssh.hooks.ssh import SSHHook
        from paramiko import SSHException
    except ImportError as error:
        raise MisconfiguredError(
            f"A tunnel needs a package ({error}): pip install 'mbi-reauth[ssh]'"
        ) from None

    class GivenSSHHook(SSHHook):
        """The provider's hook over a connection that has been read already (a thread cannot read one)."""

        def get_connection(self, conn_id: str) -> Any:  # type: ignore[override]  # noqa: ARG002
            return as_connection(ssh)

    try:
        hook = GivenSSHHook(
            ssh_conn_id=ssh.conn_id,
            conn_timeout=max(1, int(timeout)),
            banner_timeout=timeout,
            auth_timeout=max(1, int(timeout)),
            conn_retry_attempts=1,
        )
    except (AirflowException, SSHException, ValueError) as error:
        message = SecretValues.of(ssh).hide(str(error))
        raise MisconfiguredError(f"The SSH connection {ssh.conn_id!r} is not usable: {message}") from None
    hook.no_host_key_check = False  # before version 7 the provider's own default is not to check
    if ssh.password or any(ssh.has(name) for name in _OWN_KEYS):
        # With nothing else: another key of this machine would hide that the named one is refused.
        hook.look_for_keys = "look_for_keys" in ssh.extra and hook.look_for_keys
    return hook


def _evidence(error: BaseException, ssh: Credential) -> Evidence:
    return Evidence(
        endpoint=Endpoint.PROBE,
        driver=Driver.SSH,
        error_code=type(error).__name__,
        failure=next((failure for kind, failure in _FAILURES if isinstance(error, kind)), None),
        message=SecretValues.of(ssh).hide(str(error)),
    )
