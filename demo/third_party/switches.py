"""What can go wrong at the third party, each as a switch."""

from __future__ import annotations

from enum import Enum


class Switch(str, Enum):
    """One way of going wrong.

    The first group ends or narrows the grants that exist: only a new grant heals it, as in life. The second
    is a state that lasts until it is switched back.
    """

    EXPIRE_GRANT = "expire_grant"
    REVOKE_GRANT = "revoke_grant"
    NARROW_SCOPES = "narrow_scopes"

    SUSPEND_ACCOUNT = "suspend_account"
    BREAK_CLIENT = "break_client"
    THROTTLE = "throttle"
    GO_DOWN = "go_down"
    HANG = "hang"
    ANSWER_HTML = "answer_html"


GRANT_SWITCHES = frozenset({Switch.EXPIRE_GRANT, Switch.REVOKE_GRANT, Switch.NARROW_SCOPES})
"""Those that act once, on the grants of one account or of all."""
