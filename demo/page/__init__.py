"""One page that drives the whole demo."""

from __future__ import annotations

from demo.page.app import create_page
from demo.page.board import Board
from demo.page.panels import database_panel, shopdemo_panel

__all__ = ["Board", "create_page", "database_panel", "shopdemo_panel"]
