"""A WSGI application on a loopback port, in threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
_OWN_NAMES = {LOOPBACK, "localhost"}


class _SilentHandler(WSGIRequestHandler):
    """Without an access log: its lines would carry query strings such as authorization codes."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""


class WebServer:
    """Serve an application until :meth:`stop`; port 0 takes a free one."""

    def __init__(self, app: WSGIApplication, port: int = 0) -> None:
        self._server = make_server(
            LOOPBACK, port, _only_as_loopback(app), threaded=True, request_handler=_SilentHandler
        )
        self._server.daemon_threads = True  # type: ignore[attr-defined]  # a hung request must not hold the exit
        self._server.block_on_close = False  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.port: int = self._server.server_port

    @property
    def url(self) -> str:
        """The address, without a trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _only_as_loopback(app: WSGIApplication) -> WSGIApplication:
    """Refuse other host names, so that no web page gets in through a name of its own (DNS rebinding)."""

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if host not in _OWN_NAMES:
            start_response("421 Misdirected Request", [("Content-Type", "text/plain")])
            return [b"Ask for this server as 127.0.0.1 or localhost.\n"]
        return app(environ, start_response)

    return guarded
