"""Properties of components by hand, and groups that share a spectrogram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.factorization import (
    Properties,
    first_half,
    group_models,
    nmf,
    properties,
    random_factors,
    voice_likeness,
)

seeds = st.integers(0, 2**32 - 1)
SR = 16000


@given(seed=seeds, scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_properties_component_by_component(seed, scale):
    rng = np.random.default_rng(seed)
    F, K, T = 81, 3, 12  # bins of 100 Hz
    W, H = scale * rng.random((2 * F, K)) ** 2, rng.random((K, T))
    found = properties(W, H, SR, n_channels=2)
    f = 100.0 * np.arange(F)
    for k in range(K):
        left, right = W[:F, k] ** 2, W[F:, k] ** 2
        both = left + right
        assert found.position[k] == pytest.approx((right - left).sum() / both.sum())
        assert found.low[k] == pytest.approx(both[f < 200].sum() / both.sum())
        assert found.high[k] == pytest.approx(both[f > 5000].sum() / both.sum())
        middle = np.sqrt(both[(f >= 200) & (f <= 5000)])
        flat = np.prod(middle / middle.mean()) ** (1 / len(middle))
        assert found.flatness[k] == pytest.approx(flat, rel=1e-2)
        steps = [H[k, t + 1] - H[k, t] for t in range(T - 1)]
        rises = sum(s**2 for s in steps if s > 0)
        assert found.attack[k] == pytest.approx(rises / sum(s**2 for s in steps))


@given(seed=seeds)
def test_left_and_right_mirror_the_position_alone(seed):
    rng = np.random.default_rng(seed)
    W, H = rng.random((2, 40, 3)), rng.random((3, 9))
    one = properties(W.reshape(80, 3), H, SR, n_channels=2)
    other = properties(W[::-1].reshape(80, 3), H, SR, n_channels=2)
    np.testing.assert_allclose(other.position, -one.position, atol=1e-12)
    for name in ("low", "high", "flatness", "attack"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9)
    mono = properties(W[0], H, SR)
    np.testing.assert_array_equal(mono.position, 0)


def test_silent_components_have_no_properties():
    found = properties(np.zeros((80, 2)), np.zeros((2, 9)), SR, n_channels=2)
    for name in Properties._fields:
        np.testing.assert_array_equal(getattr(found, name), 0)


def test_sounds_have_the_properties_that_they_were_made_with():
    """A held note, a plucked one and noise: what nmf finds of them, one by one."""
    t = np.arange(2 * SR) / SR
    held = sum(np.sin(2 * np.pi * 300 * h * t) / h for h in range(1, 9)) * np.sin(np.pi * t / 2)
    plucked = sum(np.sin(2 * np.pi * 300 * h * t) / h for h in range(1, 9)) * np.exp(-8 * (t % 0.5))
    noise = np.random.default_rng(0).standard_normal(len(t))
    bass = np.sin(2 * np.pi * 80 * t) * np.sin(np.pi * t / 2)

    def found(x, position=0.0):
        V = np.abs(dsp.stft(dsp.pan(x, position), n_fft=1024, hop_length=256)).reshape(-1, 126)
        return properties(*nmf(V, *random_factors(V, 1, rng=0), n_iter=50)[:2], SR, n_channels=2)

    assert voice_likeness(found(held)).min() > 0.5
    assert found(plucked).attack > 0.65 and voice_likeness(found(plucked)).max() < 0.1
    assert found(noise).flatness > 0.8 and voice_likeness(found(noise)).max() < 0.1
    assert found(bass).low > 0.9 and voice_likeness(found(bass)).max() < 0.1
    assert found(held, -0.8).position < -0.5 and voice_likeness(found(held, -0.8)).max() < 0.1
    assert found(held, 0.8).position > 0.5 and voice_likeness(found(held, 0.8)).max() < 0.1
    assert found(np.diff(held, append=0) * 0 + np.sin(2 * np.pi * 7000 * t)).high > 0.9


@pytest.mark.parametrize("name", Properties._fields)
def test_each_property_can_speak_against_a_voice(name):
    voice = {field: np.zeros(1) for field in Properties._fields}
    assert voice_likeness(Properties(**voice)).min() > 0.5
    assert voice_likeness(Properties(**voice | {name: np.ones(1)})).max() < 0.1


@given(seed=seeds)
def test_likeness_is_a_product_over_the_properties(seed):
    rng = np.random.default_rng(seed)
    found = Properties(*rng.uniform(-1, 1, (5, 4)))
    limits = {"position": 0.3, "low": 0.3, "high": 0.3, "flatness": 0.35, "attack": 0.6}
    for k in range(4):
        product = 1.0
        for name, most in limits.items():
            softness = 0.05 if name in ("flatness", "attack") else 0.1
            product /= 1 + np.exp((abs(getattr(found, name)[k]) - most) / softness)
        assert voice_likeness(found)[k] == pytest.approx(product)


def test_the_first_half():
    assert first_half(5).tolist() == [True, True, False, False, False]
    assert first_half(2).tolist() == [True, False]
    with pytest.raises(ConfigError, match="n_components must be"):
        first_half(0)


@given(seed=seeds, n_sources=st.integers(2, 4))
def test_groups_share_the_product(seed, n_sources):
    rng = np.random.default_rng(seed)
    W, H = rng.random((7, 6)), rng.random((6, 9))
    groups = rng.permutation(np.arange(6) % n_sources)
    models = group_models(W, H, groups)
    assert models.shape == (n_sources, 7, 9)
    np.testing.assert_allclose(models.sum(axis=0), W @ H, rtol=1e-12)
    for s in range(n_sources):
        by_hand = sum(np.outer(W[:, k], H[k]) for k in range(6) if groups[k] == s)
        np.testing.assert_allclose(models[s], by_hand, rtol=1e-12)
    order = rng.permutation(6)
    np.testing.assert_allclose(
        group_models(W[:, order], H[order], groups[order]), models, rtol=1e-9
    )


@given(seed=seeds, beta=st.sampled_from([0.5, 1, 2]), n_sources=st.integers(2, 3))
@settings(max_examples=20)
def test_order_and_scale_of_the_components_leave_the_stems_as_they_are(seed, beta, n_sources):
    """From a start that is ordered and scaled alike, by factorisation, masks and back to sound."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(700)
    X = dsp.stft(x, n_fft=64, hop_length=16)
    V = np.abs(X)
    W, H = random_factors(V, 6, rng)
    groups = np.arange(6) % n_sources

    def stems(W, H, groups):
        W, H, _ = nmf(V, W, H, beta=beta, n_iter=10, tol=0)
        masks = dsp.ratio_masks(group_models(W, H, groups), power=1)
        return dsp.istft(dsp.apply_mask(X, masks), n_fft=64, hop_length=16, length=len(x))

    expected = stems(W, H, groups)
    assert expected.shape == (n_sources, 700)
    np.testing.assert_allclose(expected.sum(axis=0), x, atol=1e-9)
    order, scale = rng.permutation(6), rng.uniform(0.01, 100, 6)
    W, H = (W * scale)[:, order], (H / scale[:, None])[order]
    np.testing.assert_allclose(stems(W, H, groups[order]), expected, atol=1e-7)
    assert np.abs(stems(W, H, groups) - expected).max() > 1e-3 or (groups[order] == groups).all()


