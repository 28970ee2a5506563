r"""How much of a row's gradient is signal: its posterior, with a prior from rows of like exposure.

At each exposure a row r shows a gradient g = mu + e, with noise E|e|^2 = v. Of all s g the nearest
to mu in the mean of squares is s = |mu|^2 / (|mu|^2 + v), Wiener's factor (James and Stein, 4th
Berkeley Symposium, 1961, shrink by an estimate of it). It depends on the row's signal to noise
q = |mu|^2 / v alone: s = q / (1 + q).

Of both the observer keeps moving moments over the row's exposures (`statistics/noise_energy.py`):
V estimates v, and E - V estimates |mu|^2, since for neighbours a, b both equal averages of
|a - b|^2 / 2 and a.b. From some dozen exposures these are poor estimates, so each is drawn towards
its stratum, rows of like exposure (half octaves), by as much as the strata themselves say:

- log V: normal with variance trigamma(d/2) for d degrees of freedom. What the stratum spreads
  beyond that is the prior's, trigamma(d0/2), and the posterior mean is
  v~ = (d0 v0 + d V) / (d0 + d) (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004, section 4; moments of
  section 6.2).
- q: (E - V) / v~ has a sampling variance of about (1 + 2q) / d. What the stratum spreads beyond
  that is b, and the posterior mean q~ = q0 + b / (b + (1 + 2 q0) / d) (q - q0) (credibility:
  Buehlmann, ASTIN Bull. 4, 1967; the same as Efron and Morris, JASA 70, 1975, for one variance).

The factor s = q~ / (1 + q~) is held above a floor. Successive pairs share an exposure, so n pairs
of k coordinates count for 2 n k / 3 degrees of freedom (von Neumann, Ann. Math. Stat. 12, 1941).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from gradtracer.auto_fix.hook import UNTOUCHED
from gradtracer.statistics.exposure_strata import exposure_strata
from gradtracer.statistics.zombie_rows import MIN_EXPOSURES

Figures = npt.NDArray[np.floating]
Array = npt.NDArray[np.float64]

_COORDINATES = 4
_MAX_PAIRS = 31
_PAIR_SHARE = 2 / 3


def ready_rows(
    exposures: npt.NDArray[np.integer], energy: Figures, noise: Figures
) -> npt.NDArray[np.bool_]:
    """`[N]` bool: rows followed often enough (8 exposures) with finite moments above zero."""
    return (exposures >= MIN_EXPOSURES) & (noise > 0) & np.isfinite(energy) & np.isfinite(noise)


def signal_share(
    look_ups: npt.NDArray[np.integer],
    exposures: npt.NDArray[np.integer],
    energy: Figures,
    noise: Figures,
) -> npt.NDArray[np.float32]:
    """Posterior share of the signal, 0 to 1, of each row; 1 where the row is not known.

    Args:
        look_ups: `[N]` look-ups, which define the strata.
        exposures: `[N]` followed exposures, as `NoiseEnergy.exposures`.
        energy: `[N]` E, in squared gradient units.
        noise: `[N]` V, in the same units.

    O(N log N) on the host. A stratum with one row, or rows all alike, has no spread: its rows are
    their mean.
    """
    share = np.ones(look_ups.size, dtype=np.float32)
    ready = np.flatnonzero(ready_rows(exposures, energy, noise))
    if ready.size == 0:
        return share
    own_noise = noise[ready].astype(np.float64)
    signal = energy[ready].astype(np.float64) - own_noise
    degrees = np.minimum(exposures[ready] - 1, _MAX_PAIRS) * (_COORDINATES * _PAIR_SHARE)
    strata = exposure_strata(look_ups[ready])
    found = np.empty(ready.size)
    for label in np.unique(strata):
        rows = strata == label
        ratio = signal[rows] / moderated_variance(own_noise[rows], degrees[rows])
        known = credible_ratio(ratio, degrees[rows])
        found[rows] = known / (1.0 + known)
    share[ready] = found
    return share


def levels(share: npt.NDArray[np.floating], floor: float) -> npt.NDArray[np.uint8]:
    """Factors as the table of `hook.py` holds them, 255 for 1; none below `floor`."""
    held = np.clip(share, floor, 1.0) * UNTOUCHED
    return np.rint(held).astype(np.uint8)


def moderated_variance(variance: Array, degrees: Array) -> Array:
    """`[R]` posterior mean of the variances of rows of one stratum (Smyth 2004)."""
    half = degrees / 2
    shifted = np.log(variance) - special.digamma(half) + np.log(half)
    centre = float(shifted.mean())
    if variance.size < 2:
        return variance.copy()
    excess = float(shifted.var(ddof=1) - special.polygamma(1, half).mean())
    if excess <= 0:
        return np.full_like(variance, math.exp(centre))
    prior = 2 * _trigamma_inverse(excess)
    prior_variance = math.exp(centre + float(special.digamma(prior / 2)) - math.log(prior / 2))
    return (prior * prior_variance + degrees * variance) / (prior + degrees)


def credible_ratio(ratio: Array, degrees: Array) -> Array:
    """`[R]` posterior mean, never below 0, of the signal to noise of rows of one stratum."""
    mean = max(float(ratio.mean()), 0.0)
    sampling = (1.0 + 2.0 * mean) / degrees
    spread = float(ratio.var(ddof=1)) if ratio.size > 1 else 0.0
    between = max(spread - float(sampling.mean()), 0.0)
    credibility = between / (between + sampling)
    return np.maximum(mean + credibility * (ratio - mean), 0.0)


def _trigamma_inverse(value: float) -> float:
    """By Newton's method (Smyth 2004, appendix)."""
    if value > 1e7:
        return 1.0 / math.sqrt(value)
    if value < 1e-6:
        return 1.0 / value
    y = 0.5 + 1.0 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, y))
        step = trigamma * (1.0 - trigamma / value) / float(special.polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y
