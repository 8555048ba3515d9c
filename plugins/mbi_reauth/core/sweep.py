"""How the sweep is dealt out, and what its tasks' counts come to."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping

# What is counted, beside the verdicts by their own names.
INTEGRATIONS = "integrations"
PROBES = "probes"
EMAILS = "{}_emails"
EMAILS_UNSENT = "emails_unsent"
EMAILS_REFUSED = "emails_refused"
OUTBOX_AWAY = "outbox_away"
FAULTS = "faults"
WITHOUT_APP = "without_app"


class SweepError(Exception):
    """The sweep itself could not work."""


def shards(hosts: Mapping[str, str | None], size: int) -> list[list[str]]:
    """Deal integrations out, evenly, into as many shards as it takes to have about ``size`` in each.

    Those of one host stay together, so that a bound on a host holds for the whole sweep.

    :param hosts: by integration id; None where only its connection knows
    """
    groups: dict[str, list[str]] = {}
    for integration_id, host in hosts.items():
        groups.setdefault(f"host {host}" if host else integration_id, []).append(integration_id)
    dealt: list[list[str]] = [[] for _ in range(-(-len(hosts) // max(size, 1)))]
    lightest = [(0, number) for number in range(len(dealt))]
    for group in sorted(groups.values(), key=len, reverse=True):
        weight, number = heapq.heappop(lightest)
        dealt[number] += group
        heapq.heappush(lightest, (weight + len(group), number))
    return [shard for shard in dealt if shard]


def summed(shards: Iterable[Mapping[str, int]], outbox: Mapping[str, int]) -> dict[str, int]:
    """Add the shards' counts up, and those of the emails.

    :raises SweepError: the plugin's app took part in none of the checks, or did not say what is to be sent
    """
    total: Counter[str] = Counter()
    for each in shards:
        total.update(each)
    if total[INTEGRATIONS] and total[WITHOUT_APP] + total[FAULTS] == total[INTEGRATIONS]:
        raise SweepError(
            f"The plugin's app took part in none of {total[INTEGRATIONS]} checks, so nothing was reported; "
            "the log of each check_shard says why"
        )
    if outbox.get(OUTBOX_AWAY):
        raise SweepError(
            "The plugin's app did not say which emails are due, so none was sent; the log of send_due says "
            "why, and the next sweep tries again"
        )
    total.update(outbox)
    return dict(total)
