"""Send messages that we composed ourselves through Airflow's SMTP connection.

``SmtpHook`` (apache-airflow-providers-smtp 3.1 and 3.2) connects, starts TLS and logs in. It composes
HTML-only mail and has no public way to hand over a finished message; an owner's mail has a plain text part,
so this module alone uses the hook's ``_smtp_client``.

Nothing here sends a mail twice. The hook repeats only what comes before a mail: it connects anew,
``retry_limit`` times, while the server hangs up instead of greeting. Its ``send_email_smtp``, which repeats a
whole mail after any error, even when the server may have taken it, is not used. Nor is ``smtplib``'s
``send_message``: it does not tell a connection cut before the mail from one cut after it, and takes a
positive reply other than 250, by which a mail is accepted, for a refusal.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email.message import EmailMessage
from types import TracebackType
from typing import NamedTuple

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from typing_extensions import Self

from mbi_reauth.core.redact import redact
from mbi_reauth.notifications.envelope import Envelope, enclose
from mbi_reauth.notifications.reply import Reply
from mbi_reauth.probes.secret_values import SecretValues

DECIDES_WITHIN = 120.0
"""Seconds that a server may think about a mail that it has in full, unless the connection allows more.

RFC 5321 (section 4.5.3.2.6) asks for ten minutes, since who gives up earlier sends again what was accepted;
but a notification's lease lasts five.
"""

log = logging.getLogger(__name__)

_TROUBLE = (smtplib.SMTPException, OSError)
_UNUSABLE = (*_TROUBLE, AirflowException, AirflowRuntimeError, ValueError, RuntimeError, ImportError)


class MailError(Exception):
    """The message was not accepted, as far as is known, and may be sent again; says what to do about it."""


class NoServerError(MailError):
    """There is no mail server to hand anything over to."""


class UnansweredError(MailError):
    """The mail server has the message and did not say whether it took it."""


class AddressRefusedError(MailError):
    """The mail server refuses the recipient's address itself, for good."""


def send(message: EmailMessage, *, smtp_conn_id: str) -> None:
    """Send one message over a connection of its own, as :meth:`Outgoing.send` does."""
    with Outgoing(smtp_conn_id) as outgoing:
        outgoing.send(message)


class Outgoing:
    """One connection to the mail server for many messages; a context manager.

    It connects at the first message, and anew after an error or when the server has hung up meanwhile. Not
    for two threads at once.
    """

    def __init__(self, smtp_conn_id: str) -> None:
        self._conn_id = smtp_conn_id
        self._line: _Line | None = None

    def send(self, message: EmailMessage) -> None:
        """Send ``message`` to its ``To`` and ``Cc``; ``From`` is set from the connection where it has none.

        Where the server takes it for some recipients only, it is sent, and the others are logged.

        :raises AddressRefusedError: the server refuses every recipient for its address
        :raises MailError: no connection, no sender, no server, or the server refused or hung up
        """
        try:
            line = self._line = self._open()
            refused = _hand_over(line, _enclosed(message, line))
        except BaseException:
            self.close()
            raise
        if refused:
            log.warning("The mail %s went out, but not to %s", message["Message-ID"], _listed(refused))

    def close(self) -> None:
        """Take leave of the server (RFC 5321, section 4.1.1.10)."""
        line, self._line = self._line, None
        if line is not None:
            _hang_up(line.client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> _Line:
        if self._line is not None and not _answers(self._line.client):
            self.close()
        return self._line or _connect(self._conn_id)


class _Line(NamedTuple):
    """A connection on which a mail may begin, and the sender that Airflow's connection names."""

    conn_id: str
    client: smtplib.SMTP
    sender: str | None


def _connect(conn_id: str) -> _Line:
    hook = SmtpHook(smtp_conn_id=conn_id)
    try:
        hook.get_conn()
        client = _client(hook)
        if client is None:
            raise RuntimeError("Airflow's SMTP hook has no client")
        client.ehlo_or_helo_if_needed()
    except _UNUSABLE as error:
        if client := _client(hook):
            _hang_up(client)
        # Without its cause: a server's words may repeat the login, and a codec's error holds the password.
        raise NoServerError(
            f"The mail server of the Airflow connection {conn_id!r} cannot be used: {_words(error, hook)}. "
            f"{_advice(error)}"
        ) from None
    return _Line(conn_id, client, hook.from_email)


def _client(hook: SmtpHook) -> smtplib.SMTP | None:
    client = hook._smtp_client  # noqa: SLF001 - see the module's docstring
    return client if isinstance(client, smtplib.SMTP) else None


def _words(error: Exception, hook: SmtpHook) -> str:
    if isinstance(error, UnicodeEncodeError) and error.encoding == "ascii":
        return "its login or password has characters other than ASCII, which Python's client cannot send"
    words = str(error)
    if isinstance(error, smtplib.SMTPResponseException):
        words = f"{error.smtp_code} {_reply(error).words.decode(errors='replace')}"
    return redact(_secrets(hook).hide(words)).rstrip(".")


def _secrets(hook: SmtpHook) -> SecretValues:
    if hook.smtp_connection is None:
        return SecretValues(())
    user, password, token = hook.smtp_user, hook.smtp_password, hook.access_token or ""
    # The longer ones are what SASL sends: PLAIN (RFC 4616) and XOAUTH2.
    sent = (f"\0{user}\0{password}", f"user={user}\1auth=Bearer {token}\1\1")
    return SecretValues((password, token, *sent))


_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (smtplib.SMTPAuthenticationError, "Correct the connection's login and password."),
    (
        smtplib.SMTPNotSupportedError,
        "If it has no STARTTLS set the extra 'disable_tls' to true; if it has no AUTH clear the login.",
    ),
    (
        ssl.SSLCertVerificationError,
        "Name the server as its certificate does; SSL_CERT_FILE in the environment names an authority.",
    ),
    (
        ssl.SSLError,
        "For port 465 set the extra 'disable_tls' to true, for port 587 or 25 the extra 'disable_ssl'.",
    ),
    (Exception, "Check the connection's host, port, login and extras."),
)


