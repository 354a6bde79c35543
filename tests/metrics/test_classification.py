"""Measures against literal counting: a loop over frames for counts, over thresholds for curves.

Where a measure has a definition in words ("the share of pairs in the right order"), the oracle here
is that sentence as a loop; scikit-learn's numbers are frozen in tests/golden.
"""

import doctest
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import metrics
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError
from scratchaudio.metrics import UndefinedMetricWarning, classification

GOLDEN = Path(__file__).parents[1] / "golden" / "sklearn_classification.json"
CASES = json.loads(GOLDEN.read_text())["cases"]

# float64 sums of at most a thousand terms: a few times 1000 * 2^-53
ROUNDING = 1e-12


def draw_frames(seed, n, n_levels, one_class=None, dtype=np.float64):
    """Labels and correlated scores; few levels make many ties. Both classes unless asked."""
    rng = np.random.default_rng(seed)
    y_true = rng.random(n) < 0.3
    y_true[:2] = False, True
    if one_class is not None:
        y_true[:] = one_class
    levels = np.sort(rng.normal(size=n_levels)).astype(dtype)
    place = np.clip(n_levels * (0.7 * rng.random(n) + 0.3 * y_true), 0, n_levels - 1)
    order = rng.permutation(n)
    return y_true[order], levels[place.astype(int)][order]


frames = st.builds(
    draw_frames,
    seed=st.integers(0, 2**32),
    n=st.integers(2, 70),
    n_levels=st.sampled_from([1, 2, 3, 7, 1000]),
    dtype=st.sampled_from([np.float32, np.float64]),
)


# Oracles -----------------------------------------------------------------------------------------


def count_loop(y_true, y_pred):
    tn = fp = fn = tp = 0
    for truth, call in zip(y_true, y_pred, strict=True):
        if truth and call:
            tp += 1
        elif truth:
            fn += 1
        elif call:
            fp += 1
        else:
            tn += 1
    return tn, fp, fn, tp


def pair_loop(y_true, y_score):
    """Share of (true, false) pairs in the right order, ties counting half."""
    right = pairs = 0
    for i in np.flatnonzero(y_true):
        for j in np.flatnonzero(~y_true):
            pairs += 1
            right += 1 if y_score[i] > y_score[j] else 0.5 if y_score[i] == y_score[j] else 0
    return right / pairs


def tables_loop(y_true, y_score):
    """(threshold, (tn, fp, fn, tp)) of every distinct score, from the highest down."""
    return [
        (threshold, count_loop(y_true, [score >= threshold for score in y_score]))
        for threshold in sorted({float(score) for score in y_score}, reverse=True)
    ]


# One threshold -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), share=st.floats(0, 1))
def test_measures_at_one_threshold_are_the_ratios_of_counted_outcomes(seed, n, share):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.random(n) < share, rng.random(n) < 0.5
    tn, fp, fn, tp = count_loop(y_true, y_pred)
    table = metrics.confusion_matrix(y_true, y_pred, labels=[False, True])
    assert table.tolist() == [[tn, fp], [fn, tp]]
    assert table.dtype == np.int64
    assert metrics.accuracy_score(y_true, y_pred) == (tn + tp) / n
    expected = {
        metrics.precision_score: (tp, tp + fp),
        metrics.recall_score: (tp, tp + fn),
        metrics.f1_score: (2 * tp, 2 * tp + fp + fn),
    }
    for measure, (above, below) in expected.items():
        value = measure(y_true, y_pred, zero_division=1)
        assert type(value) is float
        assert value == (above / below if below else 1.0), measure.__name__


@given(seed=st.integers(0, 2**32), n=st.integers(5, 60))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(seed, n):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, 2, n), rng.integers(0, 2, n)
    y_true[0] = y_pred[0] = 1
    precision = metrics.precision_score(y_true, y_pred)
    recall = metrics.recall_score(y_true, y_pred)
    harmonic = 2 / (1 / precision + 1 / recall)
    assert abs(metrics.f1_score(y_true, y_pred) - harmonic) <= ROUNDING


