"""The addresses of the app: declarations, each with one call."""
