"""Check each integration's authorization before its extraction runs; tell its owner when it is lost."""
