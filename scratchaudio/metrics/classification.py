"""How good is a detector? Four counts, their ratios, and curves over every threshold.

A detector gives frame n a score, and calls the frame speech where y_score[n] >= threshold. Held
against the truth, a call ends in one of four ways, and every measure here is made of their counts:

                 called 0   called 1
    truth 0         TN         FP          precision = TP / (TP + FP)    how many calls are right
    truth 1         FN         TP          recall    = TP / (TP + FN)    how much speech is found

One threshold gives one such table; no threshold is the right one for everybody, so a curve shows
all of them. Lowering the threshold from above the highest score to the lowest one calls frame after
frame, in the order of falling scores: each adds one to TP or to FP. So ONE sort and ONE cumulative
sum give the tables of all thresholds (`_sweep`), and each curve is a ratio of their entries:

    ROC                FP rate = FP / (FP + TN)  across,  TP rate = recall  up
    precision-recall   recall                    across,  precision         up

The ROC does not change when non-speech becomes rarer, precision does: read both.

Names, arguments and results are scikit-learn's, for labels 0 and 1 (or booleans) and without
sample weights: weight 3 is the frame given three times. Where a ratio is 0 / 0, the result is the
one scikit-learn returns, and an `UndefinedMetricWarning` says so.

    N frames, K distinct scores
    y_true (N,) truth;  y_pred (N,) calls;  y_score (N,) the higher, the more likely 1
    tps, fps (K,) counts of true and false positives at each threshold
"""

import math
import warnings

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError


class UndefinedMetricWarning(UserWarning):
    """A measure is 0 / 0 for these labels; the value returned is a convention."""


# One threshold: four counts and their ratios ---------------------------------------------------


def confusion_matrix(y_true, y_pred, *, labels=None, normalize=None):
    """Count how often class i was called class j.

    With one-hot rows t_n of the truth and p_n of the calls, the table is the matrix product

        counts[i, j] = #{n : y_true[n] = i, y_pred[n] = j} = sum_n t_n[i] p_n[j]

    For labels 0 and 1, `counts.ravel()` is TN, FP, FN, TP.

    Parameters
    ----------
    y_true : (N,) truth, any number of classes
    y_pred : (N,) calls
    labels : the classes in the order of rows and columns; by default all that occur, sorted.
        Frames whose truth or call is not among them are left out
    normalize : None for counts; "true" for shares of each row, "pred" of each column, "all" of
        everything (a share of nothing is 0)

    Returns
    -------
    (C, C) int64 counts or float64 shares

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 1, 1], [0, 1, 1, 1, 0])
    array([[1, 1],
           [1, 2]])
    """
    y_true, y_pred = _pair(y_true=y_true, y_pred=y_pred)
    if normalize not in (None, "true", "pred", "all"):
        raise ConfigError(f"normalize must be None, 'true', 'pred' or 'all', got {normalize!r}")
    if labels is None:
        labels = np.union1d(y_true, y_pred)
        if len(labels) == 1:
            warnings.warn(
                f"only the class {labels[0]} occurs, so the table is 1 x 1; "
                f"name all classes by labels=",
                UndefinedMetricWarning,
                stacklevel=2,
            )
    labels = np.asarray(labels)  # (C,)
    if not np.isin(labels, y_true).any():
        raise ShapeError(f"none of labels={labels.tolist()} occurs in y_true")
    one_hot_true = (y_true[:, None] == labels).astype(np.float64)  # (N, C)
    one_hot_pred = (y_pred[:, None] == labels).astype(np.float64)  # (N, C)
    counts = one_hot_true.T @ one_hot_pred  # (C, C) exact below 2^53
    if normalize is None:
        return counts.astype(np.int64)
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    return counts / np.maximum(counts.sum(axis=axis, keepdims=True), 1)


def accuracy_score(y_true, y_pred):
    """Share of frames called right; any number of classes.

    Where 90 % of the frames are silence, never calling speech is 90 % accurate: read precision and
    recall beside it.
    """
    y_true, y_pred = _pair(y_true=y_true, y_pred=y_pred)
    return float((y_true == y_pred).mean())


def precision_score(y_true, y_pred, *, zero_division="warn"):
    """Share of the calls that are right, TP / (TP + FP).

    Parameters
    ----------
    y_true : (N,) truth, 0 or 1
    y_pred : (N,) calls, 0 or 1
    zero_division : what 0 / 0 (no call at all) gives: 0, 1 or NaN; "warn" gives 0 with an
        `UndefinedMetricWarning`

    Examples
    --------
    >>> precision_score([0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 1, 1])
    0.6666666666666666
    """
    _, fp, _, tp = _four_counts(y_true, y_pred)
    return _divide(tp, tp + fp, zero_division, "precision has no frame called 1")