@given(seed=seeds, n_sources=st.integers(2, 4), power=st.sampled_from([1, 2]))
def test_masks_of_groups_sum_to_one(seed, n_sources, power):
    """Also where a source, or all of them, are silent."""
    rng = np.random.default_rng(seed)
    W, H = rng.random((7, 6)), rng.random((6, 9))
    W[2] = H[:, 4] = 0
    W[:, 1] = 0
    masks = dsp.ratio_masks(group_models(W, H, np.arange(6) % n_sources), power)
    assert masks.shape == (n_sources, 7, 9)
    assert masks.min() >= 0 and masks.max() <= 1
    np.testing.assert_allclose(masks.sum(axis=0), 1, rtol=1e-12)


def test_marked_components_come_first():
    W, H = np.ones((2, 3)), np.ones((3, 4))
    models = group_models(W, H, np.array([False, True, True]))
    assert models[:, 0, 0].tolist() == [2, 1]
    nothing = group_models(W, H, np.zeros(3, bool))
    assert nothing.shape == (2, 2, 4) and not nothing[0].any()


@given(seed=seeds)
def test_shares_divide_each_component(seed):
    rng = np.random.default_rng(seed)
    W, H, share = rng.random((7, 6)), rng.random((6, 9)), rng.random(6)
    voice, rest = group_models(W, H, share)
    by_hand = sum(share[k] * np.outer(W[:, k], H[k]) for k in range(6))
    np.testing.assert_allclose(voice, by_hand, rtol=1e-12)
    np.testing.assert_allclose(voice + rest, W @ H, rtol=1e-12)
    yes_or_no = share > 0.5
    np.testing.assert_allclose(
        group_models(W, H, yes_or_no.astype(float)), group_models(W, H, yes_or_no), rtol=1e-12
    )


def test_what_is_refused():
    W, H = np.ones((10, 3)), np.ones((3, 4))
    with pytest.raises(ConfigError, match="n_channels must be 1 or 2, got 3"):
        properties(W, H, SR, n_channels=3)
    with pytest.raises(ShapeError, match=r"W must be \(2 F, K\) and H \(K, T\), got W \(9, 3\)"):
        properties(W[:9], H, SR, n_channels=2)
    with pytest.raises(ShapeError, match=r"got W \(10, 3\) and H \(2, 4\)"):
        properties(W, H[:2], SR)
    with pytest.raises(
        ShapeError, match=r"integer, bool or share for each of the 3 components.*\(2,\)"
    ):
        group_models(W, H, [0, 1])
    with pytest.raises(ShapeError, match="complex128"):
        group_models(W, H, [0j, 1j, 0j])
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ShapeError, match="groups must be shares from 0 to 1, got"):
            group_models(W, H, [0.5, wrong, 0.5])
