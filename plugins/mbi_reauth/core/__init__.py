"""The pure part: values and functions that import neither Airflow nor an HTTP or SQL library."""
