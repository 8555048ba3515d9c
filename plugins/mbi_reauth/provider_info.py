"""What the package tells Airflow's provider manager; declarations only."""

from __future__ import annotations

from typing import Any


def _field(
    label: str, description: str, *, secret: bool = False, example: str | None = None
) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": ["string", "null"]}
    if secret:
        kind["format"] = "password"
    if example is not None:
        kind["examples"] = [example]
    return {"label": label, "description": description, "schema": kind}


_CONNECTION_FIELDS = {
    "integration_type": _field(
        "Integration type",
        "Its name in the catalogue. The registry names it too; here it serves the test button.",
        example="zendesk",
    ),
    "account": _field("Account", "The account that must stay the same, as the third party writes it."),
    "client_id": _field("Client ID", "Of the OAuth client registered with the third party."),
    "client_secret": _field("Client secret", "Of that client.", secret=True),
    "refresh_token": _field(
        "Refresh token", "From the owner's consent. The plugin's app writes it and renews it.", secret=True
    ),
    "access_token": _field("Access token", "Short-lived; the plugin's app renews it.", secret=True),
    "expires_at": _field(
        "Access token expires at", "In UTC; written by the plugin's app.", example="2027-03-01T12:00:00Z"
    ),
    "token_url": _field("Token URL", "Only where it is not the integration type's own."),
    "subdomain": _field("Subdomain", "Zendesk: what stands before .zendesk.com.", example="example"),
    "customer_id": _field("Customer ID", "Google Ads: its ten digits.", example="1234567890"),
    "login_customer_id": _field(
        "Manager's customer ID",
        "Google Ads: without a manager account, the customer ID again.",
        example="1234567890",
    ),
    "company": _field("Global company ID", "Adobe Analytics.", example="example0"),
    "object": _field("Object", "Salesforce and Stripe: what the check reads.", example="Opportunity"),
    "query_host": _field("Query host", "Mixpanel, in the EU or in India.", example="eu.mixpanel.com"),
    "figure_id": _field("Figure ID", "MBI: the report that tells how fresh a table is.", example="360531"),
    "time_zone": _field("Time zone", "MBI: of the account or its tables.", example="America/New_York"),
    "max_age_hours": _field("Oldest allowed", "MBI: hours since its last update.", example="26"),
}


def get_provider_info() -> dict[str, Any]:
    """Provider metadata in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "mbi-reauth",
        "name": "MBI re-authorization",
        "description": "Checks integrations' authorization before their extraction runs.",
        "versions": ["0.1.0"],
        "connection-types": [
            {
                "connection-type": "mbireauth",
                "hook-class-name": "mbi_reauth.hooks.integration.IntegrationHook",
                "hook-name": "MBI integration",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {
                        "host": "Base URL",
                        "login": "Login",
                        "password": "Password, API key or token",
                    },
                    "placeholders": {
                        "host": "only where it is not the usual one, like https://shop.example.com",
                    },
                },
                "conn-fields": _CONNECTION_FIELDS,
            }
        ],
        "db-managers": ["mbi_reauth.models.db_manager.MbiReauthDBManager"],
        "config": {
            "mbi_reauth": {
                "description": "Authorization checks in front of extraction DAGs.",
                "options": {
                    "registry": {
                        "description": "Path of the registry; empty: integrations.yaml beside the DAG file.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/dags/integrations.yaml",
                        "default": "",
                    },
                    "catalogue_folder": {
                        "description": "A folder with further integration types, one YAML file each.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/integration_types",
                        "default": "",
                    },
                    "data_folder": {
                        "description": "Where extracted rows are landed: a folder's URL, or an object store's"
                        " with its Airflow connection. Empty: the folder data in AIRFLOW_HOME.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@bucket/mbi",
                        "default": "",
                    },
                    "smtp_conn_id": {
                        "description": "The Airflow connection that emails to owners are sent through.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": None,
                        "default": "smtp_default",
                    },
                    "max_age": {
                        "description": "Seconds for which a gate trusts the last proof instead of probing.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "0",
                        "default": "60",
                    },
                    "sweep_schedule": {
                        "description": "When mbi_authorization_sweep checks all integrations, as a cron"
                        " expression. Empty: only when somebody starts it.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "*/30 * * * *",
                        "default": "*/15 * * * *",
                    },
                    "sweep_shard_size": {
                        "description": "How many integrations one task of the sweep checks. Those whose type"
                        " has one host stay together, however many there are.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": None,
                        "default": "100",
                    },
                    "sweep_checks": {
                        "description": "How many integrations one task of the sweep checks at once;"
                        " no more than 16 of them databases.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": None,
                        "default": "16",
                    },
                    "sweep_checks_per_host": {
                        "description": "How many of them may ask one host at once.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": None,
                        "default": "4",
                    },
                    "sweep_spread": {
                        "description": "Seconds over which a task of the sweep begins its checks, at random.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "0",
                        "default": "30",
                    },
                    "shadow": {
                        "description": "Only report: no gate blocks, nobody is emailed. What would have been"
                        " blocked is counted.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    },
                    "engineer_email": {
                        "description": "Where engineers are written to, separated by commas: a wrong set-up,"
                        " a lasting outage, an API that will be retired. Empty: nowhere.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "data-engineers@example.com",
                        "default": "",
                    },
                    "reminder_days": {
                        "description": "How many days after the first email an owner is reminded. Empty:"
                        " never.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "2,5",
                        "default": "1,3,7",
                    },
                    "quiet_hours": {
                        "description": "When owners get no reminder or warning, by their own clock. Empty: at"
                        " no time.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "18:00-09:00",
                        "default": "20:00-08:00",
                    },
                    "resume_batch": {
                        "description": "How many blocked runs are resumed at once when an authorization"
                        " works again; every 15 seconds as many more.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": None,
                        "default": "25",
                    },
                    "require_login": {
                        "description": "Whether the page that an owner's email leads to wants an Airflow"
                        " login and the right to change the connection; else the link is enough.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    },
                    "contact": {
                        "description": "Whom an owner may ask, named in every email.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "the data team, data@example.com",
                        "default": "your data team",
                    },
                    "app_url": {
                        "description": "Where tasks reach the app, if not beside the execution API.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "http://api-server:8080/mbi-reauth",
                        "default": "",
                    },
                },
            }
        },
    }