@given(seed=st.integers(0, 2**32), n=st.integers(6, 50), n_classes=st.integers(2, 5))
def test_confusion_matrix_of_many_classes_counts_every_pair(seed, n, n_classes):
    rng = np.random.default_rng(seed)
    names = rng.choice(100, n_classes, replace=False)
    y_true, y_pred = rng.choice(names, n), rng.choice(names, n)
    y_true[:n_classes] = names
    expected = [
        [sum(t == a and p == b for t, p in zip(y_true, y_pred, strict=True)) for b in names]
        for a in names
    ]
    table = metrics.confusion_matrix(y_true, y_pred, labels=names)
    assert table.tolist() == expected
    assert table.sum() == n
    assert table.sum(axis=1).tolist() == [(y_true == name).sum() for name in names]
    assert np.trace(table) / n == pytest.approx(metrics.accuracy_score(y_true, y_pred), abs=1e-15)
    by_default = metrics.confusion_matrix(y_true, y_pred)
    order = np.argsort(names)
    assert by_default.tolist() == table[np.ix_(order, order)].tolist()


def test_confusion_matrix_leaves_out_classes_that_are_not_asked_for():
    assert metrics.confusion_matrix([2, 5, 5, 7], [5, 5, 7, 5], labels=[5, 2]).tolist() == [
        [1, 0],
        [1, 0],
    ]


def test_confusion_matrix_takes_names_as_classes():
    table = metrics.confusion_matrix(["speech", "hum", "speech"], ["speech", "speech", "hum"])
    assert table.tolist() == [[0, 1], [1, 1]]  # hum, speech


def test_confusion_matrix_shares():
    y_true, y_pred = [0, 0, 0, 1, 1], [0, 0, 1, 0, 0]
    shares = {
        name: metrics.confusion_matrix(y_true, y_pred, normalize=name)
        for name in ("true", "pred", "all")
    }
    np.testing.assert_allclose(shares["true"], [[2 / 3, 1 / 3], [1, 0]], atol=1e-15)
    np.testing.assert_allclose(shares["pred"], [[1 / 2, 1], [1 / 2, 0]], atol=1e-15)
    np.testing.assert_allclose(shares["all"], [[2 / 5, 1 / 5], [2 / 5, 0]], atol=1e-15)
    nothing = metrics.confusion_matrix([0, 0], [0, 1], normalize="true")
    assert nothing.tolist() == [[0.5, 0.5], [0, 0]]


@pytest.mark.parametrize(
    ("measure", "y_true", "y_pred", "reason"),
    [
        (metrics.precision_score, [0, 1], [0, 0], "precision has no frame called 1"),
        (metrics.recall_score, [0, 0], [0, 1], "recall has no frame that is 1"),
        (metrics.f1_score, [0, 0], [0, 0], "F1 has no frame that is or called 1"),
    ],
)
def test_zero_division_warns_or_gives_what_was_asked_for(measure, y_true, y_pred, reason):
    with pytest.warns(UndefinedMetricWarning, match=reason) as caught:
        assert measure(y_true, y_pred) == 0.0
    assert caught[0].filename == __file__, "the warning must point at the caller's line"
    for value in (0, 1, 0.0, 1.0):
        assert measure(y_true, y_pred, zero_division=value) == value
    assert math.isnan(measure(y_true, y_pred, zero_division=math.nan))
    with pytest.raises(ConfigError, match="zero_division must be 'warn', 0, 1 or NaN, got 'zero'"):
        measure(y_true, y_pred, zero_division="zero")


def test_f1_without_a_right_call_is_zero_and_not_undefined():
    assert metrics.f1_score([0, 1], [1, 0]) == 0.0
    assert metrics.f1_score([0, 1], [0, 0]) == 0.0
    assert metrics.f1_score([0, 0], [0, 1], zero_division=1) == 0.0


