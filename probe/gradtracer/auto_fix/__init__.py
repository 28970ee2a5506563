"""Interventions in a running training."""
