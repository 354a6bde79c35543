"""Measures against scikit-learn, live, over drawn cases."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from scratchaudio import metrics as ours

pytestmark = pytest.mark.peers


def draw_frames(seed, n, prevalence, spacing, dtype, scale):
    """Correlated labels and scores; a coarse `spacing` makes ties."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random(n) < prevalence).astype(int)
    y_score = (rng.normal(size=n) + y_true).astype(dtype)
    if spacing:
        y_score = np.round(y_score / spacing) * dtype(spacing)
    return y_true, (y_score * dtype(scale)).astype(dtype)


frames = st.builds(
    draw_frames,
    seed=st.integers(0, 2**32),
    n=st.integers(1, 300),
    prevalence=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    spacing=st.sampled_from([0, 0.1, 1.0, 10.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from([1e-30, 1.0, -1.0, 1e30]),
)


def quietly(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


@settings(max_examples=300)
@given(frames, st.booleans())
@pytest.mark.parametrize("curve", ["roc_curve", "precision_recall_curve"])
def test_curves_are_identical(curve, case, drop_intermediate):
    mine, other = (
        quietly(getattr(library, curve), *case, drop_intermediate=drop_intermediate)
        for library in (ours, theirs)
    )
    for a, b in zip(mine, other, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@settings(max_examples=300)
@given(frames)
def test_areas_agree(case):
    for area in ("roc_auc_score", "average_precision_score"):
        mine, other = (quietly(getattr(library, area), *case) for library in (ours, theirs))
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-15, err_msg=area)


@settings(max_examples=300)
@given(frames, st.sampled_from(["warn", 0, 1, math.nan]))
def test_measures_at_one_threshold_agree(case, zero_division):
    y_true, y_pred = case[0], (case[1] > 0.5).astype(int)
    for measure in ("precision_score", "recall_score", "f1_score"):
        mine, other = (
            quietly(getattr(library, measure), y_true, y_pred, zero_division=zero_division)
            for library in (ours, theirs)
        )
        np.testing.assert_allclose(mine, other, rtol=1e-15, err_msg=measure)
    assert ours.accuracy_score(y_true, y_pred) == theirs.accuracy_score(y_true, y_pred)


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 60),
    n_classes=st.integers(1, 5),
    normalize=st.sampled_from([None, "true", "pred", "all"]),
    name_labels=st.booleans(),
)
@example(seed=0, n=1, n_classes=1, normalize=None, name_labels=False)
def test_confusion_matrices_agree(seed, n, n_classes, normalize, name_labels):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, n_classes, n), rng.integers(0, n_classes, n)
    labels = rng.permutation(np.unique(y_true)) if name_labels else None
    mine, other = (
        quietly(library.confusion_matrix, y_true, y_pred, labels=labels, normalize=normalize)
        for library in (ours, theirs)
    )
    assert mine.dtype == other.dtype
    np.testing.assert_allclose(mine, other, rtol=1e-15)


@pytest.mark.parametrize(
    ("measure", "arguments"),
    [
        ("roc_curve", ([0, 0], [0.1, 0.2])),
        ("roc_curve", ([1, 1], [0.1, 0.2])),
        ("roc_auc_score", ([1, 1], [0.1, 0.2])),
        ("precision_recall_curve", ([0, 0], [0.1, 0.2])),
        ("average_precision_score", ([0, 0], [0.1, 0.2])),
        ("precision_score", ([0, 1], [0, 0])),
        ("recall_score", ([0, 0], [0, 1])),
        ("f1_score", ([0, 0], [0, 0])),
        ("confusion_matrix", ([0, 0], [0, 0])),
    ],
)
def test_both_warn_where_a_measure_is_undefined(measure, arguments):
    for library in (ours, theirs):
        with pytest.warns(UserWarning) as caught:
            getattr(library, measure)(*arguments)
        assert len(caught) == 1


@pytest.mark.parametrize("score", [math.inf, -math.inf, math.nan])
def test_both_refuse_scores_that_are_not_finite(score):
    for library in (ours, theirs):
        for measure in ("roc_curve", "roc_auc_score", "average_precision_score"):
            # scikit-learn sums to look for infinities, and inf - inf warns
            with np.errstate(invalid="ignore"), pytest.raises(ValueError):
                getattr(library, measure)([0, 1, 1, 0], [0.3, score, -score, 0.5])
