"""The demo: a real Airflow, a make-believe third party, a real database and a mailbox, on one machine."""
