"""What can be set on the demo's command line, or in the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

_PORTS = {
    "airflow": (8080, "Airflow"),
    "demo": (8090, "the demo page and the mailbox"),
    "shop": (8091, "the make-believe third party"),
    "smtp": (8025, "the SMTP server"),
    "database": (54320, "the embedded PostgreSQL"),
    "worker-log": (8793, "Airflow's worker log server"),
    "triggerer-log": (8794, "Airflow's triggerer log server"),
}


@dataclass(frozen=True)
class Options:
    """Where things are, and which ports they take."""

    home: Path
    fresh: bool
    ports: Mapping[str, int]

    def ports_by_option(self) -> dict[str, int]:
        """Name each port by the option that sets it."""
        return {f"--{name}-port": port for name, port in self.ports.items()}


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Read the command line; ``MBI_DEMO_AIRFLOW_PORT`` and so on stand in for options that are not given."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Start Airflow with mbi_reauth, a third party, a database and a mailbox on this machine.",
        epilog="Each port can also be set in the environment: MBI_DEMO_AIRFLOW_PORT for --airflow-port, ...",
    )
    for name, (port, meaning) in _PORTS.items():
        default = environment.get(f"MBI_DEMO_{name.replace('-', '_').upper()}_PORT", port)
        parser.add_argument(
            f"--{name}-port", type=_port, default=default, metavar="PORT", help=f"{meaning} ({default})"
        )
    parser.add_argument(
        "--home",
        type=Path,
        default=CHECKOUT / ".airflow" / "demo",
        help="folder for everything that is written (.airflow/demo in the checkout)",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier demo left")
    given = vars(parser.parse_args(arguments))
    ports = {name: given[f"{name.replace('-', '_')}_port"] for name in _PORTS}
    return Options(home=given["home"].resolve(), fresh=given["fresh"], ports=ports)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 1 to 65535")
    return int(text)