# Curves ------------------------------------------------------------------------------------------


@given(frames)
def test_roc_curve_is_the_loop_over_thresholds(case):
    y_true, y_score = case
    fpr, tpr, thresholds = metrics.roc_curve(y_true, y_score, drop_intermediate=False)
    expected = [(math.inf, 0.0, 0.0)] + [
        (threshold, fp / (fp + tn), tp / (tp + fn))
        for threshold, (tn, fp, fn, tp) in tables_loop(y_true, y_score)
    ]
    assert list(zip(thresholds, fpr, tpr, strict=True)) == expected


@given(frames)
def test_precision_recall_curve_is_the_loop_over_thresholds(case):
    y_true, y_score = case
    precision, recall, thresholds = metrics.precision_recall_curve(y_true, y_score)
    expected = [
        (threshold, tp / (tp + fp), tp / (tp + fn))
        for threshold, (_, fp, fn, tp) in reversed(tables_loop(y_true, y_score))
    ]
    assert list(zip(thresholds, precision[:-1], recall[:-1], strict=True)) == expected
    assert (precision[-1], recall[-1]) == (1.0, 0.0)
    assert thresholds.dtype == y_score.dtype


@given(frames)
def test_roc_runs_from_nothing_called_to_all_called_and_never_back(case):
    for drop_intermediate in (False, True):
        fpr, tpr, thresholds = metrics.roc_curve(*case, drop_intermediate=drop_intermediate)
        assert (fpr[0], tpr[0], thresholds[0]) == (0, 0, math.inf)
        assert (fpr[-1], tpr[-1], thresholds[-1]) == (1, 1, case[1].min())
        assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= 0).all()
        assert (np.diff(thresholds) < 0).all()
        assert fpr.dtype == tpr.dtype == thresholds.dtype == np.float64


@given(frames)
def test_dropped_points_lie_on_the_line_that_is_left(case):
    fpr, tpr, thresholds = metrics.roc_curve(*case, drop_intermediate=False)
    few_fpr, few_tpr, few_thresholds = metrics.roc_curve(*case)
    for x, y, threshold in zip(fpr, tpr, thresholds, strict=True):
        right = np.searchsorted(-few_thresholds, -threshold)  # first kept point at or after it
        left = max(right - 1, 0)
        dx, dy = few_fpr[right] - few_fpr[left], few_tpr[right] - few_tpr[left]
        assert abs((x - few_fpr[left]) * dy - (y - few_tpr[left]) * dx) <= ROUNDING
    assert abs(metrics.auc(few_fpr, few_tpr) - metrics.auc(fpr, tpr)) <= ROUNDING


def test_a_separable_case_keeps_only_its_corners():
    y_true = np.arange(1000) >= 400
    y_score = np.arange(1000.0)
    fpr, tpr, thresholds = metrics.roc_curve(y_true, y_score)
    # scikit-learn's rule keeps the first frame called: (0, 0) is added after the points are chosen.
    assert fpr.tolist() == [0, 0, 0, 1]
    assert tpr.tolist() == [0, 1 / 600, 1, 1]
    assert thresholds.tolist() == [math.inf, 999, 400, 0]
    precision, recall, thresholds = metrics.precision_recall_curve(
        y_true, y_score, drop_intermediate=True
    )
    assert thresholds[:2].tolist() == [0, 400]  # the 400 thresholds with recall 1: first and last
    assert precision[:2].tolist() == [0.6, 1.0] and recall[:2].tolist() == [1.0, 1.0]


@given(frames)
def test_auc_is_the_share_of_pairs_in_the_right_order(case):
    auc = metrics.roc_auc_score(*case)
    assert type(auc) is float
    assert abs(auc - pair_loop(*case)) <= ROUNDING


