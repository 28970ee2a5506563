"""What every test shares: how Hypothesis runs on a small and busy machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The first text drawn on a fresh machine builds Unicode tables, which takes longer than
# Hypothesis likes; and no test here judges by the clock
settings.register_profile("gradtracer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gradtracer")
