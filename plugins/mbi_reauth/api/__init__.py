"""The plugin's app in Airflow's API server."""
