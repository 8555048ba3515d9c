"""``shadow``: what gates in shadow mode would have stopped, told to a person."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbi_reauth.api.datamodels import WouldBlockResponse

UNANSWERED = 3
_HEADINGS = ("Integration", "Runs", "Since", "Last", "Causes")


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand's arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "shadow",
        help="list what gates in shadow mode would have stopped",
        description="Ask the plugin's app which runs gates in shadow mode would have stopped, and print them "
        "by integration. Exit status 0; 3: the app gave no answer.",
    )
    parser.add_argument("--verbose", action="store_true", help="show the log of the question")


def run(args: argparse.Namespace) -> int:
    """Ask, print, and return the exit status."""
    from mbi_reauth.cli.process import quieten, read_connections_as_airflow_does

    quieten(verbose=args.verbose)
    read_connections_as_airflow_does()
    from mbi_reauth.hooks.api import ApiError, ReauthApiHook

    try:
        answer = asyncio.run(ReauthApiHook().would_block())
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return UNANSWERED
    sys.stdout.write("\n".join(lines_of(answer)) + "\n")
    return 0


def lines_of(answer: WouldBlockResponse) -> Iterator[str]:
    """Write the counts as a table, and how many emails wait."""
    if answer.would_block:
        yield "Runs that gates in shadow mode would have stopped:"
        rows = [
            (
                each.integration_id,
                str(each.runs),
                _time(each.first_at),
                _time(each.last_at),
                _listed(each.causes),
            )
            for each in answer.would_block
        ]
        yield from _table(_HEADINGS, rows)
    else:
        yield "No gate in shadow mode would have stopped a run."
    if answer.waiting_mails:
        yield f"Emails that are due and wait: {answer.waiting_mails}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"


def _listed(causes: Sequence[str]) -> str:
    return ", ".join(causes)
