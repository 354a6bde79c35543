"""Open-Unmix: forward step by step, gradients, sizes, streams, learning, songs, checkpoints."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp, nn
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CallOrderError, CheckpointError, ConfigError, ShapeError
from scratchaudio.models import OpenUnmix, load_model, open_unmix, songs
from scratchaudio.testing import RepeatingGenerator

# B, C, F, F', T, H and H / 2 are 3, 2, 8, 6, 4, 10 and 5: no two alike
TINY = {"n_hidden": 10, "n_layers": 2, "n_fft": 14, "hop_length": 5, "sample_rate": 100}
TINY |= {"bandwidth": 36}
SR = 100
seeds = st.integers(0, 2**32 - 1)
both_ways = pytest.mark.parametrize("bidirectional", [True, False])


def tiny(seed=0, bidirectional=True, **changed):
    """Two layers, with weights off their initial values, without dropout."""
    model = OpenUnmix(**TINY | {"dropout": 0.0, "bidirectional": bidirectional} | changed, rng=seed)
    rng = np.random.default_rng(seed + 1)
    for parameter in model.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    return model


def in_use(seed=0, bidirectional=True, dtype=np.float32, **changed):
    """The same, with statistics of a few batches, in evaluation."""
    model = tiny(seed, bidirectional, **changed).astype(dtype)
    for i in range(20):
        model.forward(magnitudes(i, C=model.n_channels, F=model.n_bins).astype(dtype))
    return model.eval()


def magnitudes(seed=0, B=3, C=2, F=8, T=4):
    return np.random.default_rng(seed).random((B, C, F, T))


def layers_of(layer):
    return [layer] + [inner for _, child in layer.children() for inner in layers_of(child)]


# Forward -----------------------------------------------------------------------------------------


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def normalised(norm, rows):
    """Batch normalisation of rows, unit by unit: by themselves in training, else by the past."""
    out = np.empty_like(rows)
    for unit, column in enumerate(rows.T):
        mean, var = norm.running_mean.value[unit], norm.running_var.value[unit]
        if norm.training:
            mean = sum(column) / len(column)
            var = sum((column - mean) ** 2) / len(column)
        out[:, unit] = (column - mean) / np.sqrt(var + 1e-5)
    return out * norm.gamma.value + norm.beta.value


def lstm_by_steps(lstm, sequence):
    """(T, D) -> (T, H), one step after the other."""
    H = lstm.n_hidden
    h, c, out = np.zeros(H), np.zeros(H), []
    for x in sequence:
        i, f, o, g = np.split(x @ lstm.Wx.value + h @ lstm.Wh.value + lstm.b.value, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.array(out)


def by_steps(model, X):
    """The module's equations, one frame, one layer and one direction after the other.

    Returns y, and what the two relu get.
    """
    (B, C, F, T), n = X.shape, model.n_heard
    frames = [(b, t) for b in range(B) for t in range(T)]
    rows = []
    for b, t in frames:
        heard = [(X[b, c, :n, t] + model.input_mean.value) * model.input_scale.value
                 for c in range(C)]  # fmt: skip
        rows.append(np.concatenate(heard) @ model.dense1.W.value)
    h = np.tanh(normalised(model.norm1, np.array(rows)))

    y = h
    for layer in model.recurrent:
        out = []
        for b in range(B):
            sequence = y[b * T : (b + 1) * T]
            if isinstance(layer, nn.Bidirectional):
                ahead = lstm_by_steps(layer.ahead, sequence)
                back = lstm_by_steps(layer.back, sequence[::-1])[::-1]
                out.append(np.concatenate([ahead, back], axis=1))
            else:
                out.append(lstm_by_steps(layer, sequence))
        y = np.concatenate(out)

    before_relu = normalised(model.norm2, np.concatenate([h, y], axis=1) @ model.dense2.W.value)
    z = np.maximum(before_relu, 0)
    w = normalised(model.norm3, z @ model.dense3.W.value)
    gain = np.empty(X.shape)
    for (b, t), row in zip(frames, w, strict=True):
        for c in range(C):
            of_channel = row[c * F : (c + 1) * F]
            gain[b, c, :, t] = of_channel * model.output_scale.value + model.output_mean.value
    return np.maximum(gain, 0) * X, before_relu, gain


@both_ways
@pytest.mark.parametrize("C", [1, 2, 3])
@pytest.mark.parametrize("T", [1, 4])
def test_forward_step_by_step(bidirectional, C, T):
    """In training, and in evaluation with the statistics that training left."""
    model = tiny(1, bidirectional, n_channels=C, n_layers=3).astype(np.float64)
    X = magnitudes(2, C=C, T=T)
    expected, before_relu, gain = by_steps(model, X)
    y = model.forward(X)
    assert y.shape == X.shape and y.dtype == np.float64
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)
    for kinked in (before_relu, gain):
        assert 0.1 < (kinked > 0).mean() < 1, "both sides of relu"

    for seed in range(5):
        model.forward(magnitudes(seed, C=C, T=T))
    model.eval()
    got, expected = model.forward(X), by_steps(model, X)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(got - y).max() > 1e-2


def test_magnitudes_are_multiplied_and_may_grow():
    X = magnitudes(3)
    y = in_use().forward(X.astype(np.float32))
    assert (y >= 0).all() and (y > X).any() and (y == 0).any()
    X[1] = 0
    assert not in_use().forward(X.astype(np.float32))[1].any()


def test_what_is_above_the_bandwidth_is_predicted_but_not_heard():
    model, X = in_use(dtype=np.float64), magnitudes(4)
    assert model.n_heard == 6
    louder = X.copy()
    louder[:, :, 6:] *= 3
    y, other = model.forward(X), model.forward(louder)
    np.testing.assert_array_equal(other[:, :, :6], y[:, :, :6])
    np.testing.assert_allclose(other[:, :, 6:], 3 * y[:, :, 6:], rtol=1e-12)
    assert y[:, :, 6:].any()
    louder[:, :, 5] *= 3
    assert np.abs(model.forward(louder)[:, :, :5] - y[:, :, :5]).max() > 1e-3


@both_ways
def test_dropout_is_between_the_layers_in_training_only(bidirectional):
    model = OpenUnmix(**TINY | {"n_layers": 3, "bidirectional": bidirectional}, rng=0)
    assert [dropout.p for dropout in model.dropouts] == [0.4, 0.4, 0.0]
    X = magnitudes(5).astype(np.float32)
    assert np.abs(model.forward(X) - model.forward(X)).max() > 1e-3
    model.eval()
    np.testing.assert_array_equal(model.forward(X), model.forward(X))


@both_ways
def test_evaluation_keeps_nothing_and_does_not_depend_on_the_batch(bidirectional):
    model, X = in_use(bidirectional=bidirectional), magnitudes(6).astype(np.float32)
    before = model.state_dict()
    y = model.forward(X)
    np.testing.assert_array_equal(model.forward(X), y)
    assert all(layer._saved is None for layer in layers_of(model))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    for x, one in zip(X, y, strict=True):
        np.testing.assert_allclose(model.forward(x[None])[0], one, rtol=1e-5, atol=1e-6)


# Gradients ---------------------------------------------------------------------------------------


@both_ways
def test_gradients(bidirectional):
    """The step off the real line crosses no kink.

    norm1 takes out of its input what is the same in all frames, so that input_mean has none. The
    tolerance is relative to what sizes the others have, and this one is rounding alone.
    """
    model, X = tiny(7, bidirectional).astype(np.float64), magnitudes(8)
    nn.check_gradients(model, X, may_vanish=("input_mean",), tolerance=1e-9)
    model.forward(X)
    model.backward(np.random.default_rng(9).standard_normal(X.shape))
    assert np.abs(model.input_mean.grad).max() < 1e-12 < 1e-3 < np.abs(model.input_scale.grad).max()


def test_gradients_with_a_first_normalisation_that_keeps_the_mean():
    """Of each frame by itself: then input_mean has a gradient, too. Units are dropped, the same."""
    model = tiny(7, dropout=0.4, n_hidden=6)
    model.norm1 = nn.LayerNorm(6)
    for seed, dropout in enumerate(model.dropouts):
        dropout.rng = RepeatingGenerator(seed)
    nn.check_gradients(model.astype(np.float64), magnitudes(8))


@both_ways
def test_gradients_by_differences_away_from_the_kinks(bidirectional):
    """Along one direction through all parameters, and one through the input."""
    model, X = tiny(11, bidirectional).astype(np.float64), magnitudes(12)
    _, before_relu, gain = by_steps(model, X)
    assert min(np.abs(before_relu).min(), np.abs(gain).min()) > 1e-3
    rng = np.random.default_rng(13)
    dy, dX = rng.standard_normal(X.shape), rng.standard_normal(X.shape)
    directions = [rng.standard_normal(p.value.shape) for p in model.parameters()]
    model.forward(X)
    along_X = (model.backward(dy) * dX).sum()
    along_parameters = sum(
        (p.grad * d).sum() for p, d in zip(model.parameters(), directions, strict=True)
    )
    starts = [p.value for p in model.parameters()]

    def loss_along_parameters(step):
        for p, start, direction in zip(model.parameters(), starts, directions, strict=True):
            p.value = start + step[0] * direction
        return (dy * model.forward(X)).sum()

    def loss_along_X(step):
        return (dy * model.forward(X + step[0] * dX)).sum()

    measured = nn.fourth_order_difference(loss_along_X, np.zeros(1), h=1e-5)[0]
    assert measured == pytest.approx(along_X, rel=1e-7) and abs(measured) > 0.1
    measured = nn.fourth_order_difference(loss_along_parameters, np.zeros(1), h=1e-5)[0]
    assert measured == pytest.approx(along_parameters, rel=1e-7) and abs(measured) > 0.1


def test_at_the_kink_the_slope_is_0():
    """A gain of exactly 0 everywhere sends nothing back."""
    model, X = tiny().astype(np.float64), magnitudes()
    for parameter in (model.norm3.beta, model.norm3.gamma, model.output_mean):
        parameter.value[...] = 0
    assert not model.forward(X).any()
    assert not model.backward(np.ones(X.shape)).any()
    assert not any(p.grad.any() for p in model.parameters())


def test_gradients_go_on_adding_and_float32_stays():
    model, X = tiny(), magnitudes(1).astype(np.float32)
    dy = np.random.default_rng(2).standard_normal(X.shape).astype(np.float32)
    y = model.forward(X)
    dX = model.backward(dy)
    assert y.dtype == dX.dtype == np.float32
    once = [p.grad.copy() for p in model.parameters()]
    model.forward(X)
    model.backward(dy)
    for (name, p), first in zip(model.named_parameters(), once, strict=True):
        assert p.grad.dtype == np.float32
        if name != "input_mean":
            np.testing.assert_allclose(p.grad, 2 * first, rtol=1e-4, atol=1e-4)


# Sizes -------------------------------------------------------------------------------------------


def test_the_published_size():
    """Two channels, 4096 samples in a frame, 16 kHz heard, 512 units; one bias in an LSTM."""
    C, F, heard, H = 2, 2049, 1487, 512
    lstm = 2 * (H * 4 * H // 2 + H // 2 * 4 * H // 2 + 4 * H // 2)  # both ways, H / 2 each
    expected = 2 * heard + C * heard * H + 2 * H + 3 * lstm + 2 * H * H + 2 * H
    expected += H * C * F + 2 * C * F + 2 * F
    model = OpenUnmix(rng=0)
    assert sum(p.value.size for p in model.parameters()) == expected == 8887204
    assert (model.n_heard, model.n_bins) == (heard, F)
    torch_has_two = 3 * 2 * 4 * H // 2
    assert expected + torch_has_two == 8893348
    assert len(model.recurrent) == 3
    assert (model.n_fft, model.hop_length, model.sample_rate) == (4096, 1024, 44100)


def test_one_way_each_layer_has_all_units():
    model = tiny(bidirectional=False)
    assert [layer.Wh.value.shape for layer in model.recurrent] == [(10, 40)] * 2
    assert OpenUnmix(**TINY | {"n_hidden": 7, "bidirectional": False}).dense2.W.value.shape[0] == 14


def test_the_small_size_is_small():
    model = OpenUnmix(**open_unmix.SMALL, rng=0)
    assert sum(p.value.nbytes for p in model.parameters()) < 4e6
    assert model.n_heard == 744


@given(
    n_fft=st.integers(1, 3000).map(lambda n: 2 * n),
    sample_rate=st.integers(1, 96000),
    share=st.floats(1e-3, 1),
)
@settings(max_examples=30)
def test_heard_is_every_bin_up_to_the_bandwidth(n_fft, sample_rate, share):
    bandwidth = share * sample_rate / 2
    model = OpenUnmix(1, 2, 1, True, 0.0, n_fft, 1, sample_rate, bandwidth)
    frequencies = dsp.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    below = (frequencies <= bandwidth * (1 - 1e-12)).sum()
    assert below <= model.n_heard <= (frequencies <= bandwidth * (1 + 1e-12)).sum()
    assert model.n_heard <= model.n_bins == len(frequencies)
    assert model.input_mean.value.shape == model.input_scale.value.shape == (model.n_heard,)


def test_it_begins_with_a_gain_around_1():
    model = OpenUnmix(**open_unmix.SMALL, rng=0)
    X = np.random.default_rng(0).random((2, 2, 1025, 20), np.float32) + 0.5
    gain = model.forward(X) / X
    assert 1 < gain.mean() < 1.15 and 0.7 < gain.std() < 0.95  # max(0, 1 + normal numbers)


def test_the_seed_is_what_the_weights_depend_on():
    for sizes in (TINY, TINY | {"bidirectional": False}):
        one, same, other = (OpenUnmix(**sizes, rng=seed).state_dict() for seed in (0, 0, 1))
        for name, value in one.items():
            np.testing.assert_array_equal(value, same[name])
        drawn = [name for name in one if name.startswith("dense") or name.endswith(("Wx", "Wh"))]
        assert len(drawn) in (7, 11)
        assert not any(np.array_equal(one[name], other[name]) for name in drawn)
    one = OpenUnmix(**TINY, rng=0).state_dict()
    assert not np.array_equal(one["recurrent.0.ahead.Wx"], one["recurrent.0.back.Wx"])
    assert not np.array_equal(one["recurrent.0.ahead.Wx"], one["recurrent.1.ahead.Wx"])


# What songs have in common -----------------------------------------------------------------------


def spectra(seed=0):
    """Magnitudes (3, 2, 8, 5) whose bins have other means and deviations each."""
    rng = np.random.default_rng(seed)
    scale = np.array([5, 3, 1, 0.5, 0.2, 0.1, 0.05, 0.02])[:, None]
    return (scale * (1 + rng.random((3, 2, 8, 5)))).astype(np.float32)


def test_normalise_brings_every_bin_to_mean_0_and_deviation_1():
    model, X = tiny(), spectra()
    before = X.copy()
    model.normalise(X)
    for f in range(model.n_heard):
        entries = X[:, :, f].astype(float).ravel()
        assert model.input_mean.value[f] == pytest.approx(-entries.mean(), rel=1e-5)
        assert model.input_scale.value[f] == pytest.approx(1 / entries.std(), rel=1e-4)
    assert model.input_mean.value.dtype == model.input_scale.value.dtype == np.float32
    np.testing.assert_array_equal(X, before)
    for shape in [(2, 8, 15), (8, 30)]:  # songs and channels may be one axis with time, or none
        other = tiny()
        other.normalise(np.moveaxis(X, 2, 0).reshape(8, *shape[:-2], shape[-1]).swapaxes(0, -2))
        np.testing.assert_allclose(other.input_mean.value, model.input_mean.value, rtol=1e-5)
        np.testing.assert_allclose(other.input_scale.value, model.input_scale.value, rtol=1e-4)


def test_a_bin_that_hardly_changes_is_not_blown_up():
    model, X = tiny(), spectra()
    X[:, :, 2] = 0.7
    model.normalise(X)
    largest = max(X[:, :, f].astype(float).std() for f in range(6))
    assert model.input_scale.value[2] == pytest.approx(1e4 / largest, rel=1e-3)
    assert model.input_scale.value[1] < 10


def test_bins_that_are_not_heard_do_not_count():
    model, other, X = tiny(), tiny(), spectra()
    model.normalise(X)
    X[:, :, 6:] *= 1e6
    other.normalise(X)
    np.testing.assert_array_equal(model.input_scale.value, other.input_scale.value)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((3, 2, 7, 5)), r"must have shape \(..., 8, frames\), got \(3, 2, 7, 5\)"),
        (np.ones((3, 2, 9, 5)), r"must have shape \(..., 8, frames\), got \(3, 2, 9, 5\)"),
        (np.ones(8), r"must have shape \(..., 8, frames\), got \(8,\)"),
        (np.ones((3, 2, 8, 0)), r"must have shape \(..., 8, frames\), got \(3, 2, 8, 0\)"),
        (np.zeros((3, 2, 8, 5)), "magnitudes must be finite and vary"),
        (np.full((3, 2, 8, 5), 0.1, np.float32), "magnitudes must be finite and vary"),
        (np.full((3, 2, 8, 5), np.nan), "magnitudes must be finite and vary"),
        (np.where(np.arange(5) == 3, np.inf, np.ones((3, 2, 8, 5))), "magnitudes must be finite"),
    ],
)
def test_magnitudes_that_have_no_scale(X, message):
    model = tiny()
    before = model.state_dict()
    with pytest.raises(ShapeError, match=message):
        model.normalise(X)
    np.testing.assert_array_equal(model.input_mean.value, before["input_mean"])
    np.testing.assert_array_equal(model.input_scale.value, before["input_scale"])


# As it comes -------------------------------------------------------------------------------------


def test_one_way_the_future_changes_nothing():
    model, X = in_use(bidirectional=False), magnitudes(1, T=9).astype(np.float32)
    y = model.forward(X)
    X[..., 5:] = np.nan
    np.testing.assert_array_equal(model.forward(X)[..., :5], y[..., :5])


def test_both_ways_it_does_and_the_past_does_in_either():
    X = magnitudes(1, T=9)
    for bidirectional in (True, False):
        model = in_use(bidirectional=bidirectional, dtype=np.float64)
        y, changed = model.forward(X), X.copy()
        changed[..., 8] += 1
        moved = np.abs(model.forward(changed) - y)[..., :8].max()
        assert (moved > 1e-6) == bidirectional
        changed = X.copy()
        changed[..., 0] += 1
        assert np.abs(model.forward(changed) - y)[..., 8].max() > 1e-9


@given(seed=seeds, B=st.integers(1, 3), cuts=st.sets(st.integers(1, 11), max_size=5))
@settings(max_examples=20)
def test_piece_by_piece_it_is_the_whole(seed, B, cuts):
    model = in_use(1, bidirectional=False, dtype=np.float64)
    X = magnitudes(seed, B=B, T=12)
    state = model.start(B)
    pieces = [model.forward(part, state) for part in np.split(X, sorted(cuts), axis=-1)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=-1), model.forward(X), rtol=1e-11)


def test_a_song_begins_anew_with_a_new_state():
    model, X = in_use(bidirectional=False), magnitudes(1, B=1).astype(np.float32)
    first = model.start()
    y = model.forward(X, first)
    assert np.abs(model.forward(X, first) - y).max() > 1e-4
    np.testing.assert_array_equal(model.forward(X, model.start()), y)


def test_streams_that_cannot_be():
    message = "start is for evaluation, and for bidirectional=False"
    with pytest.raises(CallOrderError, match=message):
        in_use().start()
    with pytest.raises(CallOrderError, match=message):
        tiny(bidirectional=False).start()
    model, X = in_use(bidirectional=False), magnitudes().astype(np.float32)
    state = model.start(3)
    with pytest.raises(CallOrderError, match=r"a state is for evaluation: call eval\(\) first"):
        model.train().forward(X, state)
    with pytest.raises(ShapeError, match=r"state of LSTM must have shape \(3, 10\)"):
        model.eval().forward(X, model.start(2))


# Learning ----------------------------------------------------------------------------------------


@both_ways
def test_it_learns(bidirectional):
    """The voice has the lower bins, and is silent in every other half of a song."""
    rng = np.random.default_rng(0)
    X = rng.random((4, 2, 8, 12)).astype(np.float32) + 0.5
    sings = np.array([1, 0, 0, 1])[:, None, None, None] == (np.arange(12) < 6)
    X[:, :, 0] += 2 * sings[:, :, 0]
    S = X * (np.arange(8) < 4)[:, None] * sings
    model = OpenUnmix(**TINY | {"dropout": 0.0, "bidirectional": bidirectional}, rng=0)
    model.normalise(X)
    optimizer = nn.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(80):
        model.zero_grad()
        loss, dy = nn.mse(model.forward(X), S)
        model.backward(dy)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] / 10, losses[::10]


# Songs -------------------------------------------------------------------------------------------


def song(shape, seed=0, dtype=np.float64):
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


@pytest.fixture(scope="module")
def separator():
    return in_use()


def test_separate_is_that_of_all_networks_of_magnitudes(separator):
    """One round of the Wiener filter unless it is said."""
    x = song((2, 701))
    for n_iter in (0, 1, 2):
        expected = songs.separate_by_magnitudes(separator, x, SR, n_iter)
        np.testing.assert_array_equal(separator.separate(x, SR, n_iter), expected)
        assert (n_iter == 1) == np.array_equal(separator.separate(x, SR), expected)


@pytest.mark.parametrize("sr", [50, SR, 221, 44100])
@pytest.mark.parametrize("shape", [(701,), (1, 701), (2, 701)])
def test_stems_sum_to_the_song_at_any_rate(separator, shape, sr):
    for dtype in (np.float32, np.float64):
        x = song(shape, dtype=dtype)
        before = x.copy()
        stems = separator.separate(x, sr)
        assert stems.shape == (2, *shape) and stems.dtype == dtype
        np.testing.assert_allclose(stems.sum(axis=0), x, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(x, before)
        assert stems[0].any() and stems[1].any()


def test_one_channel_has_one_result_with_or_without_an_axis(separator):
    x = song(701)
    np.testing.assert_array_equal(separator.separate(x[None], SR)[:, 0], separator.separate(x, SR))


@pytest.mark.parametrize("N", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("channels", [(), (1,), (2,)])
def test_a_song_shorter_than_a_window(separator, N, channels):
    x = song((*channels, N))
    stems = separator.separate(x, SR)
    assert stems.shape == (2, *x.shape)
    np.testing.assert_allclose(stems.sum(axis=0), x, rtol=0, atol=1e-6)
    assert np.abs(stems).max() < 10


@pytest.mark.parametrize("shape", [(701,), (2, 701)])
def test_silence_stays_silent(separator, shape):
    assert not separator.separate(np.zeros(shape), SR).any()


@pytest.mark.parametrize("n_iter", [0, 1])
def test_left_and_right_exchanged_exchange_the_channels(separator, n_iter):
    """Middle stays, and the side changes its sign."""
    x = song((2, 701))
    stems = separator.separate(x, SR, n_iter)
    assert np.abs(stems[0, 0] - stems[0, 1]).max() > 1e-2
    exchanged = separator.separate(x[::-1], SR, n_iter)
    np.testing.assert_allclose(exchanged, stems[:, ::-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_iter", [0, 1])
def test_a_network_in_training_is_put_into_use(n_iter):
    model, x = tiny(), song((2, 701))
    before = model.state_dict()
    model.separate(x, SR, n_iter)
    assert not any(layer.training for layer in layers_of(model))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_gain_reaches_the_sound():
    """With a gain of 0.5 in all bins the vocals are half of the song."""
    model = in_use()
    model.norm3.gamma.value[...] = model.norm3.beta.value[...] = 0
    model.output_mean.value[...] = 0.5
    model.norm3.running_mean.value[...] = 0
    x = song((2, 701))
    np.testing.assert_allclose(model.separate(x, SR, n_iter=0), [x / 2, x / 2], atol=1e-6)


# Checkpoints -------------------------------------------------------------------------------------


@both_ways
def test_a_checkpoint_gives_the_same_network(tmp_path, bidirectional):
    model = in_use(3, bidirectional, dropout=0.2)
    save_checkpoint(tmp_path / "model.npz", model, settings=model.settings)
    loaded = load_model(tmp_path / "model.npz")
    assert type(loaded) is OpenUnmix and not loaded.training
    assert loaded.settings == model.settings
    x = song((2, 701))
    np.testing.assert_array_equal(loaded.separate(x, SR), model.separate(x, SR))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], value)


def test_settings_are_all_that_is_needed():
    model = OpenUnmix(3, 4, 2, False, 0.25, 30, 7, 200, 60.5)
    assert model.settings == {
        "n_channels": 3,
        "n_hidden": 4,
        "n_layers": 2,
        "bidirectional": False,
        "dropout": 0.25,
        "n_fft": 30,
        "hop_length": 7,
        "sample_rate": 200,
        "bandwidth": 60.5,
    }
    again = OpenUnmix(**model.settings).state_dict()
    assert {name: value.shape for name, value in again.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_hidden": 1000}, "n_hidden is 1000 in its settings, 10 in its weights"),
        ({"n_layers": 100}, "n_layers is 100 in its settings, 2 in its weights"),
        ({"n_layers": 1}, "n_layers is 1 in its settings, 2 in its weights"),
        ({"n_channels": 1000}, "n_channels is 1000 in its settings, 2 in its weights"),
        ({"n_fft": 10**5}, "n_fft is 100000 in its settings, 14 in its weights"),
        ({"n_fft": 15}, "n_fft is 15 in its settings, 14 in its weights"),
        ({"n_fft": None}, "n_fft is None in its settings"),
        ({"bandwidth": 20}, r"does not fit .*input_mean is \(6,\) float32, expected \(3,\)"),
        ({"bandwidth": "all"}, "its settings do not fit its class"),
        ({"bandwidth": 51}, "its settings do not fit its class: bandwidth must be above 0"),
        ({"sample_rate": 10**9}, "does not fit .*input_mean is"),
        ({"bidirectional": False}, "does not fit"),
        ({"dropout": 1.5}, "its settings do not fit its class: p must lie in 0..1"),
        ({"hop_length": 0}, "its settings do not fit its class: hop_length must be an integer"),
        ({"rng": -1}, "its settings do not fit its class"),
        ({"magic": 1}, "its settings do not fit its class: .*magic"),
    ],
)
def test_settings_that_are_not_those_of_the_weights(separator, tmp_path, changed, message):
    path = tmp_path / "model.npz"
    save_checkpoint(path, separator, settings=separator.settings | changed)
    with pytest.raises(CheckpointError, match=f"model.npz:? {message}"):
        load_model(path)


@pytest.mark.parametrize(
    "name", ["output_mean", "norm1.gamma", "norm3.gamma", "norm3.running_var", "dense3.W"]
)
@pytest.mark.parametrize("value", [None, np.float32(1), np.ones((2, 0, 3), np.float32)])
def test_weights_that_are_none(separator, tmp_path, name, value):
    """Left out, a single number, or empty: refused, whatever the sizes are told by."""

    class Damaged(nn.Layer):
        def state_dict(self):
            state = separator.state_dict() | {name: value}
            return {key: array for key, array in state.items() if array is not None}

    Damaged.__name__ = "OpenUnmix"
    save_checkpoint(tmp_path / "model.npz", Damaged(), settings=separator.settings)
    with pytest.raises(CheckpointError, match=r"model\.npz"):
        load_model(tmp_path / "model.npz")


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *(
            ({name: bad}, f"{name} must be an integer of at least 1, got {bad}")
            for name in (
                "n_channels",
                "n_hidden",
                "n_layers",
                "n_fft",
                "hop_length",
                "sample_rate",
            )
            for bad in (0, -2, 2.0, True, None)
        ),
        ({"n_hidden": 9}, "n_hidden must be even, half of it for each way, got 9"),
        ({"n_fft": 15}, "n_fft must be even, got 15"),
        ({"bandwidth": 0}, r"bandwidth must be above 0 and at most sample_rate / 2 = 50 Hz, got 0"),
        ({"bandwidth": -1.0}, r"bandwidth must be above 0 .*, got -1.0"),
        ({"bandwidth": 50.1}, r"at most sample_rate / 2 = 50 Hz, got 50.1"),
        ({"bandwidth": float("nan")}, "bandwidth must be above 0 .*, got nan"),
        ({"bandwidth": float("inf")}, "bandwidth must be above 0 .*, got inf"),
        ({"dropout": 1.0}, r"p must lie in 0..1 \(1 excluded\), got 1.0"),
    ],
)
def test_settings_that_cannot_be(changed, message):
    with pytest.raises(ConfigError, match=message):
        OpenUnmix(**TINY | changed)
    OpenUnmix(**TINY | {"n_hidden": 9, "bidirectional": False, "bandwidth": 50})


@pytest.mark.parametrize(
    "shape",
    [
        (2, 8, 4),
        (3, 1, 8, 4),
        (3, 2, 7, 4),
        (3, 2, 4, 8),
        (3, 2, 8, 0),
        (0, 2, 8, 4),
        (3, 2, 8, 4, 1),
        (),
    ],
)
def test_magnitudes_of_another_shape(shape):
    message = rf"X must have shape \(batch, 2, 8, frames\), got \({', '.join(map(str, shape))}"
    for model in (tiny(), in_use()):
        with pytest.raises(ShapeError, match=message):
            model.forward(np.ones(shape, np.float32))


def test_calls_in_another_order():
    model, X = tiny(), magnitudes().astype(np.float32)
    with pytest.raises(CallOrderError, match=r"OpenUnmix.backward needs one OpenUnmix.forward"):
        model.backward(X)
    model.forward(X)
    model.backward(X)
    with pytest.raises(CallOrderError, match=r"OpenUnmix.backward needs one OpenUnmix.forward"):
        model.backward(X)
    copy.deepcopy(model).eval().forward(X)
    with pytest.raises(CallOrderError, match=r"OpenUnmix.backward needs one OpenUnmix.forward"):
        model.eval().backward(X)
    with pytest.raises(ShapeError, match="BatchNorm needs two entries of each channel in training"):
        tiny().forward(X[:1, ..., :1])


@pytest.mark.parametrize(("x", "sr"), [(np.zeros((3, 9)), SR), (np.zeros((2, 9), int), SR)])
def test_songs_that_are_none(separator, x, sr):
    with pytest.raises(ShapeError, match="^x must"):
        separator.separate(x, sr)
    with pytest.raises(ConfigError, match="n_iter must be an integer of at least 1, got -1"):
        separator.separate(song((2, 9)), sr, n_iter=-1)
    with pytest.raises(ConfigError, match="sr must be an integer of at least 1, got 0"):
        separator.separate(song((2, 9)), 0)
