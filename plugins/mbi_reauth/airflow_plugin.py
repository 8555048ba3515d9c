"""What the plugin adds to Airflow; declarations only."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from mbi_reauth.settings import API_PREFIX

log = logging.getLogger(__name__)


class MbiReauthPlugin(AirflowPlugin):
    """The app of the API server."""

    name = "mbi_reauth"

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # Airflow only reads it
        """Built only where it is served: tasks and DAG files never import FastAPI for it."""
        try:
            from mbi_reauth.api.app import create_app
        except ImportError as error:
            # The API server must start all the same; gates fail open until the package is there.
            log.exception("mbi_reauth has no app: the package %s is missing, install it", error.name)
            return []
        return [{"app": create_app(), "url_prefix": API_PREFIX, "name": "mbi_reauth"}]