def _advice(error: Exception) -> str:
    return next(advice for kind, advice in _ADVICE if isinstance(error, kind))


def _answers(client: smtplib.SMTP) -> bool:
    try:
        return Reply(*client.noop()).accepted
    except _TROUBLE:
        return False


def _hang_up(client: smtplib.SMTP) -> None:
    with suppress(*_TROUBLE):
        try:
            client.quit()
        finally:
            client.close()


def _enclosed(message: EmailMessage, line: _Line) -> Envelope:
    if "From" not in message and not line.sender:
        raise MailError(
            f"The Airflow connection {line.conn_id!r} names no sender: set its extra 'from_email'"
        )
    try:
        if "From" not in message:
            message["From"] = line.sender
        return enclose(message, line.client.esmtp_features)
    except ValueError as error:
        raise MailError(f"The mail {message['Message-ID']} cannot be sent: {error}.") from error


def _hand_over(line: _Line, mail: Envelope) -> Mapping[str, Reply]:
    """Do one mail transaction (RFC 5321, section 3.3); return the recipients that were refused."""
    try:
        _name_sender(line, mail)
        refused = _name_recipients(line, mail)
    except _TROUBLE as error:
        raise MailError(f"The mail server hung up; the mail was not sent: {error}") from error
    _hand_over_content(line, mail.content)
    return refused


def _name_sender(line: _Line, mail: Envelope) -> None:
    reply = Reply(*line.client.mail(mail.sender, mail.options))
    if not reply.accepted:
        raise MailError(
            f"The mail server takes no mail from {mail.sender}: {reply}. If it stays so, correct the login "
            f"of the Airflow connection {line.conn_id!r}, or its extra 'from_email'."
        )


def _name_recipients(line: _Line, mail: Envelope) -> Mapping[str, Reply]:
    replies = {address: Reply(*line.client.rcpt(address)) for address in mail.recipients}
    refused = {address: reply for address, reply in replies.items() if not reply.accepted}
    if len(refused) < len(replies):
        return refused
    if all(reply.refuses_address for reply in refused.values()):
        raise AddressRefusedError(
            f"The mail server knows no such address: {_listed(refused)}. Correct it in the registry."
        )
    raise MailError(
        f"The mail server refuses the recipient: {_listed(refused)}. If it stays so, correct the login of "
        f"the Airflow connection {line.conn_id!r}, or ask who runs that server."
    )


def _hand_over_content(line: _Line, content: bytes) -> None:
    client = line.client
    _wait_for_replies(client, max(DECIDES_WITHIN, client.timeout))
    try:
        reply = Reply(*client.data(content))
    except smtplib.SMTPDataError as error:
        raise _not_taken(_reply(error)) from error
    except _TROUBLE as error:
        raise _unanswered(error) from error
    if 400 <= reply.code < 600:
        raise _not_taken(reply)
    if not reply.accepted:
        raise _unanswered(reply)
    _wait_for_replies(client, client.timeout)


def _wait_for_replies(client: smtplib.SMTP, seconds: float) -> None:
    if client.sock is not None:
        client.sock.settimeout(seconds)


def _not_taken(reply: Reply) -> MailError:
    return MailError(
        f"The mail server does not take the mail: {reply}. If it stays so, ask who runs that server."
    )


def _unanswered(words: object) -> UnansweredError:
    return UnansweredError(
        f"The mail server did not say whether it took the mail, which may have gone out: {words}. It is sent "
        "again with the same Message-ID."
    )


def _reply(error: smtplib.SMTPResponseException) -> Reply:
    words = error.smtp_error
    return Reply(error.smtp_code, words if isinstance(words, bytes) else words.encode())


def _listed(refused: Mapping[str, Reply]) -> str:
    return ", ".join(f"{address} ({reply})" for address, reply in refused.items())
