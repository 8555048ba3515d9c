"""The plugin's own section of Airflow's configuration, ``[mbi_reauth]``."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk.configuration import conf

SECTION = "mbi_reauth"
API_PREFIX = "/mbi-reauth"
API_CONN_ID = "mbi_reauth_api"


def registry_path() -> Path | None:
    """Where the registry is, if the configuration says so."""
    path = conf.get(SECTION, "registry", fallback="")
    return Path(path) if path else None


def dags_folder() -> Path:
    """Airflow's DAGs folder."""
    return Path(conf.get("core", "dags_folder"))


def catalogue_folder() -> Path | None:
    """A folder of further integration types, if the configuration names one."""
    path = conf.get(SECTION, "catalogue_folder", fallback="")
    return Path(path) if path else None


def data_folder() -> str:
    """Where extracted rows are landed, as a URL that ``ObjectStoragePath`` takes (``s3://conn@bucket/mbi``)."""
    folder = str(conf.get(SECTION, "data_folder", fallback=""))
    if folder:
        return folder.rstrip("/")
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return (home / "data").absolute().as_uri()


def smtp_conn_id() -> str:
    """The Airflow connection that mail is sent through."""
    return str(conf.get(SECTION, "smtp_conn_id", fallback="smtp_default"))


def max_age() -> float:
    """Seconds for which a gate trusts the last proof instead of asking the third party again."""
    return float(conf.getfloat(SECTION, "max_age", fallback=60.0))


def sweep_schedule() -> str | None:
    """When the sweep runs, as a cron expression; None: only when somebody starts it."""
    return str(conf.get(SECTION, "sweep_schedule", fallback="*/15 * * * *")).strip() or None


def sweep_shard_size() -> int:
    """How many integrations one task of the sweep checks; more where they share a host."""
    return int(conf.getint(SECTION, "sweep_shard_size", fallback=100))


def sweep_checks() -> int:
    """How many integrations one task of the sweep checks at once."""
    return int(conf.getint(SECTION, "sweep_checks", fallback=16))


def sweep_checks_per_host() -> int:
    """How many of them may ask one host at once."""
    return int(conf.getint(SECTION, "sweep_checks_per_host", fallback=4))


def sweep_spread() -> float:
    """Seconds over which a task of the sweep begins its checks, at random."""
    return float(conf.getfloat(SECTION, "sweep_spread", fallback=30.0))


def shadow() -> bool:
    """Whether the whole plugin only reports: no gate blocks, nobody is emailed."""
    return bool(conf.getboolean(SECTION, "shadow", fallback=False))


def engineer_emails() -> tuple[str, ...]:
    """Where engineers are written to; empty: nowhere."""
    listed = str(conf.get(SECTION, "engineer_email", fallback=""))
    return tuple(address.strip() for address in listed.replace(";", ",").split(",") if address.strip())


def reminder_days() -> tuple[int, ...]:
    """How many days after the first email an owner is reminded; ascending.

    :raises ValueError: it is no list of days
    """
    listed = str(conf.get(SECTION, "reminder_days", fallback="1,3,7"))
    days = [each.strip() for each in listed.split(",") if each.strip()]
    if not all(each.isdecimal() and int(each) > 0 for each in days):
        raise ValueError(f"[mbi_reauth] reminder_days: write whole days such as 1,3,7 instead of {listed!r}")
    return tuple(sorted({int(each) for each in days}))


def quiet_hours() -> str:
    """When owners get no reminder or warning, by their own clock, as ``20:00-08:00``; empty: at no time."""
    return str(conf.get(SECTION, "quiet_hours", fallback="20:00-08:00")).strip()


def default_time_zone() -> str:
    """Airflow's own time zone, as an IANA name."""
    name = str(conf.get("core", "default_timezone", fallback="utc"))
    return "UTC" if name.lower() in ("utc", "system") else name


def resume_batch() -> int:
    """How many blocked runs are resumed at once, every quarter of a minute."""
    return int(conf.getint(SECTION, "resume_batch", fallback=25))


def require_login() -> bool:
    """Whether the owner's page wants an Airflow login and the right to change the connection."""
    return bool(conf.getboolean(SECTION, "require_login", fallback=False))


def contact() -> str:
    """Whom an owner may ask, as one line of text for emails."""
    return str(conf.get(SECTION, "contact", fallback="your data team"))


def base_url() -> str:
    """Airflow's own address as people reach it, without a trailing slash."""
    return str(conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/")


def app_url() -> str:
    """The address at which tasks reach the plugin's app.

    Tasks already reach the API server under ``[core] execution_api_server_url``; the app is beside it.
    """
    override = conf.get(SECTION, "app_url", fallback="")
    if override:
        return str(override).rstrip("/")
    execution = conf.get("core", "execution_api_server_url", fallback="")
    server = str(execution).rstrip("/").removesuffix("/execution") if execution else base_url()
    return server + API_PREFIX
