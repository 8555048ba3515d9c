"""What the app does, one module a subject; they hold the transactions."""
