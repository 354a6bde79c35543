"""WaveGAN with kinds: what enters where, gradients by differences, what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import nn
from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import CallOrderError, CheckpointError, ConfigError, ShapeError
from scratchaudio.models import (
    ClassWaveGANDiscriminator,
    ClassWaveGANGenerator,
    WaveGANDiscriminator,
    class_gan,
    load_model,
)
from scratchaudio.models.class_gan import Choice, compand, expand
from scratchaudio.nn.gradcheck import fourth_order_difference

KINDS = ["kick", "snare", "hat"]
SIZES = {"n_samples": 48, "width": 3, "n_layers": 2, "kernel_size": 7}


def make_generator(n_latent=7, **settings):
    return ClassWaveGANGenerator(KINDS, n_latent, **SIZES, rng=0, **settings)


def make_discriminator(**settings):
    """Without the shuffle, in float64, with every parameter off its start."""
    settings = {"radius": 0} | settings
    layer = ClassWaveGANDiscriminator(3, **SIZES, rng=0, **settings).astype(np.float64)
    rng = np.random.default_rng(9)
    for parameter in layer.parameters():
        parameter.value += 0.2 * rng.standard_normal(parameter.value.shape)
    return layer


def examples(B=5, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (B, 1, 48)), np.array([2, 0, 1, 1, 2])[:B]


# The generator -----------------------------------------------------------------------------------


def test_the_last_numbers_of_z_are_the_kind_and_the_others_noise():
    generator = make_generator()
    z = generator.draw_kind([1, 0, 2, 1], rng=3)
    np.testing.assert_array_equal(z[:, 4:], [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    assert z.shape == (4, 7) and z.dtype == np.float32
    many = generator.draw_kind(np.zeros(3000, int), rng=4)[:, :4]
    assert -1 <= many.min() < -0.99 and 0.99 < many.max() <= 1 and abs(many.mean()) < 0.03
    np.testing.assert_array_equal(z, generator.draw_kind([1, 0, 2, 1], rng=3))


def test_kinds_that_are_drawn_are_all_kinds():
    z = make_generator().draw(3000, rng=0)
    np.testing.assert_array_equal(z[:, 4:].sum(axis=1), 1)
    assert ((z[:, 4:] == 0) | (z[:, 4:] == 1)).all()
    np.testing.assert_allclose(z[:, 4:].mean(axis=0), 1 / 3, atol=0.03)


def test_a_kind_chooses_a_row_of_the_dense_layer_as_bias():
    generator = make_generator().astype(np.float64).eval()
    z = generator.draw_kind([2, 0], rng=1)
    W, b = (getattr(generator.network.layers[0], name).value.copy() for name in "Wb")
    expected = z[:, :4] @ W[:4] + b + W[[6, 4]]
    np.testing.assert_allclose(generator.network.layers[0].forward(z), expected, rtol=1e-12)


def test_make_says_the_kind_by_its_name():
    generator = make_generator().eval()
    made = generator.make("hat", n=3, rng=5)
    assert made.shape == (3, 1, 48)
    np.testing.assert_array_equal(made, generator.forward(generator.draw_kind([2, 2, 2], rng=5)))
    assert not np.allclose(made, generator.make("kick", n=3, rng=5))
    assert generator.make("kick").shape == (1, 1, 48)


def test_the_bend_is_taken_off_what_is_heard():
    generator = make_generator(mu=30.0).eval()
    z = generator.draw_kind([2, 2, 2], rng=5)
    c = generator.forward(z)
    by_hand = [math.copysign((31 ** abs(v) - 1) / 30, v) for v in c.ravel().tolist()]
    np.testing.assert_allclose(generator.sounds(z).ravel(), by_hand, rtol=1e-4, atol=1e-8)
    np.testing.assert_array_equal(generator.make("hat", n=3, rng=5), generator.sounds(z))
    assert generator.sounds(z).dtype == np.float32
    np.testing.assert_array_equal(make_generator().forward(z), c)


@given(mu=st.sampled_from([0, 0.5, 30, 255.0]), seed=st.integers(0, 10**6))
def test_expanding_undoes_companding(mu, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, (3, 7))
    c = compand(x, mu)
    np.testing.assert_allclose(expand(c, mu), x, rtol=1e-12)
    np.testing.assert_array_equal(compand(-x, mu), -c)
    assert (np.abs(c) >= np.abs(x) - 1e-12).all() and np.abs(c).max() <= 1
    assert (np.diff(compand(np.sort(x.ravel()), mu)) > 0).all()
    single = compand(x.astype(np.float32), mu)
    assert single.dtype == expand(single, mu).dtype == np.float32


def test_slopes_of_the_bend_are_those_the_docstring_states():
    h = 1e-7
    assert compand(h, 30) / h == pytest.approx(8.7, abs=0.05)
    assert (compand(1.0, 30) - compand(1 - h, 30)) / h == pytest.approx(1 / 3.5, abs=0.01)


def test_the_small_one_is_within_0_7_mb(tmp_path):
    generator = ClassWaveGANGenerator([str(i) for i in range(7)], 24, **class_gan.SMALL, rng=0)
    save_checkpoint(tmp_path / "g.npz", generator, settings=generator.settings)
    assert (tmp_path / "g.npz").stat().st_size < 0.7e6


def test_a_checkpoint_brings_back_sounds_kinds_and_sizes(tmp_path):
    generator = make_generator(sample_rate=8000, n_channels=2, mu=3.0).eval()
    save_checkpoint(tmp_path / "g.npz", generator, settings=generator.settings)
    again = load_model(tmp_path / "g.npz")
    assert (again.kinds, again.sample_rate, again.mu) == (tuple(KINDS), 8000, 3.0)
    np.testing.assert_array_equal(again.make("snare", 4, 0), generator.make("snare", 4, 0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_latent", 8), ("n_samples", 64), ("width", 4), ("kinds", ["a"] * 3), ("kinds", None)],
)
def test_a_checkpoint_whose_settings_lie_is_refused(tmp_path, name, value):
    generator = make_generator()
    settings = generator.settings | {name: value}
    save_checkpoint(tmp_path / "g.npz", generator, settings=settings)
    with pytest.raises(CheckpointError, match=name):
        ClassWaveGANGenerator.from_checkpoint(load_checkpoint(tmp_path / "g.npz"))


# The discriminator -------------------------------------------------------------------------------


def test_the_logit_is_the_plain_discriminator_s_with_the_weights_of_the_kind():
    layer = make_discriminator()
    x, kind = examples()
    logits = layer.forward(x, kind)
    plain = WaveGANDiscriminator(**SIZES, radius=0).astype(np.float64)
    *shared, dense, _ = layer.network.layers
    for mine, theirs in zip(shared, plain.network.layers, strict=False):
        theirs.load_state_dict(mine.state_dict())
    for b, k in enumerate(kind):
        plain.network.layers[-1].W.value[:, 0] = dense.W.value[:, k]
        plain.network.layers[-1].b.value[0] = dense.b.value[k]
        np.testing.assert_allclose(plain.forward(x[[b]]), logits[[b]], rtol=1e-10)
    assert logits.shape == (5,) and np.ptp(logits) > 0.1


@pytest.mark.parametrize("spectral", [False, True])
def test_kinds_that_were_not_asked_for_get_no_gradient(spectral):
    layer = make_discriminator(spectral=spectral)
    x, kind = examples()
    layer.forward(x, np.where(kind == 1, 0, kind))  # 0 and 2
    layer.backward(np.arange(1.0, 6.0))
    dense = layer.network.layers[-2]
    bias = dense.layer.b if spectral else dense.b
    assert bias.grad[1] == 0 and (bias.grad[[0, 2]] != 0).all()
    np.testing.assert_allclose(bias.grad, [2 + 3 + 4, 0, 1 + 5])


def test_settings_reach_the_layers():
    for spectral, shared in ((True, False), (False, True)):
        settings = {"spectral": spectral, "shared": shared, "radius": 1}
        layers = ClassWaveGANDiscriminator(3, **SIZES, **settings).network.layers
        weighted = [layer for layer in layers if hasattr(layer, "W")]
        assert len(weighted) == 3
        assert all(isinstance(layer, nn.SpectralNorm) == spectral for layer in weighted)
        (shuffle,) = [layer for layer in layers if isinstance(layer, nn.PhaseShuffle)]
        assert shuffle.shared == shared and shuffle.radius == 1


def test_a_choice_takes_one_score_and_hands_its_gradient_back():
    choice = Choice()
    choice.kind = np.array([1, 0, 1])
    scores = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(choice.forward(scores), [[1], [2], [5]])
    dx = choice.backward(np.array([[7.0], [8], [9]]))
    np.testing.assert_array_equal(dx, [[0, 7], [8, 0], [0, 9]])
    with pytest.raises(CallOrderError):
        choice.backward(np.ones((3, 1)))
    assert choice.kind is None, "an old choice must not be taken for a new one"
    choice.kind = np.array([0, 0, 1])
    choice.forward(scores)
    with pytest.raises(ShapeError, match="dy must have shape"):
        choice.backward(np.ones((3, 2)))


def test_the_penalty_s_gradient_is_that_of_the_whole_penalty():
    """Fourth-order differences of P, which measures the slope of the logit of the right kind."""
    layer = make_discriminator()
    (real, kind), (fake, _) = examples(), examples(seed=2)

    def penalty():
        return nn.gradient_penalty(layer.given(kind), real, fake, 1.0, rng=3)

    layer.zero_grad()
    penalty()
    gradients = [parameter.grad.copy() for parameter in layer.parameters()]
    seen = 0
    for (name, parameter), got in zip(layer.named_parameters(), gradients, strict=True):
        value = parameter.value

        def moved(v, value=value):
            before = value.copy()
            value[...] = v
            P = penalty()
            value[...] = before
            return P

        measured = fourth_order_difference(moved, value.copy(), h=1e-4)
        np.testing.assert_allclose(got, measured, rtol=1e-6, atol=1e-8, err_msg=name)
        seen += abs(got).max() > 1e-3
    assert seen >= 3
    np.testing.assert_array_equal(layer.network.layers[-2].b.grad, 0)


def test_given_kinds_are_the_same_network():
    layer = make_discriminator()
    x, kind = examples()
    expected = layer.forward(x, kind)
    dx = layer.backward(np.arange(1.0, 6.0))
    given = layer.given(kind)
    np.testing.assert_array_equal(given.forward(x), expected)
    np.testing.assert_array_equal(given.backward(np.arange(1.0, 6.0)), dx)
    assert [p is q for p, q in zip(given.parameters(), layer.parameters(), strict=True)]
    state = {n: (p.value.tobytes(), p.grad.tobytes()) for n, p in layer.named_parameters()}
    given.forward(x)
    with nn.frozen(layer):
        given.backward(np.ones(5))
    assert state == {n: (p.value.tobytes(), p.grad.tobytes()) for n, p in layer.named_parameters()}


# It learns ---------------------------------------------------------------------------------------


def test_it_learns_which_kind_is_which():
    """Two kinds of short sounds, one positive, one negative: asked for one, it makes that one."""
    rng = np.random.default_rng(0)
    sizes = {"n_samples": 16, "width": 4, "n_layers": 1, "kernel_size": 8}
    G = ClassWaveGANGenerator(["up", "down"], 4, **sizes, rng=rng)
    D = ClassWaveGANDiscriminator(2, **sizes, rng=rng)
    G_optimizer, D_optimizer = (nn.Adam(m.parameters(), 3e-3, (0.5, 0.9)) for m in (G, D))
    sign = np.array([1, -1], np.float32)
    for _ in range(150):
        kind = rng.integers(2, size=16)
        real = (sign[kind] * rng.uniform(0.4, 0.6, 16).astype(np.float32))[:, None, None]
        real = np.repeat(real, 16, axis=2)
        fake = G.forward(G.draw_kind(kind, rng))
        D.zero_grad()
        logits = D.forward(np.concatenate([real, fake]), np.concatenate([kind, kind]))
        _, dreal, dfake = nn.WASSERSTEIN.discriminator(logits[:16], logits[16:])
        D.backward(np.concatenate([dreal, dfake]))
        nn.gradient_penalty(D.given(kind), real, fake, 10.0, rng)
        D_optimizer.step()
        G.zero_grad()
        _, dlogits = nn.WASSERSTEIN.generator(D.forward(G.forward(G.draw_kind(kind, rng)), kind))
        with nn.frozen(D):
            dfake = D.backward(dlogits)
        G.backward(dfake)
        G_optimizer.step()
    up, down = (G.eval().make(name, 50, rng).mean(axis=(1, 2)) for name in ("up", "down"))
    assert up.min() > 0.1 and down.max() < -0.1


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kinds": []}, r"kinds must be a list of names, each once, got \[\]"),
        ({"kinds": ["a", "a"]}, "each once"),
        ({"kinds": "kick"}, "kinds must be a list of names"),
        ({"kinds": [1, 2]}, "kinds must be a list of names"),
        ({"n_latent": 3}, "n_latent must be more than 3, .* got 3"),
        ({"n_latent": 4.5}, "n_latent must be an integer"),
        ({"mu": -1}, "mu must be a finite number of at least 0, got -1"),
        ({"mu": math.nan}, "mu must be"),
        ({"mu": math.inf}, "mu must be"),
        ({"mu": "30"}, "mu must be"),
        ({"n_samples": 50}, "n_samples must be a multiple of 16"),
    ],
)
def test_impossible_generators(settings, says):
    with pytest.raises(ConfigError, match=says):
        ClassWaveGANGenerator(**({"kinds": KINDS, "n_latent": 7} | SIZES | settings))


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ([0, 3], ConfigError, "kind must be from 0 to 2, got 0 to 3"),
        ([-1, 0], ConfigError, "kind must be from 0 to 2, got -1 to 0"),
        ([0.0, 1.0], ShapeError, "an integer for each example, got float64"),
        ([[0, 1]], ShapeError, r"of shape \(1, 2\)"),
        ([], ShapeError, r"shape \(0,\)"),
    ],
)
def test_impossible_kinds(kind, error, says):
    for ask in (
        make_generator().draw_kind,
        lambda k: make_discriminator().forward(examples(2)[0], k),
    ):
        with pytest.raises(error, match=says):
            ask(kind)


def test_wrong_calls_are_explained():
    generator, discriminator = make_generator(), make_discriminator()
    with pytest.raises(ConfigError, match=r"name must be one of \('kick', 'snare', 'hat'\), got"):
        generator.make("cowbell")
    with pytest.raises(ConfigError, match="n must be an integer of at least 1, got 0"):
        generator.make("kick", 0)
    with pytest.raises(ConfigError, match="n must be an integer of at least 1, got 0"):
        generator.draw(0)
    with pytest.raises(ShapeError, match=r"z must have shape \(batch, 7\)"):
        generator.forward(np.zeros((2, 4), np.float32))
    x, kind = examples()
    with pytest.raises(ShapeError, match=r"one entry for each x, got \(4,\) for \(5, 1, 48\)"):
        discriminator.forward(x, kind[:4])
    with pytest.raises(ShapeError, match="x must lie in -1..1"):
        discriminator.forward(2 * x, kind)
    with pytest.raises(ConfigError, match="n_kinds must be an integer of at least 1, got 0"):
        ClassWaveGANDiscriminator(0, **SIZES)
