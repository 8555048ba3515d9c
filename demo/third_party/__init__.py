"""Shopdemo, a make-believe third party with a real OAuth 2 authorization server and an API of orders."""

from __future__ import annotations

from demo.third_party.server import GRANT_LIVES, ThirdParty
from demo.third_party.store import ACCOUNTS
from demo.third_party.switches import Switch

__all__ = ["ACCOUNTS", "GRANT_LIVES", "Switch", "ThirdParty"]
