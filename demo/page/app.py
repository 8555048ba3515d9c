"""The routes of the demo page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from flask import Flask, Response, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from demo import standalone
from demo.airflow_client import AirflowError
from demo.mailbox.pages import create_pages
from demo.options import Options
from demo.page.board import Board
from demo.page.panels import OWNER, Action, Panel
from demo.story import ALSO, STEPS, SWEEP
from demo.webserver import LOOPBACK


def create_page(board: Board, options: Options) -> Flask:
    """Build the application: the page, its buttons, and the mailbox."""
    app = Flask(__name__)
    app.register_blueprint(create_pages(board.mailbox))
    app.before_request(_refuse_other_sites)
    app.after_request(_protect)
    app.add_template_filter(_clock, "clock")
    facts: dict[str, Any] = {
        "airflow_url": board.client.url,
        "airflow_user": standalone.USER,
        "also": ALSO,
        "board": board,
        "data": options.home / "data",
        "shop_url": f"http://{LOOPBACK}:{options.ports['shop']}",
        "steps": STEPS,
        "sweep": SWEEP,
    }

    @app.get("/")
    def index() -> str:
        return render_template("index.html", snapshot=board.snapshot(), **facts)

    @app.get("/live")
    def live() -> str:
        return render_template("live.html", snapshot=board.snapshot(), **facts)

    _add_buttons(app, board)
    return app


def _add_buttons(app: Flask, board: Board) -> None:
    @app.post("/integrations/<panel_id>/switch/<name>")
    def switch(panel_id: str, name: str) -> Response | BaseResponse:
        action = _panel(board, panel_id).action(name) or abort(404)
        if action.group == OWNER:
            board.lost(panel_id)
        return _answer(partial(_flip, action))

    @app.post("/integrations/<panel_id>/run")
    def run(panel_id: str) -> Response | BaseResponse:
        panel = _panel(board, panel_id)
        return _answer(lambda: f"Started {board.client.trigger(panel.dag_id)}.")

    @app.post("/integrations/<panel_id>/put-right")
    def put_right(panel_id: str) -> Response | BaseResponse:
        return _answer(_panel(board, panel_id).put_right)

    @app.post("/sweep")
    def sweep() -> Response | BaseResponse:
        return _answer(lambda: f"Started {board.client.trigger(SWEEP)}.")

    @app.post("/mail/refuse")
    def refuse() -> Response | BaseResponse:
        board.mailbox.refuse(not board.mailbox.refusing)
        said = "Mail is refused with 451 from now on." if board.mailbox.refusing else "Mail is taken again."
        return _answer(lambda: said)


def _panel(board: Board, panel_id: str) -> Panel:
    return board.panels.get(panel_id) or abort(404)


def _flip(action: Action) -> str:
    action.act()
    return f"Done: {action.label.lower()}."


def _answer(act: Callable[[], str]) -> Response | BaseResponse:
    """Act, and say what came of it: as JSON for the page's script, as the page itself without one."""
    try:
        said, status = act(), 200
    except (AirflowError, psycopg.OperationalError) as error:
        said, status = str(error), 502
    if "application/json" in request.headers.get("Accept", ""):
        response = jsonify(said=said)
        response.status_code = status
        return response
    return redirect(url_for("index"), code=303)


def _clock(moment: str) -> str:
    """Show an ISO time as this machine's clock does; the demo and its reader are in the same place."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone().strftime("%H:%M:%S")


def _refuse_other_sites() -> None:
    """Let only this page press its buttons: no other site may do it through the person's browser."""
    if request.method == "GET":
        return
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        abort(403)
    if origin and origin != request.host_url.rstrip("/"):
        abort(403)


def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"
    )
    return response
