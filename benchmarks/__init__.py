"""Timings, reported as ratios measured side by side."""
