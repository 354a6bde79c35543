"""The bootstrap against drawing recordings one by one and measuring their pooled frames."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import metrics
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError
from scratchaudio.metrics import bootstrap

ROUNDING = 1e-12


def draw_recordings(seed, R, spread=0.5, n_frames=30, decimals=1):
    """R recordings of different lengths; `spread` makes some recordings harder than others."""
    rng = np.random.default_rng(seed)
    y_trues, y_scores = [], []
    for r in range(R):
        y_true = rng.random(n_frames + r) < rng.uniform(0.2, 0.8)
        y_true[:2] = False, True
        scores = rng.normal(size=y_true.size) + 1.5 * y_true + spread * rng.normal()
        y_trues.append(y_true)
        y_scores.append(np.round(scores, decimals))
    return y_trues, y_scores


recordings = st.builds(draw_recordings, seed=st.integers(0, 2**32), R=st.integers(2, 7))


@given(recordings)
def test_summed_confusion_counts_give_the_f1_of_all_frames(case):
    y_trues, y_scores = case
    y_preds = [scores >= 0.5 for scores in y_scores]
    counts = metrics.confusion_counts(y_trues, y_preds)
    assert counts.shape == (len(y_trues), 2, 2)
    for table, y_true, y_pred in zip(counts, y_trues, y_preds, strict=True):
        assert table.tolist() == metrics.confusion_matrix(y_true, y_pred, labels=[0, 1]).tolist()
    pooled = metrics.f1_score(np.concatenate(y_trues), np.concatenate(y_preds))
    assert abs(metrics.f1_of_counts(counts.sum(axis=0)) - pooled) <= ROUNDING


@given(recordings)
def test_summed_score_counts_give_the_exact_auc_while_each_score_has_its_bin(case):
    y_trues, y_scores = case
    counts = metrics.score_counts(y_trues, y_scores)
    assert counts.shape == (len(y_trues), 2, np.unique(np.concatenate(y_scores)).size)
    np.testing.assert_array_equal(counts.sum(axis=2)[:, 0], [(~y).sum() for y in y_trues])
    np.testing.assert_array_equal(counts.sum(axis=2)[:, 1], [y.sum() for y in y_trues])
    pooled = metrics.roc_auc_score(np.concatenate(y_trues), np.concatenate(y_scores))
    assert abs(metrics.auc_of_counts(counts.sum(axis=0)) - pooled) <= ROUNDING


@given(seed=st.integers(0, 2**32), n_bins=st.integers(1, 40))
def test_coarse_bins_miss_the_auc_by_less_than_the_stated_bound(seed, n_bins):
    y_trues, y_scores = draw_recordings(seed, 5, decimals=9)
    table = metrics.score_counts(y_trues, y_scores, n_bins).sum(axis=0)  # (2, n_bins)
    assert table.shape == (2, n_bins)
    sizes = table.sum(axis=0)
    assert sizes.max() - sizes.min() <= 1, "bins must share out the distinct scores evenly"
    exact = metrics.roc_auc_score(np.concatenate(y_trues), np.concatenate(y_scores))
    shares = table / table.sum(axis=1, keepdims=True)
    bound = (shares[0] * shares[1]).sum() / 2
    assert abs(metrics.auc_of_counts(table) - exact) <= bound + ROUNDING


def test_a_thousand_bins_are_fine_enough_for_150_000_frames():
    y_trues, y_scores = draw_recordings(0, 50, n_frames=3000, decimals=9)
    binned = metrics.auc_of_counts(metrics.score_counts(y_trues, y_scores).sum(axis=0))
    exact = metrics.roc_auc_score(np.concatenate(y_trues), np.concatenate(y_scores))
    assert abs(binned - exact) <= 1e-5


@pytest.mark.parametrize("measure", ["auc", "f1"])
def test_the_interval_is_that_of_redrawing_recordings_frame_by_frame(measure):
    """Draw recordings with replacement and pool their frames, literally; both are 2000 draws."""
    y_trues, y_scores = draw_recordings(4, 9, spread=1.0)
    y_preds = [scores >= 0.5 for scores in y_scores]
    rng = np.random.default_rng(1)
    values = []
    for _ in range(2000):
        drawn = rng.integers(0, 9, size=9)
        y_true = np.concatenate([y_trues[r] for r in drawn])
        if measure == "auc":
            y_score = np.concatenate([y_scores[r] for r in drawn])
            values.append(metrics.roc_auc_score(y_true, y_score))
        else:
            values.append(metrics.f1_score(y_true, np.concatenate([y_preds[r] for r in drawn])))
    expected = np.quantile(values, [0.05, 0.95])
    if measure == "auc":
        statistic, tables = metrics.auc_of_counts, metrics.score_counts(y_trues, y_scores)
    else:
        statistic, tables = metrics.f1_of_counts, metrics.confusion_counts(y_trues, y_preds)
    interval = metrics.bootstrap_ci(statistic, tables, n_resamples=2000, confidence=0.9, rng=2)
    # Two sets of 2000 draws: their 5 % quantiles scatter by about 2 % of the interval's width.
    width = expected[1] - expected[0]
    assert width > 0.02
    np.testing.assert_allclose(interval, expected, atol=0.1 * width)


def test_the_mean_of_independent_numbers_gets_the_textbook_interval():
    """For R numbers the interval of the mean is mean +- 1.96 s / sqrt(R), up to a few percent."""
    x = np.random.default_rng(0).normal(3.0, 2.0, size=200)
    tables = np.stack([x, np.ones(200)], axis=1)  # a sum and a count: both add up
    low, high = metrics.bootstrap_ci(lambda t: t[:, 0] / t[:, 1], tables, n_resamples=20_000, rng=5)
    half = 1.96 * x.std() / math.sqrt(200)
    # 20 000 draws place their 2.5 % quantile to about 1 % of the half-width.
    np.testing.assert_allclose([low, high], [x.mean() - half, x.mean() + half], atol=0.05 * half)


def test_frames_of_one_recording_are_not_independent_witnesses():
    """Resampling frames as if they were recordings makes the interval several times too narrow."""
    y_trues, y_scores = draw_recordings(6, 12, spread=2.0, n_frames=300)
    whole = metrics.score_counts(y_trues, y_scores)
    frame_by_frame = metrics.score_counts(
        np.concatenate(y_trues)[:, None], np.concatenate(y_scores)[:, None], n_bins=50
    )
    low, high = metrics.bootstrap_ci(metrics.auc_of_counts, whole, rng=0)
    naive_low, naive_high = metrics.bootstrap_ci(metrics.auc_of_counts, frame_by_frame, rng=0)
    assert high - low > 2 * (naive_high - naive_low)


@given(recordings, st.integers(0, 2**32))
def test_the_interval_grows_with_the_confidence_and_repeats_with_the_seed(case, seed):
    tables = metrics.score_counts(*case)
    before = tables.copy()
    tables.flags.writeable = False
    narrow, wide, again = (
        metrics.bootstrap_ci(metrics.auc_of_counts, tables, confidence=share, rng=seed)
        for share in (0.5, 0.95, 0.95)
    )
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
    assert wide == again
    np.testing.assert_array_equal(tables, before)


def test_equal_recordings_leave_no_doubt():
    y_true, y_score = [0, 1, 0, 1], [0.1, 0.9, 0.4, 0.3]
    tables = metrics.score_counts([y_true] * 5, [y_score] * 5)
    low, high = metrics.bootstrap_ci(metrics.auc_of_counts, tables, rng=0)
    np.testing.assert_allclose([low, high], 0.75, atol=ROUNDING)


def test_methods_are_compared_on_the_same_recordings():
    """One method a little better on every recording: sure, though the two intervals overlap."""
    y_trues, y_scores = draw_recordings(8, 10, spread=2.0, decimals=3)
    better = [s + 0.2 * y for s, y in zip(y_scores, y_trues, strict=True)]
    n_bins = 200
    ours = metrics.score_counts(y_trues, better, n_bins)
    theirs = metrics.score_counts(y_trues, y_scores, n_bins)
    auc = metrics.auc_of_counts
    ours_low, _ = metrics.bootstrap_ci(auc, ours, rng=0)
    _, theirs_high = metrics.bootstrap_ci(auc, theirs, rng=0)
    assert ours_low < theirs_high
    low, _ = metrics.bootstrap_ci(
        lambda both: auc(both[:, 0]) - auc(both[:, 1]), np.stack([ours, theirs], axis=1), rng=0
    )
    assert low > 0


def test_new_test_sets_without_a_value_are_left_out():
    silence, speech = [0, 0, 0], [1, 1]
    tables = metrics.score_counts([silence, speech], [[0.1, 0.2, 0.3], [0.25, 0.4]])
    low, high = metrics.bootstrap_ci(metrics.auc_of_counts, tables, rng=0)
    assert low == high == pytest.approx(5 / 6)  # half of the draws hold both recordings
    never = metrics.score_counts([silence, silence], [[0.1, 0.2, 0.3]] * 2)
    assert np.isnan(metrics.bootstrap_ci(metrics.auc_of_counts, never, rng=0)).all()
    assert np.isnan(metrics.f1_of_counts(metrics.confusion_counts([[0]], [[0]]))).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.bootstrap_ci(metrics.f1_of_counts, np.ones((1, 2, 2))),
            r"tables must hold at least 2 recordings to resample, got shape \(1, 2, 2\)",
        ),
        (
            lambda: metrics.bootstrap_ci(metrics.f1_of_counts, np.ones((3, 2, 2)), confidence=95),
            "confidence must lie between 0 and 1, got 95",
        ),
        (
            lambda: metrics.bootstrap_ci(metrics.f1_of_counts, np.ones((3, 2, 2)), n_resamples=0),
            "n_resamples must be an integer of at least 1, got 0",
        ),
        (
            lambda: metrics.bootstrap_ci(np.mean, np.ones((3, 2, 2)), n_resamples=7),
            r"statistic must map tables \(7, 2, 2\) to values \(7,\), got \(\)",
        ),
        (
            lambda: metrics.score_counts([[0, 1]], [[0.1, 0.2], [0.3]]),
            "y_trues and y_scores must be lists with one array for each recording, got 1 and 2",
        ),
        (
            lambda: metrics.confusion_counts([], []),
            "y_trues and y_preds must be lists with one array for each recording, got 0 and 0",
        ),
        (
            lambda: metrics.score_counts([[0, 1]], [[0.1, math.nan]]),
            r"y_score must be finite, but y_score\[1\] is nan",
        ),
        (
            lambda: metrics.score_counts([[0, 1]], [[0.1, 0.2]], n_bins=0),
            "n_bins must be an integer of at least 1, got 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ScratchAudioError, match=message) as caught:
        call()
    assert isinstance(caught.value, ShapeError | ConfigError)


def test_examples_in_the_docstrings_are_true():
    assert doctest.testmod(bootstrap).failed == 0
