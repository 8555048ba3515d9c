"""``check``: one integration now, as the gate would, told to a person."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbi_reauth.core.ticket import ADVICE, engineers_ticket
from mbi_reauth.core.verdict import MEANING_OF, Cause, Certainty, Finding, Verdict

if TYPE_CHECKING:
    from mbi_reauth.check import Checked
    from mbi_reauth.core.integration import Integration

EXIT_STATUS = {
    Verdict.AUTHORIZED: 0,
    Verdict.NEEDS_REAUTH: 1,
    Verdict.MISCONFIGURED: 2,
}
"""Every other verdict: 3. A registry that cannot be read: 2."""


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand's arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help="check one integration now, as the gate would",
        description="Check one integration now, report the finding to the plugin's app and print it. "
        "Exit status 0: authorized; 1: the owner must act; 2: an engineer must act; 3: nothing certain.",
    )
    parser.add_argument("id", help="the integration's id in the registry")
    parser.add_argument("--registry", type=Path, help="the registry file, where Airflow's own does not do")
    parser.add_argument("--verbose", action="store_true", help="show the log of the check")


def run(args: argparse.Namespace) -> int:
    """Check, print, and return the exit status."""
    from mbi_reauth.cli.process import quieten, read_connections_as_airflow_does
    from mbi_reauth.core.registry import RegistryError
    from mbi_reauth.lookup import registry_of

    quieten(verbose=args.verbose)
    read_connections_as_airflow_does()
    try:
        integration = registry_of(args.registry).get(args.id)
    except RegistryError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_STATUS[Verdict.MISCONFIGURED]
    checked = asyncio.run(_check(integration))
    steps = _steps_of(integration, checked.finding)
    sys.stdout.write("\n".join(lines_of(integration, checked, steps)) + "\n")
    return EXIT_STATUS.get(checked.finding.verdict, 3)


async def _check(integration: Integration) -> Checked:
    from mbi_reauth.check import AirflowConnections, check
    from mbi_reauth.hooks.api import ReauthApiHook

    return await check(integration, api=ReauthApiHook(), connections=AirflowConnections(), max_age=0)


def _steps_of(integration: Integration, finding: Finding) -> list[str]:
    from mbi_reauth import catalogue, settings

    try:
        model = catalogue.load(integration.type, folder=settings.catalogue_folder()).model
    except catalogue.CatalogueError:
        return []
    return model.owner_steps.for_cause(finding.cause, integration.held_by, at_tunnel=finding.at_tunnel)


def lines_of(integration: Integration, checked: Checked, steps: list[str]) -> Iterator[str]:
    """Write a finding for a person: what, why, since when, who must act, and how."""
    finding = checked.finding
    yield f"{integration.label} ({integration.id}) is {finding.verdict.value}"
    facts = {
        "Cause": f"{finding.cause.value}: {MEANING_OF[finding.cause]}",
        "Why": f"{finding.explanation} [{finding.rule}]",
        "It said": f'"{finding.vendor_words}"' if finding.vendor_words else "",
        "Sure": _certainty(finding),
        "Account": finding.account,
        "Checked": _time(finding.checked_at),
        "Last proved": _time(finding.proved_at),
        "Expires": _time(finding.expires_at),
        "Try again in": f"{finding.retry_after:.0f} s" if finding.retry_after else "",
        "Who must act": _actor(finding, integration),
        "Reported": "" if checked.receipt else "no; the plugin's app could not be told (--verbose says why)",
    }
    for label, fact in facts.items():
        if fact:
            yield f"  {label:<13} {fact}"
    yield from (f"  {label:<13} {fact}" for label, fact in finding.facts.items())
    yield from _what_to_do(integration, finding, steps)


def _certainty(finding: Finding) -> str:
    if finding.verdict is not Verdict.NEEDS_REAUTH or finding.certainty is Certainty.EXPLICIT:
        return ""
    return "not yet; it counts when a second check, a minute or more later, finds the same"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}" if at else ""


def _actor(finding: Finding, integration: Integration) -> str:
    owner = integration.owner
    return {
        Verdict.NEEDS_REAUTH: f"the owner, {owner.name} <{owner.email}>",
        Verdict.MISCONFIGURED: "a data engineer",
        Verdict.INDETERMINATE: "nobody yet; a data engineer if it stays so",
    }.get(finding.verdict, "nobody")


def _what_to_do(integration: Integration, finding: Finding, steps: list[str]) -> Iterator[str]:
    if finding.verdict is Verdict.AUTHORIZED:
        return
    yield "What to do"
    if ticket := engineers_ticket(integration, finding):
        yield f"  {ADVICE}"
        yield from ("", *str(ticket).splitlines())
        return
    # A key to MBI is an engineer's to renew, by the type's steps too.
    own_key = finding.cause is Cause.MBI_KEY_REJECTED and integration.signal is None
    if (finding.verdict is Verdict.NEEDS_REAUTH or own_key) and steps:
        yield from (f"  {number}. {step}" for number, step in enumerate(steps, start=1))
        return
    yield "  " + {
        Verdict.NEEDS_REAUTH: "Have the owner authorize again.",
        Verdict.MISCONFIGURED: "Put right what is named above and check again; `doctor` looks at everything.",
        Verdict.UNAVAILABLE: "Wait; the gate lets extractions try meanwhile.",
    }.get(
        finding.verdict, "Look with --verbose and `doctor`; if nothing is amiss, the catalogue lacks a rule."
    )