@given(frames)
def test_auc_sees_only_the_order_of_the_scores(case):
    y_true, y_score = case
    auc = metrics.roc_auc_score(y_true, y_score)
    ranks = np.unique(y_score, return_inverse=True)[1]
    for same_order in (ranks, ranks - 5.0, np.exp(ranks / 100), ranks.astype(np.float32) ** 3):
        assert metrics.roc_auc_score(y_true, same_order) == auc
    assert abs(metrics.roc_auc_score(y_true, -y_score) - (1 - auc)) <= ROUNDING
    assert abs(metrics.roc_auc_score(~y_true, y_score) - (1 - auc)) <= ROUNDING


@given(frames, st.integers(0, 2**32))
def test_order_of_the_frames_does_not_matter(case, seed):
    y_true, y_score = case
    order = np.random.default_rng(seed).permutation(y_true.size)
    for curve in (metrics.roc_curve, metrics.precision_recall_curve):
        for a, b in zip(curve(y_true, y_score), curve(y_true[order], y_score[order]), strict=True):
            np.testing.assert_array_equal(a, b)


@given(frames)
def test_average_precision_is_the_mean_precision_at_which_each_true_frame_is_found(case):
    y_true, y_score = case
    found_at = []
    for i in np.flatnonzero(y_true):
        called = [
            truth for truth, score in zip(y_true, y_score, strict=True) if score >= y_score[i]
        ]
        found_at.append(sum(called) / len(called))
    ap = metrics.average_precision_score(y_true, y_score)
    assert type(ap) is float
    assert abs(ap - sum(found_at) / len(found_at)) <= ROUNDING


def test_average_precision_of_constant_scores_is_the_prevalence_where_the_trapezoid_flatters():
    y_true, y_score = np.arange(8) % 4 == 0, np.ones(8)
    precision, recall, _ = metrics.precision_recall_curve(y_true, y_score)
    assert metrics.average_precision_score(y_true, y_score) == 0.25
    assert metrics.auc(recall, precision) == 0.625
    assert metrics.roc_auc_score(y_true, y_score) == 0.5


@given(seed=st.integers(0, 2**32), n=st.integers(2, 30))
def test_auc_is_the_sum_of_trapezoids_in_either_direction(seed, n):
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.normal(size=n)), rng.normal(size=n)
    area = sum((x[k + 1] - x[k]) * (y[k] + y[k + 1]) / 2 for k in range(n - 1))
    assert abs(metrics.auc(x, y) - area) <= ROUNDING
    assert abs(metrics.auc(x[::-1], y[::-1]) - area) <= ROUNDING


@given(frames)
def test_best_f1_threshold_beats_every_other(case):
    y_true, y_score = case
    best = metrics.best_f1_threshold(y_true, y_score)
    f1_of = {threshold: metrics.f1_score(y_true, y_score >= threshold) for threshold in y_score}
    highest = max(f1_of.values())
    assert best == max(threshold for threshold, f1 in f1_of.items() if f1 == highest)
    assert metrics.f1_score(y_true, y_score >= best) == highest


def test_of_equally_good_thresholds_the_highest_is_taken():
    y_true, y_score = [1, 0, 0, 1], [0.9, 0.7, 0.5, 0.3]  # F1 is 2/3 at 0.9 and at 0.3
    assert metrics.best_f1_threshold(y_true, y_score) == 0.9


# Odd but valid input -----------------------------------------------------------------------------


def test_zeros_of_both_signs_are_one_tie():
    y_true = [1, 0, 1, 0]
    for dtype in (np.float32, np.float64):
        y_score = np.array([-0.0, 0.0, 1.0, -1.0], dtype)
        fpr, tpr, thresholds = metrics.roc_curve(y_true, y_score, drop_intermediate=False)
        assert fpr.tolist() == [0, 0, 0.5, 1]
        assert tpr.tolist() == [0, 0.5, 1, 1]
        assert thresholds.tolist() == [math.inf, 1, 0, -1]


