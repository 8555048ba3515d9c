"""The key with which tasks call the app: an Airflow connection that the app makes for itself.

Tasks have no credential of Airflow's for a plugin's endpoints. They can read connections, so the key is one;
deleting it in Airflow replaces it at the next call.
"""

from __future__ import annotations

import hmac
import logging
import secrets

from sqlalchemy.exc import IntegrityError

from mbi_reauth.models.metadata_db import create_connection, find_credential, transact
from mbi_reauth.settings import API_CONN_ID

log = logging.getLogger(__name__)

_DESCRIPTION = (
    "The key with which tasks call the mbi_reauth app. Delete it to replace it; it comes back by itself."
)


def ensure_key() -> str:
    """Return the key; make one if there is none, whichever worker of the API server is first."""
    found = find_credential(API_CONN_ID)
    if found is None:
        _create()
        found = find_credential(API_CONN_ID)
    return found.credential.password if found is not None else ""


def is_key(candidate: str) -> bool:
    """Compare with the stored key in constant time (CWE-208); an empty key admits nobody."""
    key = ensure_key()
    return bool(key) and hmac.compare_digest(candidate.encode(), key.encode())


def _create() -> None:
    key = secrets.token_urlsafe(32)
    try:
        transact(
            lambda session: create_connection(
                session, conn_id=API_CONN_ID, password=key, description=_DESCRIPTION
            ),
            attempts=1,
        )
    except IntegrityError:
        return  # another worker of the API server was quicker; its key is the one that counts
    log.info("Created the Airflow connection %s, the key with which tasks call the app", API_CONN_ID)
