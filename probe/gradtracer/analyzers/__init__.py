"""Trackers: what a user attaches to a layer."""
