"""Losses against loops over the definition, gradients by complex step, masks and extremes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import bce_with_logits, cross_entropy, l1, mse
from scratchaudio.nn.gradcheck import complex_step

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True)
seeds = st.integers(0, 2**32 - 1)

# Each case: the function, what draws its target, and the loss of one entry by the definition.


def mse_one(x, t):
    return (x - t) ** 2


def l1_one(x, t):
    return x - t if x > t else t - x


def bce_one(x, t, pos_weight=1.0):
    p = 1 / (1 + math.exp(-x))
    return -(pos_weight * t * math.log(p) + (1 - t) * math.log(1 - p))


def cross_entropy_one(row, label, smoothing=0.0):
    K = len(row)
    total = sum(math.exp(x) for x in row)
    loss = 0.0
    for k, x in enumerate(row):
        q = (1 - smoothing) * (k == label) + smoothing / K
        loss -= q * math.log(math.exp(x) / total)
    return loss


def drawn_mask(rng, shape):
    """Random, with at least one entry True; None one time in four."""
    mask = rng.random(shape) < 0.6
    mask.flat[rng.integers(mask.size)] = True
    return None if rng.random() < 0.25 else mask


def mean_of_valid(losses, mask):
    valid = [loss for index, loss in losses if mask is None or mask[index]]
    return sum(valid) / len(valid)


def check(function, x, args, expected, **options):
    """Value against the loop's, gradient against the complex step, nothing changed."""
    before = x.copy()
    loss, dx = function(x, *args, **options)
    assert type(loss) is float
    assert loss == pytest.approx(expected, rel=1e-11, abs=1e-13)
    measured = complex_step(lambda z: function(z, *args, **options)[0], x)
    assert (abs(dx - measured) <= 1e-13).all(), f"off by {abs(dx - measured).max():.1e}"
    assert np.linalg.norm(measured) > 1e-3
    assert np.array_equal(x, before)


@given(shape=shapes, seed=seeds)
def test_mse(shape, seed):
    rng = np.random.default_rng(seed)
    x, t, mask = rng.standard_normal(shape), rng.standard_normal(shape), drawn_mask(rng, shape)
    losses = [(i, mse_one(x[i], t[i])) for i in np.ndindex(*shape)]
    check(mse, x, (t, mask), mean_of_valid(losses, mask))


@given(shape=shapes, seed=seeds)
def test_l1(shape, seed):
    rng = np.random.default_rng(seed)
    x, t, mask = rng.standard_normal(shape), rng.standard_normal(shape), drawn_mask(rng, shape)
    losses = [(i, l1_one(x[i], t[i])) for i in np.ndindex(*shape)]
    check(l1, x, (t, mask), mean_of_valid(losses, mask))


def test_l1_pulls_nowhere_at_its_kink():
    loss, dx = l1(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 3.0, 1.0]))
    assert loss == 1
    assert dx.tolist() == [-0.25, 0, 0, 0.25]


@given(shape=shapes, seed=seeds, hard=st.booleans(), pos_weight=st.sampled_from([1.0, 0.3, 4]))
def test_bce_with_logits(shape, seed, hard, pos_weight):
    rng = np.random.default_rng(seed)
    x, t, mask = rng.standard_normal(shape), rng.random(shape), drawn_mask(rng, shape)
    t = t < 0.5 if hard else t
    losses = [(i, bce_one(x[i], float(t[i]), pos_weight)) for i in np.ndindex(*shape)]
    check(bce_with_logits, x, (t, mask), mean_of_valid(losses, mask), pos_weight=pos_weight)


@given(shape=shapes, K=st.integers(2, 6), seed=seeds, smoothing=st.sampled_from([0.0, 0.1, 0.7]))
def test_cross_entropy(shape, K, seed, smoothing):
    rng = np.random.default_rng(seed)
    x, mask = rng.standard_normal((*shape, K)), drawn_mask(rng, shape)
    labels = rng.integers(0, K, shape)
    losses = [
        (i, cross_entropy_one(x[i].tolist(), labels[i], smoothing)) for i in np.ndindex(*shape)
    ]
    expected = mean_of_valid(losses, mask)
    check(cross_entropy, x, (labels, mask), expected, label_smoothing=smoothing)


# Masks -------------------------------------------------------------------------------------------

CASES = [
    (mse, lambda rng, shape: rng.standard_normal(shape), ()),
    (l1, lambda rng, shape: rng.standard_normal(shape), ()),
    (bce_with_logits, lambda rng, shape: rng.random(shape), ()),
    (cross_entropy, lambda rng, shape: rng.integers(0, 4, shape), (4,)),
]
ids = [function.__name__ for function, *_ in CASES]


@pytest.mark.parametrize(("function", "target", "classes"), CASES, ids=ids)
@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e30])
def test_what_padding_holds_has_no_influence(function, target, classes, junk):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((3, 5, *classes)), target(rng, (3, 5))
    mask = np.arange(5) < np.array([[2], [5], [3]])  # (B, T)
    parts = [function(x[b, :n], t[b, :n]) for b, n in enumerate((2, 5, 3))]
    expected = sum(n * loss for n, (loss, _) in zip((2, 5, 3), parts, strict=True)) / 10

    x[~mask] = junk
    t[~mask] = -1 if function is cross_entropy else junk
    loss, dx = function(x, t, mask)
    assert loss == pytest.approx(expected, rel=1e-13)
    assert not dx[~mask].any()
    for b, n in enumerate((2, 5, 3)):
        np.testing.assert_allclose(dx[b, :n], parts[b][1] * n / 10, rtol=1e-13)


