"""The losses of the two players: loops over the definition, complex step, extremes, laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import nn
from scratchaudio.errors import ShapeError
from scratchaudio.nn.gradcheck import complex_step

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3)
GAMES = {
    "non-saturating": nn.NON_SATURATING,
    "least squares": nn.LEAST_SQUARES,
    "hinge": nn.HINGE,
    "Wasserstein": nn.WASSERSTEIN,
}
games = pytest.mark.parametrize("name", GAMES)

# What one logit costs: of a real sound to D, of a fake to D, of a fake to G.
ONE = {
    "non-saturating": (
        lambda r: -math.log(1 / (1 + math.exp(-r))),
        lambda a: -math.log(1 - 1 / (1 + math.exp(-a))),
        lambda a: -math.log(1 / (1 + math.exp(-a))),
    ),
    "least squares": (lambda r: (r - 1) ** 2, lambda a: a**2, lambda a: (a - 1) ** 2),
    "hinge": (lambda r: max(0, 1 - r), lambda a: max(0, 1 + a), lambda a: -a),
    "Wasserstein": (lambda r: -r, lambda a: a, lambda a: -a),
}


def mean(one, logits):
    return sum(one(x) for x in logits.ravel().tolist()) / logits.size


@games
@given(shape=shapes, other=shapes, seed=seeds)
def test_values_and_gradients(name, shape, other, seed):
    """Real and fake logits of different shapes, near 0 and further out."""
    rng = np.random.default_rng(seed)
    real, fake = (
        rng.uniform(0.1, 3) * rng.standard_normal(size) for size in (tuple(shape), tuple(other))
    )
    of_real, of_fake, of_generator = ONE[name]
    before = real.copy(), fake.copy()

    loss, dreal, dfake = GAMES[name].discriminator(real, fake)
    assert type(loss) is float
    assert loss == pytest.approx(mean(of_real, real) + mean(of_fake, fake), rel=1e-9, abs=1e-9)
    measured = complex_step(lambda x: GAMES[name].discriminator(x, fake)[0], real)
    np.testing.assert_allclose(dreal, measured, rtol=1e-12, atol=1e-15)
    measured = complex_step(lambda x: GAMES[name].discriminator(real, x)[0], fake)
    np.testing.assert_allclose(dfake, measured, rtol=1e-12, atol=1e-15)

    loss, dfake = GAMES[name].generator(fake)
    assert type(loss) is float
    assert loss == pytest.approx(mean(of_generator, fake), rel=1e-9, abs=1e-9)
    measured = complex_step(lambda x: GAMES[name].generator(x)[0], fake)
    np.testing.assert_allclose(dfake, measured, rtol=1e-12, atol=1e-15)
    assert np.array_equal(real, before[0]) and np.array_equal(fake, before[1])


@games
@given(seed=seeds)
def test_every_player_pulls_to_its_own_side(name, seed):
    """D wants real up and fake down, or is content; G wants fakes up wherever D finds them fake."""
    rng = np.random.default_rng(seed)
    real, fake = rng.uniform(-9, 0.9, 7), rng.uniform(0.1, 9, 7)  # all of them wrongly judged
    _, dreal, dfake = GAMES[name].discriminator(real, fake)
    assert (dreal < 0).all() and (dfake > 0).all()
    _, dfake = GAMES[name].generator(-fake)
    assert (dfake < 0).all()


@games
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [50, 1e4])
def test_far_out_nothing_overflows(name, dtype, size):
    """Losses and gradients are those of the limit, and keep the dtype."""
    real, fake = np.array([size, -size], dtype), np.array([-size, size, size], dtype)
    loss, dreal, dfake = GAMES[name].discriminator(real, fake)
    generator_loss, dgenerator = GAMES[name].generator(fake)
    assert dreal.dtype == dfake.dtype == dgenerator.dtype == dtype
    if name == "non-saturating":
        assert loss == pytest.approx(size / 2 + 2 * size / 3, rel=1e-6)
        np.testing.assert_allclose(dreal, [0, -1 / 2], atol=1e-20)
        np.testing.assert_allclose(dfake, [0, 1 / 3, 1 / 3], rtol=1e-6, atol=1e-20)
        assert generator_loss == pytest.approx(size / 3, rel=1e-6)
        np.testing.assert_allclose(dgenerator, [-1 / 3, 0, 0], rtol=1e-6, atol=1e-20)
    elif name == "least squares":
        assert loss == pytest.approx(size**2 + 1 + size**2, rel=1e-6)
        np.testing.assert_allclose(dgenerator, 2 * (fake - 1) / 3, rtol=1e-6)
    else:
        slack = 1 if name == "hinge" else 0
        mean_real = (size + slack) / 2 if slack else 0
        mean_fake = 2 * (size + slack) / 3 if slack else size / 3
        assert loss == pytest.approx(mean_real + mean_fake, rel=1e-6)
        np.testing.assert_allclose(dreal, [0 if slack else -1 / 2, -1 / 2], rtol=1e-6)
        np.testing.assert_allclose(dfake, [0 if slack else 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
        np.testing.assert_allclose(dgenerator, [-1 / 3] * 3, rtol=1e-6)


def test_the_generator_learns_most_where_the_discriminator_is_sure():
    """What non-saturating means: the slope of log(1 - sigma(a)) would be exp(-50) here."""
    _, dfake = nn.NON_SATURATING.generator(np.array([-50.0]))
    assert dfake.item() == pytest.approx(-1, rel=1e-12)


def test_a_small_loss_keeps_its_digits():
    loss, dreal, dfake = nn.NON_SATURATING.discriminator(np.array([50.0]), np.array([-50.0]))
    assert loss == pytest.approx(2 * math.exp(-50), rel=1e-12)
    assert dreal.item() == pytest.approx(-math.exp(-50), rel=1e-12)
    assert dfake.item() == pytest.approx(math.exp(-50), rel=1e-12)


def test_hinge_is_content_at_its_kink():
    loss, dreal, dfake = nn.HINGE.discriminator(np.array([1.0, 1.5, 0.5]), np.array([-1.0, 0.0]))
    assert loss == pytest.approx(0.5 / 3 + 1 / 2)
    np.testing.assert_allclose(dreal, [0, 0, -1 / 3])
    np.testing.assert_allclose(dfake, [0, 1 / 2])


@given(seed=seeds, shift=st.floats(-100, 100))
def test_a_wasserstein_critic_has_no_zero(seed, shift):
    """Only the difference counts: another constant added to all logits is the same critic."""
    rng = np.random.default_rng(seed)
    real, fake = rng.standard_normal(5), rng.standard_normal(3)
    here, there = (nn.WASSERSTEIN.discriminator(real + s, fake + s)[0] for s in (0, shift))
    assert here == pytest.approx(there, abs=1e-12)
    assert here == pytest.approx(-nn.WASSERSTEIN.discriminator(fake, real)[0], abs=1e-12)


@games
def test_logits_that_cannot_be(name):
    good = np.ones(3)
    for bad, message in (
        (np.arange(3), "logits must be floating-point numbers, got dtype int64"),
        (np.ones((0, 2)), r"logits must hold at least one number, got shape \(0, 2\)"),
    ):
        with pytest.raises(ShapeError, match=f"real {message}"):
            GAMES[name].discriminator(bad, good)
        with pytest.raises(ShapeError, match=f"fake {message}"):
            GAMES[name].discriminator(good, bad)
        with pytest.raises(ShapeError, match=f"fake {message}"):
            GAMES[name].generator(bad)
