"""How often this process asks about each MBI account, where the app does not count for all processes."""

from __future__ import annotations

import threading

from mbi_reauth.core.mbi import TooSoonError

_LOCK = threading.Lock()
_FREE_AT: dict[tuple[str, str], float] = {}


def take_turn(account: tuple[str, str], seconds: float, *, now: float) -> None:
    """Take the turn to ask about an account, which nobody else in this process has for so many seconds.

    :param account: where MBI is, and the client id
    :param now: by a clock that only goes forward, in seconds
    :raises TooSoonError: somebody has had it less than ``seconds`` ago
    """
    with _LOCK:
        left = _FREE_AT.get(account, now) - now
        if left > 0:
            raise TooSoonError(left)
        _FREE_AT[account] = now + seconds
