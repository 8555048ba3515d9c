"""The command line: ``python -m mbi_reauth`` or ``mbi-reauth``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

# What the overview says of each; all but `classify` import Airflow, which takes seconds.
_SUBCOMMANDS = {
    "classify": "judge evidence given as JSON lines on standard input",
    "check": "check one integration now, as the gate would",
    "doctor": "say what of the set-up is missing, and how to mend it",
    "shadow": "list what gates in shadow mode would have stopped",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="mbi-reauth", description="Authorization checks of integrations.")
    subparsers = parser.add_subparsers(
        dest="subcommand", required=True, metavar=f"{{{','.join(_SUBCOMMANDS)}}}"
    )
    command: Any = None
    for name, summary in _SUBCOMMANDS.items():
        if name == chosen:
            command = import_module(f"mbi_reauth.cli.{name}")
            command.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    parsed = parser.parse_args(arguments)
    return int(command.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
