"""How sure are we of a measure? Confidence intervals by resampling whole recordings.

The bootstrap asks: had we collected another test set of the same kind, how different would the
measure be? It answers by drawing new test sets from the one we have, with replacement, and looking
at how the measure scatters over them.

What is drawn must be what is independent. Frames are not: 3000 frames of one recording share its
voice, its noise and its room, and neighbours 10 ms apart are almost copies. Drawing frames would
pretend to 150 000 witnesses where there are 50 recordings, and give an interval several times
too narrow. So whole recordings are drawn.

A thousand new test sets need no thousand sorts. F1 and AUC depend on a test set only through counts
that ADD UP over recordings, so each recording is summarised once by a table of counts, and a new
test set, in which recording r occurs w_r times, has the table

    table = sum_r w_r tables[r]        w ~ multinomial(R; 1/R, ..., 1/R)

All new test sets together are one matrix product. In three steps:

    tables = score_counts(y_trues, y_scores)             one (2, n_bins) table a recording
    low, high = bootstrap_ci(auc_of_counts, tables)      95 % interval of the AUC
    auc_of_counts(tables.sum(axis=0))                    the AUC itself

Two methods are compared on the SAME new test sets, since what makes a recording hard makes it hard
for both: stack their tables and bootstrap the difference (see `bootstrap_ci`).

    R recordings, recording r has N_r frames
    y_trues, y_preds, y_scores  lists of R arrays (N_r,): truth, calls, scores
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer
from scratchaudio.metrics.classification import _four_counts, _labels_and_scores


def bootstrap_ci(statistic, tables, *, n_resamples=1000, confidence=0.95, rng=None):
    """Confidence interval of a measure, by resampling the recordings (percentile method).

    With few recordings (some ten) the interval is somewhat too narrow: it cannot know of the kinds
    of recordings that are not there.

    Parameters
    ----------
    statistic : function from summed tables (..., *table shape) to values (...); a new test set on
        which it is NaN (0 / 0) is left out
    tables : (R, *table shape) one table of counts for each recording, R >= 2
    n_resamples : number of new test sets drawn
    confidence : share of their values that lies inside the interval, half of the rest on each side
    rng : seed or Generator

    Returns
    -------
    low, high : floats; NaN where every value was

    References
    ----------
    Davison & Hinkley (1997), Bootstrap Methods and their Application, section 3.8 (resampling
    clusters) and 5.3 (percentile method).

    Examples
    --------
    >>> y_trues = [[0, 1, 1], [0, 0, 1], [1, 0, 1, 0]]
    >>> ours = confusion_counts(y_trues, [[0, 1, 1], [0, 0, 1], [1, 0, 0, 0]])
    >>> theirs = confusion_counts(y_trues, [[1, 1, 1], [0, 1, 1], [1, 0, 0, 0]])
    >>> bootstrap_ci(f1_of_counts, ours, rng=0)
    (0.6666666666666666, 1.0)

    Is ours better, on the same recordings?

    >>> def difference(both):
    ...     return f1_of_counts(both[..., 0, :, :]) - f1_of_counts(both[..., 1, :, :])
    >>> low, high = bootstrap_ci(difference, np.stack([ours, theirs], axis=1), rng=0)
    >>> low >= 0
    True
    """
    rng = np.random.default_rng(rng)
    require_positive_integer("n_resamples", n_resamples)
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must lie between 0 and 1, got {confidence!r}")
    tables = np.asarray(tables, dtype=np.float64)
    if tables.ndim == 0 or len(tables) < 2:
        raise ShapeError(
            f"tables must hold at least 2 recordings to resample, got shape {tables.shape}"
        )
    R = len(tables)
    draws = rng.multinomial(R, np.full(R, 1 / R), size=n_resamples)  # (n_resamples, R)
    # BLAS multiplies floats, not integers; counts stay exact below 2^53.
    resampled = np.tensordot(draws.astype(np.float64), tables, axes=1)
    values = np.asarray(statistic(resampled))  # (n_resamples,)
    if values.shape != (n_resamples,):
        raise ShapeError(
            f"statistic must map tables {resampled.shape} to values {(n_resamples,)}, "
            f"got {values.shape}"
        )
    values = values[~np.isnan(values)]
    if values.size == 0:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def confusion_counts(y_trues, y_preds):
    """Confusion matrix of each recording: all that precision, recall and F1 need of it.

    Returns
    -------
    (R, 2, 2) counts [[TN, FP], [FN, TP]]
    """
    pairs = _recordings(y_trues=y_trues, y_preds=y_preds)
    return np.array([_four_counts(*pair) for pair in pairs]).reshape(-1, 2, 2)


def f1_of_counts(counts):
    """F1 = 2 TP / (2 TP + FP + FN) of each table (..., 2, 2); NaN where that is 0 / 0."""
    fp, fn, tp = counts[..., 0, 1], counts[..., 1, 0], counts[..., 1, 1]
    return _ratio(2 * tp, 2 * tp + fp + fn)


def score_counts(y_trues, y_scores, n_bins=1000):
    """Histogram of the scores of each class in each recording: all that the AUC needs of it.

    The bins share out the distinct scores of all recordings evenly. Up to `n_bins` distinct scores
    each has a bin of its own and the AUC is exact; beyond, frames in one bin count as tied.
    With p_b and q_b the shares of the two classes that lie in bin b, the AUC is then off by

        |error| <= 1/2 sum_b p_b q_b

    and by far less in practice, because within so narrow a bin the scores tell little.

    Parameters
    ----------
    y_trues, y_scores : lists of R arrays (N_r,)
    n_bins : largest number of bins

    Returns
    -------
    (R, 2, n_bins or fewer) counts [of label 0, of label 1], from the lowest to the highest score
    """
    require_positive_integer("n_bins", n_bins)
    pairs = [_labels_and_scores(*p) for p in _recordings(y_trues=y_trues, y_scores=y_scores)]
    distinct = np.unique(np.concatenate([scores for _, scores in pairs]))
    n_bins = min(n_bins, distinct.size)
    lowest = distinct[np.arange(n_bins) * distinct.size // n_bins]  # (n_bins,) lowest score of each
    counts = np.empty((len(pairs), 2, n_bins), np.int64)
    for r, (labels, scores) in enumerate(pairs):
        bins = np.searchsorted(lowest, scores, side="right") - 1  # (N_r,)
        counts[r] = np.bincount(labels * n_bins + bins, minlength=2 * n_bins).reshape(2, n_bins)
    return counts


def auc_of_counts(counts):
    """AUC of each table (..., 2, n_bins) of `score_counts`; NaN where a class is absent.

        AUC = sum_b n1_b (n0 in lower bins + 1/2 n0_b) / (n1 n0)

    the Mann-Whitney statistic: for each true frame, the false ones below it, ties counting half.
    """
    zeros, ones = counts[..., 0, :], counts[..., 1, :]  # (..., n_bins)
    zeros_below = np.cumsum(zeros, axis=-1) - zeros / 2
    return _ratio((ones * zeros_below).sum(axis=-1), ones.sum(axis=-1) * zeros.sum(axis=-1))


def _recordings(**lists):
    """Pair two lists of arrays, one array for each recording."""
    (name_a, a), (name_b, b) = lists.items()
    if len(a) != len(b) or len(a) == 0:
        raise ShapeError(
            f"{name_a} and {name_b} must be lists with one array for each recording, "
            f"got {len(a)} and {len(b)} arrays"
        )
    return list(zip(a, b, strict=True))


def _ratio(numerator, denominator):
    """Divide arrays; NaN, without a warning, where the denominator is 0."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)
