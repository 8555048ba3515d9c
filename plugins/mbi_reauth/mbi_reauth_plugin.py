"""The one file that Airflow's plugins-folder loader executes (see ``.airflowignore`` beside it).

An installed package is registered by its entry point; then this file registers nothing, because a second
plugin of the same name would make Airflow drop the plugins that come after it.
"""

from __future__ import annotations

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="mbi_reauth"):
    from mbi_reauth.airflow_plugin import MbiReauthPlugin  # noqa: F401