@pytest.mark.parametrize(("function", "target", "classes"), CASES, ids=ids)
def test_a_mask_broadcasts_from_the_last_axis(function, target, classes):
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((3, 5, *classes)), target(rng, (3, 5))
    for mask in (np.array([1, 0, 1, 1, 0], bool), np.array([[True], [False], [True]])):
        got, dgot = function(x, t, mask)
        full, dfull = function(x, t, np.broadcast_to(mask, (3, 5)).copy())
        assert got == full
        assert np.array_equal(dgot, dfull)


@pytest.mark.parametrize(("function", "target", "classes"), CASES, ids=ids)
def test_a_mask_that_cannot_be_is_refused(function, target, classes):
    rng = np.random.default_rng(2)
    x, t = rng.standard_normal((3, 5, *classes)), target(rng, (3, 5))
    with pytest.raises(ShapeError, match="mask leaves no valid entry"):
        function(x, t, np.zeros((3, 5), bool))
    with pytest.raises(
        ShapeError, match=r"\(3,\) does not broadcast to \(3, 5\).*mask\[\.\.\., None"
    ):
        function(x, t, np.ones(3, bool))
    with pytest.raises(ShapeError, match=r"\(2, 3, 5\) does not broadcast to \(3, 5\)"):
        function(x, t, np.ones((2, 3, 5), bool))
    with pytest.raises(ShapeError, match="mask must be boolean .*got float64"):
        function(x, t, np.ones((3, 5)))


# Extremes and dtype ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("function", "target", "classes"), CASES, ids=ids)
def test_dtype_stays(function, target, classes, dtype):
    rng = np.random.default_rng(3)
    x, t = rng.standard_normal((3, 5, *classes)).astype(dtype), target(rng, (3, 5))
    for mask in (None, np.arange(5) < 4):
        loss, dx = function(x, t, mask)
        assert type(loss) is float
        assert dx.dtype == dtype
        assert dx.shape == x.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_give_the_limit(dtype):
    x = np.array([1e4, -1e4, 1e4, -1e4], dtype)
    loss, dx = bce_with_logits(x, np.array([1, 0, 0, 1]))
    assert loss == 5000
    assert dx.tolist() == [0, 0, 0.25, -0.25]
    loss, dx = cross_entropy(x.reshape(2, 2), np.array([0, 1]))
    assert loss == 10000
    assert dx.tolist() == [[0, 0], [0.5, -0.5]]


def test_a_small_loss_keeps_its_digits():
    """-log sigma(x) = exp(-x) for large x: 1 - p would be 0."""
    loss, dx = bce_with_logits(np.array([50.0, -50.0]), np.array([1, 0]))
    assert loss == pytest.approx(math.exp(-50), rel=1e-12)
    np.testing.assert_allclose(dx, [-math.exp(-50) / 2, math.exp(-50) / 2], rtol=1e-12)


def test_two_class_cross_entropy_is_binary_cross_entropy():
    rng = np.random.default_rng(4)
    x, t = rng.standard_normal(7), rng.integers(0, 2, 7)
    loss, dx = bce_with_logits(x, t)
    logits = np.stack([np.zeros(7), x], axis=-1)
    other, dlogits = cross_entropy(logits, t)
    assert loss == pytest.approx(other, rel=1e-13)
    np.testing.assert_allclose(dlogits, np.stack([-dx, dx], axis=-1), atol=1e-16)


def test_impossible_class_of_minus_infinity():
    loss, dx = cross_entropy(np.array([[0.0, -np.inf, 0.0]]), np.array([2]))
    assert loss == pytest.approx(math.log(2))
    assert dx.tolist() == [[0.5, 0, -0.5]]


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "name"), [(mse, "prediction"), (l1, "prediction"), (bce_with_logits, "logits")]
)
def test_target_of_another_shape_is_refused_not_broadcast(function, name):
    with pytest.raises(ShapeError, match=rf"got target \(5,\) for {name} \(5, 1\)"):
        function(np.zeros((5, 1)), np.zeros(5))
    with pytest.raises(ShapeError, match=f"{name} must be floating-point numbers, got dtype int64"):
        function(np.zeros(5, int), np.zeros(5))
    with pytest.raises(ShapeError, match=r"at least one entry, got shape \(0, 3\)"):
        function(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize("value", [-0.1, 2, np.nan])
def test_binary_targets_lie_in_0_1(value):
    target = np.zeros((2, 3))
    target[1, 2] = value
    with pytest.raises(ShapeError, match=rf"0\.\.1, but target\[1, 2\] is {value}"):
        bce_with_logits(np.zeros((2, 3)), target)
    bce_with_logits(np.zeros((2, 3)), target, mask=~(target != 0))


def test_labels_are_checked():
    x = np.zeros((2, 3, 4))
    with pytest.raises(ShapeError, match=r"got labels \(2, 4\) for logits \(2, 3, 4\)"):
        cross_entropy(x, np.zeros((2, 4), int))
    with pytest.raises(ShapeError, match="labels must be integers, .*got float64"):
        cross_entropy(x, np.zeros((2, 3)))
    for bad in (-1, 4):
        labels = np.zeros((2, 3), int)
        labels[1, 0] = bad
        with pytest.raises(ShapeError, match=rf"lie in 0\.\.3, but labels\[1, 0\] is {bad}"):
            cross_entropy(x, labels)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="pos_weight must be positive, got 0"):
        bce_with_logits(np.zeros(3), np.zeros(3), pos_weight=0)
    for smoothing in (-0.1, 1.0, math.nan):
        with pytest.raises(ConfigError, match=r"label_smoothing must lie in 0\.\.1"):
            cross_entropy(np.zeros((3, 2)), np.zeros(3, int), label_smoothing=smoothing)
