"""Send a message that we composed ourselves through Airflow's SMTP connection.

``SmtpHook`` (apache-airflow-providers-smtp 3.1 and 3.2) composes HTML-only mail and has no public way to
hand over a finished message; an owner's mail has a plain text part, so this module alone uses the hook's
``_smtp_client``.
"""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk.exceptions import AirflowException


class MailError(Exception):
    """The message was not accepted; says what to do about it."""


def send(message: EmailMessage, *, smtp_conn_id: str) -> None:
    """Send ``message``, whose ``From`` is set from the connection where it has none.

    :raises MailError: no connection, no sender, no server, or the server refused
    """
    try:
        with SmtpHook(smtp_conn_id=smtp_conn_id) as hook:
            if "From" not in message:
                message["From"] = _sender(hook, smtp_conn_id)
            client = hook._smtp_client  # noqa: SLF001 - see the module's docstring
            if client is None:
                raise MailError(f"Airflow's SMTP hook has no client for connection {smtp_conn_id!r}")
            client.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        refused = ", ".join(f"{address} ({code})" for address, (code, _) in error.recipients.items())
        raise MailError(f"The mail server refuses the recipient: {refused}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(
            f"The mail server of connection {smtp_conn_id!r} did not accept the mail: {error}"
        ) from error
    except AirflowException as error:
        raise MailError(f"{error} Check the Airflow connection {smtp_conn_id!r}.") from error


def _sender(hook: SmtpHook, smtp_conn_id: str) -> str:
    if not hook.from_email:
        raise MailError(
            f"The Airflow connection {smtp_conn_id!r} names no sender: set its extra 'from_email'"
        )
    return str(hook.from_email)
