"""What the page offers for each integration: its state, its switches, and putting it right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from demo import connections
from demo.airflow_client import AirflowClient
from demo.source_database import READER, SourceDatabase
from demo.third_party import GRANT_LIVES, Switch, ThirdParty


@dataclass(frozen=True)
class Action:
    """One switch: ``owner`` tells whether only the owner can mend it, or it is an outage that passes."""

    name: str
    label: str
    expect: str
    group: str
    act: Callable[[], None]


@dataclass(frozen=True)
class State:
    """How the third party stands at this moment, in a few words.

    ``new_password`` is what the owner would hear from their administrator, with ``user`` whose it is.
    """

    good: bool
    words: str
    on: frozenset[str] = frozenset()
    user: str = ""
    new_password: str | None = None


@dataclass(frozen=True)
class Panel:
    """One integration on the page; ``renew`` is what its owner does on the page that the email leads to."""

    id: str
    title: str
    kind: str
    owner: str
    renew: str
    actions: Sequence[Action]
    state: Callable[[], State]
    put_right: Callable[[], str]

    @property
    def dag_id(self) -> str:
        """The DAG that extracts it."""
        return f"mbi_extract_{self.id}"

    def action(self, name: str) -> Action | None:
        """Find a switch by name."""
        return next((action for action in self.actions if action.name == name), None)


OWNER, OUTAGE, ENGINEER = "The owner must act", "It passes: nobody is blocked", "An engineer must act"

_SHOP_SWITCHES = (
    (Switch.REVOKE_GRANT, "Withdraw the grant", "The shop owner removes the application", OWNER),
    (Switch.EXPIRE_GRANT, "Let the grant expire", "The authorization has run out", OWNER),
    (Switch.NARROW_SCOPES, "Take the orders scope", "The login works, orders may not be read", OWNER),
    (Switch.SUSPEND_ACCOUNT, "Suspend the account", "The API answers account_suspended", OWNER),
    (Switch.GO_DOWN, "Go down", "Everything answers 503", OUTAGE),
    (Switch.THROTTLE, "Throttle", "Everything answers 429 with Retry-After", OUTAGE),
    (Switch.HANG, "Hang", "Answers take a minute", OUTAGE),
    (Switch.ANSWER_HTML, "Firewall page", "A 403 in HTML, from a firewall in front", OUTAGE),
    (Switch.BREAK_CLIENT, "Forget our client", "The token endpoint answers invalid_client", ENGINEER),
)

_WORDS = {
    Switch.SUSPEND_ACCOUNT: "account suspended",
    Switch.GO_DOWN: "down",
    Switch.THROTTLE: "throttling",
    Switch.HANG: "hanging",
    Switch.ANSWER_HTML: "behind a firewall page",
    Switch.BREAK_CLIENT: "client forgotten",
}


def shopdemo_panel(third_party: ThirdParty, client: AirflowClient) -> Panel:
    """Offer the third party's switches; putting right is a new consent, saved as an engineer would."""

    def state() -> State:
        grant = third_party.grant_state(connections.ACCOUNT)
        switches = third_party.switches.copy()  # requests in other threads change it
        on = frozenset(switch.value for switch in switches)
        faults = sorted(_WORDS[switch] for switch in switches)
        words = [] if faults and grant == GRANT_LIVES else [grant]
        return State(good=grant == GRANT_LIVES and not on, words=", ".join([*words, *faults]), on=on)

    def put_right() -> str:
        third_party.normal()
        connection = connections.shopdemo(third_party)
        client.save_connection(connections.as_request_body(connections.SHOPDEMO, connection))
        return "Shopdemo is back to normal, and a new grant is saved in the Airflow connection."

    return Panel(
        id=connections.SHOPDEMO,
        title="Shopdemo orders",
        kind="OAuth 2 API",
        owner="dana@example.com",
        renew="consent at Shopdemo, as Northside Goods; or deny it, or consent as another shop",
        actions=[
            Action(switch.value, label, expect, group, _toggle(third_party, switch))
            for switch, label, expect, group in _SHOP_SWITCHES
        ],
        state=state,
        put_right=put_right,
    )


def _toggle(third_party: ThirdParty, switch: Switch) -> Callable[[], None]:
    return lambda: third_party.switch(
        switch, on=switch not in third_party.switches, account=connections.ACCOUNT
    )


_DATABASE_SWITCHES = (
    ("password changed", "Change the password", "Logins are refused", OWNER, SourceDatabase.change_password),
    ("no SELECT", "Take the SELECT right", "Logging in works", OWNER, SourceDatabase.revoke_select),
    ("login disabled", "Disable the login", "The role may not log in", OWNER, SourceDatabase.disable_login),
    ("no free connection", "Exhaust connections", "It is too busy", OUTAGE, SourceDatabase.exhaust),
)


def database_panel(database: SourceDatabase, client: AirflowClient) -> Panel:
    """Offer the database's switches; putting right restores the login, and Airflow's connection with it."""

    def put_right() -> str:
        database.restore()
        connection = connections.shop_database(database)
        client.save_connection(connections.as_request_body(connections.SHOP_DATABASE, connection))
        return "The reader's password, login and rights are what the Airflow connection expects."

    def state() -> State:
        faults = database.faults()
        return State(
            good=not faults,
            words=", ".join(faults) or "login works",
            on=frozenset(faults),
            user=READER,
            new_password=database.new_password,
        )

    return Panel(
        id=connections.SHOP_DATABASE,
        title="Shop database",
        kind="PostgreSQL",
        owner="robin@example.com",
        renew="enter the new password, in Dutch, for that is Robin's language",
        actions=[
            Action(name, label, expect, group, partial(act, database))
            for name, label, expect, group, act in _DATABASE_SWITCHES
        ],
        state=state,
        put_right=put_right,
    )
