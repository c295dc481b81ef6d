"""What a few seeds allow to say: a mean with its t-interval, p-values corrected for their number, a verdict in words.

An interval covers the randomness of training and of the centers on one data set. It says nothing about other data
sets, and with few seeds it is wide: Student's t needs 4.3 standard errors on each side for 3 seeds, 2.8 for 5.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

FEWEST = 3  # seeds; fewer have no interval here


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its t-interval and the p-value against 0; NaN where the seeds are too few."""

    n: int
    mean: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        if self.n == 0:
            return "not run (no common seeds)"
        seeds = f"{self.n} seed{'s' * (self.n > 1)}"
        if np.isnan(self.low):
            return f"{self.mean:+.3f}, {seeds}: too few for an interval".replace("-", "−")
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f}), {seeds}".replace("-", "−")


def estimate(values: Iterable[float], level: float = 0.95) -> Estimate:
    """Mean of one value per seed, its t-interval and two-sided p-value against 0; NaN values are left out.

    >>> print(estimate([0.05, 0.07, 0.06]))
    +0.060 (+0.035 to +0.085), 3 seeds
    >>> print(estimate([0.05, 0.07]))
    +0.060, 2 seeds: too few for an interval
    """
    from scipy.stats import t

    x = np.asarray(list(values), float)
    x = x[np.isfinite(x)]
    n, mean = len(x), float(x.mean()) if len(x) else np.nan
    if n < FEWEST:
        return Estimate(n, mean, np.nan, np.nan, np.nan)
    error = float(x.std(ddof=1) / np.sqrt(n))
    half = error * float(t.ppf((1 + level) / 2, n - 1))
    if error < 1e-12 * max(abs(mean), 1e-12):  # all seeds alike
        return Estimate(n, mean, mean, mean, float(mean == 0))
    return Estimate(n, mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)))


def level_text(mean: float, low: float, high: float) -> str:
    """A mean with half the width of its interval, if it has one.

    >>> level_text(0.5, 0.48, 0.52), level_text(0.5, np.nan, np.nan)
    ('0.500 ± 0.020', '0.500')
    """
    return f"{mean:.3f}" + ("" if np.isnan(low) else f" ± {(high - low) / 2:.3f}")


def holm(p_values: Iterable[float]) -> np.ndarray:
    """Holm's step-down p-values: compared with α, they keep the chance of any false finding below α.

    NaN (no test was made) stays NaN and does not count.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(list(p_values), float)
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def verdict(low: float, high: float, n: int, p: float = np.nan, alpha: float = 0.05) -> str:
    """Whether "the difference is above 0" holds, judged by its interval and, if given, a corrected p-value.

    >>> verdict(0.01, 0.05, 5), verdict(-0.05, -0.01, 5), verdict(-0.01, 0.05, 5)
    ('holds', 'does not hold', 'not decided by 5 seeds')
    """
    clear = (low > 0 or high < 0) and not p > alpha
    if not clear:
        return f"not decided by {n} seed{'s' * (n != 1)}"
    return "holds" if low > 0 else "does not hold"
