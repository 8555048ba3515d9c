"""``docs/integrations.md``: the catalogue for people, written from the catalogue itself.

``python -m mbi_reauth.catalogue.reference docs/integrations.md`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import DEFAULTS, LoadedType, read_model
from mbi_reauth.catalogue.model import (
    DatabaseProbe,
    DefaultTable,
    HttpProbe,
    IntegrationType,
    OwnerSteps,
    Paging,
    Resource,
    Sunset,
)
from mbi_reauth.core.rule import Rule
from mbi_reauth.core.verdict import VERDICT_OF

_INTRODUCTION = """\
# Integration types

Written from the catalogue by `python -m mbi_reauth.catalogue.reference docs/integrations.md`; not to be
edited by hand. How to add a type of your own: [adding-a-type.md](adding-a-type.md).

*Fidelity* says what a green check proves. `same_credential`: the very secret that MBI holds as well.
`parallel_grant`: MBI has a permission of its own, which nobody but MBI can look at; ours shows what happened
to the account, not to MBI's permission. `mbi_signal`: what MBI says about itself.

Of each type's answers only its own are listed. What it does not map is judged by the [shared
tables](#what-any-third-party-answers), though by none of the words there that refuse an API's credential:
from an API with an error model of its own they are a gateway's. What is not mapped is `indeterminate`.
Silence, 429 and 5xx are never about a credential, whoever sends them. A question mark at a cause: the refusal
counts only when a second check finds it again. A rule marked *reported* or *unverified* was not seen in the
third party's own documentation.
"""
_AUTH = {
    "basic": "HTTP Basic",
    "bearer": "bearer token",
    "header": "key in a header",
    "query": "key in the address",
    "login": "database login",
    "none": "none",
}
_PAGES = {
    "none": "one answer",
    "next_url": "the next page's address, at `{path}`",
    "link": "the Link header",
    "token": "a token at `{path}`, sent back as `{param}`",
    "page": "a page number in `{param}`",
    "offset": "an offset in `{param}`",
    "last_record": "the last record's `{path}`, sent as `{param}`",
}


def reference_text() -> str:
    """Write the whole page, Markdown."""
    types = catalogue.load_all()
    blocks = [_INTRODUCTION.rstrip("\n"), _overview(types.values())]
    said = _Said()
    for loaded in types.values():
        blocks += _type(loaded, said)
    blocks.append("## What any third party answers")
    blocks.append("Where a type says nothing: these tables, those that fit its kind.")
    for path in sorted(DEFAULTS.glob("*.yaml")):
        table = read_model(path, DefaultTable)[2]
        if table is not None:
            blocks += [f"### {path.stem}", _rules(table.rules)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _overview(types: Iterable[LoadedType]) -> str:
    return _table(
        ("type", "third party", "authorization", "what is probed", "cost of a probe"),
        (
            (
                f"[`{loaded.id}`](#{loaded.id})",
                loaded.model.display_name,
                _authorization(loaded.model),
                _probed(loaded.model),
                _price(loaded.model),
            )
            for loaded in types
        ),
    )


class _Said:
    """What was said already, and at which type: what types share is written once."""

    def __init__(self) -> None:
        self._at: dict[str, str] = {}

    def once(self, text: str, type_id: str, *, again: str = "as at") -> str:
        """Return the text, or where to read it."""
        first = self._at.setdefault(text, type_id)
        return text if first == type_id or not text else f"{again} [`{first}`](#{first})."


def _type(loaded: LoadedType, said: _Said) -> Iterator[str]:
    """Write a type's section, block by block; some may be empty."""
    model = loaded.model
    yield f"## {loaded.id}"
    yield (
        f"**{model.display_name}** ([MBI's documentation]({model.docs})). Fidelity: `{model.fidelity}`.\n"
        f"Authorization: {_authorization(model)}. Probe: {_probed(model)}; {_cost(model)}.{_oauth(model)}"
    )
    yield _fields(model)
    yield "\n".join(_sunset(sunset) for sunset in model.sunsets)
    yield _resources(model.resources)
    yield said.once(_rules(model.rules), loaded.id, again="What it answers is judged as at")
    yield "What the owner is told:"
    yield "\n".join(f"- {who}: {said.once(steps, loaded.id)}" for who, steps in _told(model.owner_steps))
    if model.unverified:
        yield "Not verified:"
        yield "\n".join(f"- {fact}" for fact in model.unverified)


def _sunset(sunset: Sunset) -> str:
    source = f" ([source]({sunset.source}))" if (sunset.source or "").startswith("http") else ""
    return f"- **{sunset.on:%d %B %Y}**: {sunset.what}{source}"


def _authorization(model: IntegrationType) -> str:
    if model.oauth is None:
        return _AUTH[model.auth.method]
    refresh = {"rotating": "rotating refresh token", "static": "refresh token", "none": "no refresh token"}
    return f"OAuth 2, {refresh[model.oauth.refresh]}"


def _oauth(model: IntegrationType) -> str:
    if model.oauth is None:
        return ""
    facts = [f"\nConsent: `{model.oauth.authorization_url}`. Token endpoint: `{model.oauth.token_url}`."]
    if model.oauth.scopes:
        facts.append(f"Scopes: {', '.join(f'`{scope}`' for scope in model.oauth.scopes)}.")
    if model.oauth.account_param:
        facts.append(f"The answer names the account in `{model.oauth.account_param}`.")
    if model.oauth.long_lived:
        grant = model.oauth.long_lived.grant_type
        facts.append(f"The code's token is traded for a long-lived one (`{grant}`).")
    if model.oauth.access_token_lifetime:
        facts.append(f"An access token lives {_duration(model.oauth.access_token_lifetime)}.")
    if model.oauth.refresh_token_lifetime:
        facts.append(f"The permission behind it: {model.oauth.refresh_token_lifetime}.")
    return " ".join(facts)


def _probed(model: IntegrationType) -> str:
    probe = model.probe
    if isinstance(probe, HttpProbe):
        return f"`{probe.method} {probe.url.replace('{base_url}', model.base_url or '{base_url}')}`"
    if isinstance(probe, DatabaseProbe):
        through = ", also through SSH" if probe.tunnel == "optional" else ""
        engines = ", ".join(driver.value for driver in probe.drivers)
        return f"login and the right to read each declared table ({engines}{through})"
    return "nothing of its own"


def _price(model: IntegrationType) -> str:
    return (model.probe.cost or "one request") if model.probe is not None else "nothing"


def _cost(model: IntegrationType) -> str:
    seconds = model.probe.min_interval if model.probe is not None else 0
    return _price(model) + (f"; a proof is trusted for {_duration(seconds)}" if seconds else "")


def _duration(seconds: int) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {name}s" if count != 1 else f"1 {name}"
    return f"{seconds} seconds"


def _fields(model: IntegrationType) -> str:
    return _table(
        ("field of the connection", "what it is", "example"),
        (
            (
                f"`{name}`" + ("" if field.required else " (optional)"),
                ": ".join(filter(None, (field.title, field.help))) + (" (secret)" if field.secret else ""),
                f"`{field.example}`" if field.example else "",
            )
            for name, field in model.connection.items()
        ),
    )


def _resources(resources: Sequence[Resource]) -> str:
    return _table(
        ("resource", "request", "pages", "what is new by"),
        (
            (
                f"`{each.name}`",
                f"`{each.method} {each.url}`",
                _pages(each.paging),
                f"`{each.watermark}`" if each.watermark else "all of it each time",
            )
            for each in resources
        ),
    )


def _pages(paging: Paging) -> str:
    return _PAGES[paging.style].format(path=paging.path, param=paging.param)


def _rules(rules: Sequence[Rule]) -> str:
    return _table(
        ("answer", "what it means", "cause", "verdict"),
        (
            (
                f"`{rule.id}`" + ("" if rule.confidence == "verified" else f" *{rule.confidence}*"),
                rule.because,
                f"`{rule.cause.value}`" + ("?" if rule.certainty.value == "ambiguous" else ""),
                f"`{VERDICT_OF[rule.cause].value}`",
            )
            for rule in rules
        ),
    )


def _told(steps: OwnerSteps) -> Iterator[tuple[str, str]]:
    """Give the steps, each with whom they are for; causes with the same ones together."""
    causes: dict[tuple[str, bool], list[str]] = {}
    for where, repairs in (("", steps.repair), (" at the SSH server", steps.tunnel_repair)):
        for cause, repair in repairs.items():
            named = causes.setdefault((" ".join(repair.steps), repair.reconnect), [])
            named.append(f"`{cause.value}`{where}")
    for (first, reconnect), named in causes.items():
        yield ", ".join(named) + ("" if reconnect else " (nothing has to be entered again)"), first
    if steps.airflow == steps.mbi:
        yield "Then", " ".join(steps.mbi)
        return
    yield "Then, where Airflow holds the credential", " ".join(steps.airflow)
    yield "Or where MBI holds it", " ".join(steps.mbi)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table, or nothing where there are no rows."""
    written = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    if not written:
        return ""
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *written])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_text(), encoding="utf-8")
