"""Ports of this machine: which are free, and which are missing."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from demo.webserver import LOOPBACK


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Try to listen there, as the demo's servers will."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def taken(wanted: Mapping[str, int]) -> list[str]:
    """Say for every port that is taken, or wanted twice, which option changes it."""
    faults = [
        f"port {port} is in use; stop what listens there, or choose another with {option}"
        for option, port in wanted.items()
        if not is_free(port)
    ]
    for option, port in wanted.items():
        others = [other for other, its in wanted.items() if its == port and other != option]
        if others:
            faults.append(f"port {port} is given twice: {option} and {', '.join(others)}")
    return faults
