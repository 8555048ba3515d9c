"""Composing and sending email."""
