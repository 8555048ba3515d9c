"""The mailbox as one looks at it: a list, one mail, and the same as JSON for tests."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from demo.mailbox.message import Mail
from demo.mailbox.server import Mailbox

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: cid:"
"""For the mail's own HTML: it may look as it likes, but neither run nor fetch anything."""


def create_pages(mailbox: Mailbox) -> Blueprint:
    """Build the routes under ``/mailbox``."""
    pages = Blueprint("mailbox", __name__, url_prefix="/mailbox", template_folder="templates")

    @pages.get("")
    def listing() -> str:
        return render_template("mailbox.html", mails=mailbox.messages[::-1], refusing=mailbox.refusing)

    @pages.get("/messages.json")
    def as_json() -> Response:
        return jsonify([mail.as_json() for mail in mailbox.messages])

    @pages.get("/<int:number>")
    def one(number: int) -> str:
        return render_template("mail.html", mail=_find(mailbox, number), policy=CONTENT_POLICY)

    @pages.post("/clear")
    def clear() -> BaseResponse:
        mailbox.clear()
        return redirect(url_for("mailbox.listing"))

    return pages


def _find(mailbox: Mailbox, number: int) -> Mail:
    found = [mail for mail in mailbox.messages if mail.number == number]
    if not found:
        abort(404)
    return found[0]
