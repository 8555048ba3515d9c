"""The owner's page: server-rendered, for a phone, without JavaScript and without an Airflow login."""
