"""The story of the demo, step by step: for the console and for the page."""

from __future__ import annotations

from dataclasses import dataclass

from demo import standalone
from demo.keys import Keys
from demo.options import Options
from demo.webserver import LOOPBACK


@dataclass(frozen=True)
class Step:
    """One thing to do, and what one sees then."""

    id: str
    title: str
    see: str


STEPS = (
    Step(
        "healthy",
        "Run an extraction",
        "The gate is green, the extraction runs, and new rows land in the data folder.",
    ),
    Step(
        "lost",
        "Lose an authorization",
        "Withdraw Shopdemo's grant, or change the database password. Nothing happens yet.",
    ),
    Step(
        "blocked",
        "Run it again",
        "The gate stops the extraction: both are skipped, and the branch that emails the owner runs.",
    ),
    Step(
        "mailed",
        "Open the mailbox",
        "One email tells the owner what stopped and exactly what to do. Another run sends no second one.",
    ),
    Step(
        "renewed",
        "Press the button in the email",
        "A page opens, without a login. Consent at Shopdemo, or enter the new password: it is on this page.",
    ),
    Step(
        "resumed",
        "Watch the stopped run go on",
        "By itself, within seconds: its gate looks once more, and the extraction lands what was missing.",
    ),
    Step(
        "told",
        "Run the sweep",
        "It checks every integration and sends what is due: the owner hears, once, that it works again.",
    ),
)
SWEEP = "mbi_authorization_sweep"
"""The DAG that checks every integration; in the demo it runs when its button is pressed."""
ALSO = (
    "On the owner's page, also deny the consent, consent as another shop, enter a wrong password, or open the"
    " link again afterwards. Then try an outage of Shopdemo's: nobody is blocked or mailed for it."
)


def told(options: Options, keys: Keys) -> str:
    """Tell where everything is, and what to do, for the console."""
    page = f"http://{LOOPBACK}:{options.ports['demo']}"
    steps = "\n".join(f"  {number}. {step.title}. {step.see}" for number, step in enumerate(STEPS, start=1))
    return f"""
The demo is ready. Everything is on one page:  {page}

  Airflow       {standalone.url(options)}   (user {standalone.USER}, password {keys.airflow_password})
  Mailbox       {page}/mailbox
  Third party   http://{LOOPBACK}:{options.ports["shop"]}
  Landed rows   {options.home / "data"}

{steps}
  {ALSO}

Ctrl-C stops everything. `make demo ARGS=--fresh` starts from nothing.
"""