def recall_score(y_true, y_pred, *, zero_division="warn"):
    """Share of the true frames that are found, TP / (TP + FN).

    Also called sensitivity or true positive rate. Parameters as for `precision_score`; 0 / 0 is a
    truth without any 1.
    """
    _, _, fn, tp = _four_counts(y_true, y_pred)
    return _divide(tp, tp + fn, zero_division, "recall has no frame that is 1")


def f1_score(y_true, y_pred, *, zero_division="warn"):
    """Harmonic mean of precision P and recall R, so that neither can buy the other's failure.

        F1 = 2 / (1/P + 1/R) = 2 TP / (2 TP + FP + FN)

    The right-hand form stays defined where P or R alone is not: 0 / 0 is left only where neither
    truth nor calls hold a 1. TN does not count: F1 changes when 0 and 1 swap roles. Parameters as
    for `precision_score`.

    References
    ----------
    van Rijsbergen (1979), Information Retrieval, 2nd ed., chapter 7: F = 1 - E with beta = 1.
    """
    _, fp, fn, tp = _four_counts(y_true, y_pred)
    return _divide(2 * tp, 2 * tp + fp + fn, zero_division, "F1 has no frame that is or called 1")


# All thresholds: one sort, one cumulative sum --------------------------------------------------


def _sweep(y_true, y_score):
    """Count true and false positives at every distinct score, from the highest score down.

    Returns fps, tps (K,) int64, increasing, and thresholds (K,) decreasing: calling every frame
    with y_score >= thresholds[k] makes tps[k] right and fps[k] wrong calls.
    """
    # np.argsort is slow where np.sort is fast: a sort of values runs in vector registers, a sort of
    # indices must look up every score it compares. All we need to know of a sorted score is its
    # label, so the two classes are sorted apart, as values. Put end to end they are two rising
    # runs, which the stable argsort (timsort) detects and merges in one pass, and an index tells
    # the label: those of the ones come last. (Picking by index, not by mask, for the same reason:
    # a mask is a branch for each frame, and the labels make it unpredictable.)
    zeros = np.sort(y_score[np.flatnonzero(~y_true)])  # (N0,)
    ones = np.sort(y_score[np.flatnonzero(y_true)])  # (N1,)
    y_score = np.concatenate([zeros, ones])  # (N,)
    falling = np.argsort(y_score, kind="stable")[::-1]
    y_true, y_score = falling >= zeros.size, y_score[falling]
    # Frames of equal score are called together or not at all: keep the count after the last one.
    last_of_tie = np.append(np.flatnonzero(y_score[1:] != y_score[:-1]), y_score.size - 1)  # (K,)
    tps = np.cumsum(y_true)[last_of_tie]
    fps = last_of_tie + 1 - tps  # of the first n + 1 frames, those that are not true positives
    return fps, tps, y_score[last_of_tie]


def roc_curve(y_true, y_score, *, drop_intermediate=True):
    """Receiver operating characteristic: found speech against false alarms, at every threshold.

        fpr = FP / (FP + TN)      tpr = TP / (TP + FN)

    The curve starts at (0, 0), nothing called (threshold inf), and ends at (1, 1), all called.
    Tied scores give one sloped line: the average over all orders in which they could be called.

    Parameters
    ----------
    y_true : (N,) truth, 0 or 1
    y_score : (N,) finite scores
    drop_intermediate : leave out thresholds that lie inside a straight line of equal steps. Line
        and area stay the same; a million frames leave a curve that can be drawn

    Returns
    -------
    fpr, tpr : (K + 1,) float64, increasing. With one class only, the rate whose denominator is 0
        is all NaN, and an `UndefinedMetricWarning` is given
    thresholds : (K + 1,) float64, decreasing; thresholds[0] = inf

    References
    ----------
    Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27(8): algorithm 1.

    Examples
    --------
    >>> fpr, tpr, thresholds = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    >>> thresholds.tolist()
    [inf, 0.8, 0.4, 0.35, 0.1]
    """
    y_true, y_score = _labels_and_scores(y_true, y_score)
    fps, tps, thresholds = _sweep(y_true, y_score)
    if drop_intermediate and tps.size > 2:
        # A point repeats the step before it where both second differences are 0. (As in
        # scikit-learn, (0, 0) is not yet in the list, so one such point may stay at the start.)
        corner = (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0)
        keep = np.flatnonzero(np.concatenate([[True], corner, [True]]))
        fps, tps, thresholds = fps[keep], tps[keep], thresholds[keep]
    fps, tps = np.append(0, fps), np.append(0, tps)
    thresholds = np.append(np.inf, thresholds.astype(np.float64))
    return _rate(fps, "false positive rate", 0), _rate(tps, "true positive rate", 1), thresholds