def test_neighbouring_floats_are_not_tied():
    tiny = np.finfo(np.float64).smallest_subnormal
    for low, high in [(1.0, np.nextafter(1.0, 2.0)), (0.0, tiny), (-1e308, 1e308)]:
        assert metrics.roc_auc_score([0, 1], [low, high]) == 1.0
        assert metrics.roc_auc_score([1, 0], [low, high]) == 0.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, bool])
def test_scores_of_any_real_dtype(dtype):
    y_score = np.array([0, 1, 1, 0, 1]).astype(dtype)
    y_true = np.array([0, 1, 0, 1, 1])
    expected = pair_loop(y_true == 1, y_score.astype(float))
    assert abs(metrics.roc_auc_score(y_true, y_score) - expected) <= ROUNDING
    assert metrics.precision_recall_curve(y_true, y_score)[2].dtype == dtype


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float32])
def test_labels_of_any_dtype_that_hold_0_and_1(dtype):
    y_true, y_score = draw_frames(3, 40, 6)
    expected = metrics.roc_curve(y_true, y_score)
    for a, b in zip(metrics.roc_curve(y_true.astype(dtype), y_score), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_arguments_are_left_alone_and_may_be_views():
    y_true, y_score = draw_frames(5, 60, 8)
    strided = np.repeat(y_score, 2)[::2]
    for array in (y_true, y_score, strided):
        array.flags.writeable = False
    before = y_score.copy()
    for _ in range(2):
        for a, b in zip(
            metrics.roc_curve(y_true, strided), metrics.roc_curve(y_true, y_score), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(y_score, before)


# One class only ----------------------------------------------------------------------------------


def test_roc_of_one_class_is_nan_where_its_denominator_is_zero():
    with pytest.warns(UndefinedMetricWarning, match="true positive rate has no frame that is 1"):
        fpr, tpr, _ = metrics.roc_curve([0, 0, 0], [0.1, 0.2, 0.3])
    assert fpr.tolist() == [0, 1 / 3, 1] and np.isnan(tpr).all()
    with pytest.warns(UndefinedMetricWarning, match="false positive rate has no frame that is 0"):
        fpr, tpr, _ = metrics.roc_curve([1, 1, 1], [0.1, 0.2, 0.3])
    assert tpr.tolist() == [0, 1 / 3, 1] and np.isnan(fpr).all()


@pytest.mark.parametrize("label", [0, 1])
def test_auc_of_one_class_is_nan_with_one_warning(label):
    with pytest.warns(UndefinedMetricWarning, match=f"y_true is {label} everywhere") as caught:
        assert math.isnan(metrics.roc_auc_score([label] * 3, [0.1, 0.2, 0.3]))
    assert len(caught) == 1


def test_precision_recall_without_any_true_frame():
    with pytest.warns(UndefinedMetricWarning, match="recall has no frame that is 1; it is set to"):
        precision, recall, _ = metrics.precision_recall_curve([0, 0], [0.1, 0.2])
    assert precision.tolist() == [0, 0, 1] and recall.tolist() == [1, 1, 0]
    with pytest.warns(UndefinedMetricWarning):
        assert metrics.average_precision_score([0, 0], [0.1, 0.2]) == 0.0
    assert metrics.average_precision_score([1, 1], [0.1, 0.2]) == 1.0


def test_confusion_matrix_of_one_class_warns_unless_labels_are_named():
    with pytest.warns(UndefinedMetricWarning, match="only the class 0 occurs"):
        assert metrics.confusion_matrix([0, 0], [0, 0]).tolist() == [[2]]
    assert metrics.confusion_matrix([0, 0], [0, 0], labels=[0, 1]).tolist() == [[2, 0], [0, 0]]


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.roc_curve([0, 1, 1], [0.1, 0.2]),
            "y_true and y_score must have the same length, got 3 and 2",
        ),
        (
            lambda: metrics.f1_score([0, 1], [0, 1, 1]),
            "y_true and y_pred must have the same length, got 2 and 3",
        ),
        (
            lambda: metrics.roc_auc_score([0, 1, 2], [0.1, 0.2, 0.3]),
            r"y_true must hold only 0 and 1, but y_true\[2\] is 2",
        ),
        (
            lambda: metrics.precision_score([0, 1], [0, 0.7]),
            r"y_pred must hold only 0 and 1, but y_pred\[1\] is 0.7",
        ),
        (
            lambda: metrics.recall_score([0, math.nan], [0, 1]),
            r"y_true must hold only 0 and 1, but y_true\[1\] is nan",
        ),
        (
            lambda: metrics.roc_curve([0, 1], [0.1, math.nan]),
            r"y_score must be finite, but y_score\[1\] is nan",
        ),
        (
            lambda: metrics.average_precision_score([0, 1], [-math.inf, 0]),
            r"y_score must be finite, but y_score\[0\] is -inf",
        ),
        (
            lambda: metrics.roc_curve([0, 1], [1j, 2]),
            "y_score must hold real numbers, got dtype complex128",
        ),
        (
            lambda: metrics.roc_curve([], []),
            r"y_true must be one-dimensional with at least one entry, got shape \(0,\)",
        ),
        (
            lambda: metrics.accuracy_score(np.zeros((2, 3)), np.zeros((2, 3))),
            r"y_true must be one-dimensional with at least one entry, got shape \(2, 3\)",
        ),
        (
            lambda: metrics.auc([0.0], [1.0]),
            "x must hold at least 2 points to have an area under them, got 1",
        ),
        (
            lambda: metrics.auc([0, 1, 0.5], [0, 1, 1]),
            r"it rises after x\[0\] and falls after x\[1\]",
        ),
        (
            lambda: metrics.confusion_matrix([0, 1], [0, 1], labels=[3, 4]),
            r"none of labels=\[3, 4\] occurs in y_true",
        ),
        (
            lambda: metrics.confusion_matrix([0, 1], [0, 1], normalize="rows"),
            "normalize must be None, 'true', 'pred' or 'all', got 'rows'",
        ),
        (
            lambda: metrics.best_f1_threshold([0, 0], [0.1, 0.2]),
            "y_true holds no 1, so F1 is 0 at every threshold",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ScratchAudioError, match=message) as caught:
        call()
    assert isinstance(caught.value, ShapeError | ConfigError)


# Frozen results of scikit-learn, and the examples ------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_scikit_learn(name):
    case = CASES[name]
    y_true, y_score = np.array(case["y_true"]), np.array(case["y_score"], case["dtype"])
    y_pred = y_score >= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        results = {
            "roc_curve": metrics.roc_curve(y_true, y_score),
            "roc_curve_all": metrics.roc_curve(y_true, y_score, drop_intermediate=False),
            "precision_recall_curve": metrics.precision_recall_curve(y_true, y_score),
            "precision_recall_curve_few": metrics.precision_recall_curve(
                y_true, y_score, drop_intermediate=True
            ),
            "roc_auc_score": metrics.roc_auc_score(y_true, y_score),
            "average_precision_score": metrics.average_precision_score(y_true, y_score),
            "confusion_matrix": metrics.confusion_matrix(y_true, y_pred),
            "accuracy_score": metrics.accuracy_score(y_true, y_pred),
            "precision_score": metrics.precision_score(y_true, y_pred),
            "recall_score": metrics.recall_score(y_true, y_pred),
            "f1_score": metrics.f1_score(y_true, y_pred),
        }
    assert results.keys() == case["results"].keys()
    for measure, ours in results.items():
        theirs = case["results"][measure]
        ours = ours if isinstance(ours, tuple) else (ours,)
        theirs = theirs if isinstance(results[measure], tuple) else (theirs,)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15, err_msg=measure)


def test_examples_in_the_docstrings_are_true():
    assert doctest.testmod(classification).failed == 0
