"""The owner's pages: the one that an email leads to, the form, the way back from consent, and the outcome."""

from __future__ import annotations

from functools import partial

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from mbi_reauth.api import pages
from mbi_reauth.api.dependencies import Outside
from mbi_reauth.api.patience import within
from mbi_reauth.api.services import links, reauthorization
from mbi_reauth.api.services.links import Link
from mbi_reauth.api.services.reauthorization import VERIFYING, Ended, Form
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.api.visitors import AVisitor, PageError, PageRoute, Posted
from mbi_reauth.core.reauthorization import Way
from mbi_reauth.web.views import Message

router = APIRouter(route_class=PageRoute)


def _link(token: str, outside: Surroundings) -> Link:
    link = links.read(token, now=outside.now())
    if link is None:
        raise PageError(Message.NO_SUCH_LINK)
    return link


@router.api_route("/reauthorize/{token:path}", methods=["GET", "HEAD"])
def overview(token: str, request: Request, visitor: AVisitor, outside: Outside) -> Response:
    """Show what the link is about; however often, and by whatever scanner, nothing is changed."""
    case = reauthorization.look_up(_link(token, outside), visitor, outside)
    if case is None:
        raise PageError(Message.NO_SUCH_LINK)
    return pages.overview(case, request, outside)


@router.post("/reauthorize/{token:path}")
async def begin(
    token: str, request: Request, values: Posted, visitor: AVisitor, outside: Outside
) -> Response:
    """Open an attempt, and send the browser to where it goes on."""
    link = _link(token, outside)
    try:
        way = Way(values.get("way", ""))
    except ValueError:
        raise PageError(Message.REFUSED) from None
    begun = await to_thread.run_sync(reauthorization.begin, link, way, visitor, outside)
    if begun is None:
        return pages.back_to(link, request)
    if begun.address is not None:
        return pages.leaving(begun, begun.address, outside)
    if way is Way.CHECK:
        await within(outside.patience, reauthorization.check(begun, visitor, outside))
    return pages.on_to("credential" if way is Way.FORM else "outcome", begun.secret)


@router.get("/credential")
def form(visitor: AVisitor, outside: Outside) -> Response:
    """Show the form of this browser's attempt."""
    return _form_or_outcome(reauthorization.form(visitor, outside), outside)


@router.post("/credential")
async def submit(values: Posted, visitor: AVisitor, outside: Outside) -> Response:
    """Verify what was entered, and save it if it is accepted."""
    work = to_thread.run_sync(reauthorization.submit, values, visitor, outside, limiter=VERIFYING)
    shown = await within(outside.patience, work)
    return _form_or_outcome(shown, outside) if shown is not None else pages.on_to("outcome")


@router.get("/oauth/{type_id}/callback")
async def callback(type_id: str, request: Request, visitor: AVisitor, outside: Outside) -> Response:
    """Take the authorization server's answer (RFC 6749 section 4.1.2)."""
    params = request.query_params.multi_items()
    work = partial(reauthorization.take_back, type_id, params, visitor, outside)
    await within(outside.patience, to_thread.run_sync(work, limiter=VERIFYING))
    return pages.on_to("outcome")


@router.get("/outcome")
def outcome(visitor: AVisitor, outside: Outside) -> Response:
    """Show how this browser's attempt ended."""
    return pages.outcome(reauthorization.outcome(visitor, outside), outside)


def _form_or_outcome(shown: Form | Ended, outside: Surroundings) -> Response:
    if isinstance(shown, Form):
        return pages.credential_form(shown, outside)
    return pages.on_to("credential", shown.secret) if shown.secret else pages.on_to("outcome")