def auc(x, y):
    """Area under a piecewise linear curve, by the trapezoidal rule.

        area = sum_k (x[k+1] - x[k]) (y[k] + y[k+1]) / 2

    Parameters
    ----------
    x : (K,) increasing or decreasing, at least 2 points
    y : (K,)

    Examples
    --------
    >>> auc([0, 0.5, 1], [0, 1, 1])
    0.75
    """
    x, y = _pair(x=x, y=y)
    if x.size < 2:
        raise ShapeError(f"x must hold at least 2 points to have an area under them, got {x.size}")
    dx = np.diff(x.astype(np.float64))
    if (dx < 0).any() and (dx > 0).any():
        first_fall, first_rise = int(np.argmax(dx < 0)), int(np.argmax(dx > 0))
        raise ShapeError(
            f"x must only increase or only decrease, but it rises after x[{first_rise}] "
            f"and falls after x[{first_fall}]"
        )
    return float(np.abs(dx) @ (y[:-1] + y[1:])) / 2  # drawn from right to left: the same area


def roc_auc_score(y_true, y_score):
    """Area under the ROC curve: the chance that a true frame outscores a false one.

    Going along the curve, each false frame adds a column 1 / N0 wide whose height is the share of
    the N1 true frames that score higher. The area is thus the Mann-Whitney statistic

        AUC = 1 / (N1 N0) * sum_{i: y_i = 1} sum_{j: y_j = 0} [s_i > s_j] + 1/2 [s_i = s_j]

    Only the order of the scores matters: any increasing function of them has the same AUC. Chance
    is 0.5, perfect order 1. With one class only it is NaN, with an `UndefinedMetricWarning`.

    Parameters
    ----------
    y_true : (N,) truth, 0 or 1
    y_score : (N,) finite scores

    References
    ----------
    Hanley & McNeil (1982), The meaning and use of the area under a ROC curve, Radiology 143(1).

    Examples
    --------
    >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y_true, y_score = _labels_and_scores(y_true, y_score)
    if y_true.all() or not y_true.any():
        warnings.warn(
            f"ROC AUC needs both classes, but y_true is {int(y_true[0])} everywhere; it is NaN",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return math.nan
    fpr, tpr, _ = roc_curve(y_true, y_score)
    return auc(fpr, tpr)


def precision_recall_curve(y_true, y_score, *, drop_intermediate=False):
    """Precision and recall at every threshold, from the lowest threshold (all called) up.

    Parameters
    ----------
    y_true : (N,) truth, 0 or 1
    y_score : (N,) finite scores
    drop_intermediate : of a run of thresholds with the same recall, keep only the first and last

    Returns
    -------
    precision : (K + 1,) float64; the last entry is 1, by convention: nothing called
    recall : (K + 1,) float64, decreasing; the last entry is 0. Without any 1 in y_true, recall is
        set to 1 at all K thresholds, with an `UndefinedMetricWarning`
    thresholds : (K,) increasing, in the dtype of y_score

    References
    ----------
    Davis & Goadrich (2006), The relationship between precision-recall and ROC curves, ICML.

    Examples
    --------
    >>> precision, recall, thresholds = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> recall.tolist(), thresholds.tolist()
    ([1.0, 1.0, 0.5, 0.5, 0.0], [0.1, 0.35, 0.4, 0.8])
    """
    y_true, y_score = _labels_and_scores(y_true, y_score)
    fps, tps, thresholds = _sweep(y_true, y_score)
    if drop_intermediate and tps.size > 2:
        step = np.diff(tps) != 0  # (K - 1,) recall rises from this threshold to the next
        keep = np.flatnonzero(np.concatenate([[True], step[:-1] | step[1:], [True]]))
        fps, tps, thresholds = fps[keep], tps[keep], thresholds[keep]
    precision = tps / (tps + fps)
    if tps[-1] == 0:
        warnings.warn(
            "recall has no frame that is 1; it is set to 1 at every threshold",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        recall = np.ones(tps.size)
    else:
        recall = tps / tps[-1]
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), thresholds[::-1]


def average_precision_score(y_true, y_score):
    """Mean of the precision over recall, as a sum of steps.

        AP = sum_k (R_k - R_{k-1}) P_k       thresholds falling with k, R_0 = 0

    That is the precision averaged over the frames that are 1, each taken at the threshold that
    just finds it. Not the trapezoidal rule: between two thresholds precision is not a straight
    line, and a line drawn to the invented start (0, 1) is too kind. For constant scores and one
    frame in four being 1, there is one threshold, with precision 0.25: AP is 0.25, while the
    trapezoid says 0.625.

    Parameters
    ----------
    y_true : (N,) truth, 0 or 1; without any 1, the result is 0, with an `UndefinedMetricWarning`
    y_score : (N,) finite scores

    References
    ----------
    Davis & Goadrich (2006), The relationship between precision-recall and ROC curves, ICML,
    section 4: why not to interpolate linearly.

    Examples
    --------
    >>> average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8333333333333333
    """
    precision, recall, _ = precision_recall_curve(y_true, y_score)
    return float((recall[:-1] - recall[1:]) @ precision[:-1])


def best_f1_threshold(y_true, y_score):
    """Return the threshold with the highest F1, for calls `y_score >= threshold`.

    With P true frames in all, FN = P - TP, so that all thresholds are tried at once:

        F1 = 2 TP / (2 TP + FP + FN) = 2 TP / (TP + FP + P)

    Of equal ones it is the highest threshold. Choose it on the validation set and use it unchanged
    on the test set: the best F1 of the test set itself is a promise nobody can keep.

    Parameters
    ----------
    y_true : (N,) truth, 0 or 1, with at least one 1
    y_score : (N,) finite scores

    Examples
    --------
    >>> best_f1_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.35
    """
    y_true, y_score = _labels_and_scores(y_true, y_score)
    if not y_true.any():
        raise ShapeError("y_true holds no 1, so F1 is 0 at every threshold and none is best")
    fps, tps, thresholds = _sweep(y_true, y_score)
    f1 = 2 * tps / (tps + fps + tps[-1])
    return float(thresholds[np.argmax(f1)])


# Checks and divisions --------------------------------------------------------------------------


def _pair(**arrays):
    """Return two named arguments as arrays; both must be (N,), N >= 1."""
    (name_a, a), (name_b, b) = ((name, np.asarray(value)) for name, value in arrays.items())
    for name, array in ((name_a, a), (name_b, b)):
        if array.ndim != 1 or array.size == 0:
            raise ShapeError(
                f"{name} must be one-dimensional with at least one entry, got shape {array.shape}"
            )
    if a.size != b.size:
        raise ShapeError(
            f"{name_a} and {name_b} must have the same length, got {a.size} and {b.size}"
        )
    return a, b


def _binary(name, labels):
    """Return labels as booleans; every one must be 0 or 1."""
    if labels.dtype == bool:
        return labels
    ones = labels == 1
    valid = ones | (labels == 0)
    if not np.all(valid):
        n = int(np.argmin(valid))
        raise ShapeError(f"{name} must hold only 0 and 1, but {name}[{n}] is {labels[n]}")
    return ones


def _labels_and_scores(y_true, y_score):
    """Return checked (N,) booleans and (N,) finite scores."""
    y_true, y_score = _pair(y_true=y_true, y_score=y_score)
    if y_score.dtype.kind not in "fiub":
        raise ShapeError(f"y_score must hold real numbers, got dtype {y_score.dtype}")
    if not np.isfinite(y_score).all():
        # An infinite score would tie with the threshold inf that starts the ROC.
        n = int(np.argmin(np.isfinite(y_score)))
        raise ShapeError(f"y_score must be finite, but y_score[{n}] is {y_score[n]}")
    return _binary("y_true", y_true), y_score


def _four_counts(y_true, y_pred):
    """Return TN, FP, FN, TP of two 0/1 arrays."""
    y_true, y_pred = _pair(y_true=y_true, y_pred=y_pred)
    y_true, y_pred = _binary("y_true", y_true), _binary("y_pred", y_pred)
    tp = np.count_nonzero(y_true & y_pred)
    fp = np.count_nonzero(y_pred) - tp
    fn = np.count_nonzero(y_true) - tp
    return y_true.size - tp - fp - fn, fp, fn, tp


def _divide(numerator, denominator, zero_division, reason):
    """Divide two counts; for 0 / 0 follow `zero_division`."""
    if zero_division != "warn" and not (zero_division in (0, 1) or zero_division != zero_division):
        raise ConfigError(f"zero_division must be 'warn', 0, 1 or NaN, got {zero_division!r}")
    if denominator > 0:
        return float(numerator / denominator)
    if zero_division == "warn":
        warnings.warn(
            f"{reason}; it is set to 0 (choose another value by zero_division=)",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return 0.0
    return float(zero_division)


def _rate(counts, name, label):
    """Divide cumulative counts by their total, the last one; all NaN where that is 0."""
    if counts[-1] > 0:
        return counts / counts[-1]
    warnings.warn(
        f"{name} has no frame that is {label}; it is NaN",
        UndefinedMetricWarning,
        stacklevel=3,
    )
    return np.full(counts.size, math.nan)
