"""Separators by factorisation: the mask by loops, laws of the stems, two sources told apart."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.factorization import nmf, properties, random_factors, voice_likeness
from scratchaudio.metrics import si_sdr
from scratchaudio.models import (
    BlindSeparator,
    NMFSeparator,
    SemiSupervisedSeparator,
    load_model,
    nmf_separator,
)
from scratchaudio.models.nmf_separator import (
    HIGHEST,
    LOWEST,
    N_BINS,
    N_FFT,
    SAMPLE_RATE,
    learn_spectra,
    middle,
    stack_channels,
    start_alike,
)

SR = 16000
seeds = st.integers(0, 2**32 - 1)


# Songs that are made -----------------------------------------------------------------------------


def voice(seed, seconds=2.0, sr=SR):
    """Sung notes: harmonics of a pitch that wavers, half a second each, with a soft beginning."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sr)) / sr
    note = (2 * t).astype(int)
    pitch = rng.choice([330.0, 392.0, 440.0], note[-1] + 1)[note]
    pitch = pitch * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / sr
    sung = sum(np.sin(h * phase + rng.uniform(0, 6)) / h for h in range(1, 12))
    return 0.2 * sung * np.sin(np.pi * (2 * t % 1)) ** 0.5


def band(seed, seconds=2.0, sr=SR):
    """A low tone, a chord between the partials of the voice, strokes of noise at random moments."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sr)) / sr
    strokes = np.zeros(len(t))
    for start in np.arange(rng.uniform(0, 0.2), seconds, 0.25):
        strokes += rng.standard_normal(len(t)) * np.exp(-40 * (t - start).clip(0)) * (t >= start)
    low = np.sin(2 * np.pi * rng.choice([65.0, 98.0]) * t)
    chord = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in (262.0, 622.0, 933.0))
    return 0.1 * strokes + 0.3 * low + 0.1 * chord


def song(seed=0, seconds=2.0, sr=SR, aside=-0.7):
    """Stems (2, 2, N): a voice in the middle, a band aside."""
    parts = dsp.pan(voice(seed, seconds, sr), 0), dsp.pan(band(seed, seconds, sr), aside)
    return np.stack(parts)


def plain_song(seconds=1.0, sr=SR):
    """Stems (2, 2, N) that need no learning: held notes, strokes at the right, a low tone."""
    t = np.arange(int(seconds * sr)) / sr
    pitch = np.array([330.0, 392.0, 440.0])[(2 * t).astype(int) % 3]
    phase = 2 * np.pi * np.cumsum(pitch) / sr
    held = 0.2 * sum(np.sin(h * phase) / h for h in range(1, 12)) * np.sin(np.pi * (2 * t % 1))
    strokes = 0.2 * noise(0, len(t)) * np.exp(-20 * (t % 0.25))
    low = 0.3 * np.sin(2 * np.pi * 70 * t) * np.cos(2 * np.pi * t) ** 2
    return np.stack([dsp.pan(held, 0), dsp.pan(strokes, 0.8) + dsp.pan(low, 0)])


def noise(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def dictionary(seed, K):
    return np.random.default_rng(seed).random((N_BINS, K)) ** 4


def untrained():
    """Learned nothing, yet a separator: for laws that hold whatever it has learned."""
    return NMFSeparator(dictionary(1, 3), dictionary(2, 4))


@pytest.fixture(scope="module")
def trained():
    """Spectra of voices and bands that play in no other test."""
    learned = {}
    for name, make, K in (("voice", voice, 12), ("band", band, 12)):
        x = np.concatenate([make(seed, 4.0) for seed in (101, 102)])
        V = np.abs(dsp.stft(dsp.resample(x, SR, SAMPLE_RATE), n_fft=N_FFT, hop_length=N_FFT // 4))
        learned[name] = learn_spectra(V[:N_BINS].astype(np.float32), K, n_iter=40, rng=0)
    return NMFSeparator(**learned)


@pytest.fixture
def quick(monkeypatch):
    """A few components and updates are enough for a law."""
    monkeypatch.setattr(nmf_separator, "N_OWN", 6)
    monkeypatch.setattr(nmf_separator, "N_ITER", 8)


@pytest.fixture
def tiny(monkeypatch):
    """Sizes for loops; bins of 689 Hz, so that not all is too low for a voice."""
    for name, value in (("N_BINS", 5), ("N_OWN", 3), ("N_ITER", 4), ("N_FFT", 64)):
        monkeypatch.setattr(nmf_separator, name, value)
    monkeypatch.setattr(nmf_separator, "voice_likeness", mild_likeness)


def mild_likeness(found):
    """Of drawn components too: the real one calls almost all of them noise."""
    return (1 - np.abs(found.position)) * (1 - found.low) * (1 - found.flatness / 2)


def separators():
    return [
        untrained(),
        SemiSupervisedSeparator(dictionary(1, 3), n_band=4, n_iter=8),
        BlindSeparator(8, n_fft=512, hop_length=128, n_iter=30),
    ]


each = pytest.mark.parametrize("separator", separators(), ids=["learned", "semi", "blind"])


# Songs as one matrix -----------------------------------------------------------------------------


@given(seed=seeds, C=st.integers(1, 2))
def test_channels_are_stacked_and_left_comes_first(seed, C):
    X = noise(seed, (C, 3, 5)) + 1j * noise(seed + 1, (C, 3, 5))
    V = stack_channels(X)
    assert V.shape == (3 * C, 5) and V.dtype == np.float32
    for c, f, t in np.ndindex(X.shape):
        assert V[3 * c + f, t] == pytest.approx(abs(X[c, f, t]), rel=1e-6)


def test_the_middle_of_each_bin():
    X = np.array([[[1j, 1, 1, 0, 1]], [[1j, 0, -1, 0, 3]]])
    np.testing.assert_allclose(middle(X), [[1, 0, 0, 0, 0.6]], atol=1e-12)
    psi = middle(X[:1])
    assert psi.shape == (1, 5)
    np.testing.assert_array_equal(psi, 1)


def test_learned_spectra_are_those_that_were_played():
    """Two spectra, each with bins and frames for itself, come out as shares of 1."""
    rng = np.random.default_rng(0)
    truth = np.array([[3.0, 0], [1, 0], [0, 2], [0, 2], [1, 4]])
    when = (rng.random((2, 40)) < 0.5) * rng.random((2, 40))
    W = learn_spectra((truth @ when).astype(np.float32), 2, n_iter=300, rng=0)
    assert W.dtype == np.float32
    W = W[:, np.argsort(-W[0])]
    np.testing.assert_allclose(W, truth / truth.sum(axis=0), atol=0.02)


@given(seed=seeds, K=st.integers(1, 6), dtype=st.sampled_from([np.float32, np.float64]))
def test_learned_spectra_are_shares_of_one_drawn_from_the_seed(seed, K, dtype):
    V = (
        np.random.default_rng(seed).random((7, 5)).astype(dtype)
    )  # fewer frames than components, too
    before = V.copy()
    W = learn_spectra(V, K, n_iter=5, rng=3)
    assert W.shape == (7, K) and W.dtype == dtype and W.min() >= 0
    np.testing.assert_allclose(W.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(learn_spectra(V, K, n_iter=5, rng=3), W)
    assert not np.array_equal(learn_spectra(V, K, n_iter=5, rng=4), W)
    np.testing.assert_array_equal(V, before)


def test_the_updates_of_learning_are_those_of_nmf_with_kullback_leibler():
    V = np.random.default_rng(0).random((7, 9))
    told = []
    W = learn_spectra(V, 3, n_iter=20, rng=5, progress=lambda done, D: told.append((done, D)))
    by_nmf = nmf(V, *random_factors(V, 3, 5), beta=1, n_iter=20, tol=0)
    np.testing.assert_allclose(W, by_nmf.W / by_nmf.W.sum(axis=0), rtol=1e-9)
    assert told == by_nmf.history[1:]


def test_nothing_is_learned_from_silence():
    W = learn_spectra(np.zeros((5, 9), np.float32), 2, rng=0)
    assert np.isfinite(W).all()
    np.testing.assert_array_equal(W, 0)
    one_silent_bin = np.random.default_rng(0).random((5, 9))
    one_silent_bin[2] = 0
    assert not learn_spectra(one_silent_bin, 2, rng=0)[2].any()


# The mask by loops -------------------------------------------------------------------------------


def weighed(M, B, psi):
    """How the three witnesses make the mask, for one bin."""
    return M**0.7 * B**0.5 * psi**2


def heard(M, psi):
    """What counts as voice when a component of the song is asked for its share."""
    return M * psi


def believed(share, likeness):
    """How much of a component is voice, by its share and by what it looks like."""
    return math.sqrt(share * likeness)


def updated_by_loops(V, W, H, which):
    """One Kullback-Leibler update of "W" or "H", entry by entry."""
    (F, T), K = V.shape, W.shape[1]
    Y = [[sum(W[f, k] * H[k, t] for k in range(K)) for t in range(T)] for f in range(F)]
    new = np.empty((F, K) if which == "W" else (K, T))
    for row, column in np.ndindex(new.shape):
        if which == "W":
            f, k = row, column
            less = sum(V[f, t] / Y[f][t] * H[k, t] for t in range(T))
            new[f, k] = W[f, k] * less / sum(H[k, t] for t in range(T))
        else:
            k, t = row, column
            less = sum(V[f, t] / Y[f][t] * W[f, k] for f in range(F))
            new[k, t] = H[k, t] * less / sum(W[f, k] for f in range(F))
    return new


def averaged(H, n):
    """Mean of n frames around each, mirrored at the ends: ... 1 0 | 0 1 ... T-1 | T-1 ..."""
    K, T = H.shape
    smooth = np.zeros((K, T))
    for k, t in np.ndindex(K, T):
        for j in range(t - n // 2, t + n // 2 + 1):
            j = -1 - j if j < 0 else j
            smooth[k, t] += H[k, j if j < T else 2 * T - 1 - j] / n
    return smooth


def mask_by_loops(X, voices, bands):
    C, F, T = X.shape
    V, psi = np.empty((C * F, T)), np.ones((F, T))
    for c, f, t in np.ndindex(C, F, T):
        V[c * F + f, t] = abs(X[c, f, t])
        if C == 2:
            left, right = X[:, f, t]
            power = abs(left) ** 2 + abs(right) ** 2
            psi[f, t] = max(0, 2 * (left.conjugate() * right).real / power)
    V /= V.mean()

    # Dictionaries: voices in the middle; bands left, in the middle and right.
    columns = [np.concatenate([voices[:F, k]] * C) for k in range(voices.shape[1])]
    for gains in [(1, 0.3), (1, 1), (0.3, 1)] if C == 2 else [(1,)]:
        for k in range(bands.shape[1]):
            columns.append(np.concatenate([gain * bands[:F, k] for gain in gains]))
    W = np.array(columns).T
    H = random_factors(V.astype(np.float32), W.shape[1], 0)[1].astype(float)
    for _ in range(nmf_separator.N_ITER):
        H = updated_by_loops(V, W, H, "H")
    H = averaged(H, nmf_separator.SMOOTHING)
    K_v = voices.shape[1]
    M = np.empty((C * F, T))
    for f, t in np.ndindex(M.shape):
        by_voice = sum(W[f, k] * H[k, t] for k in range(K_v))
        by_band = sum(W[f, k] * H[k, t] for k in range(K_v, W.shape[1]))
        M[f, t] = by_voice / (by_voice + by_band)

    # Repetition: which share of each of the song's own components is voice?
    start = random_factors(V[:F].astype(np.float32), nmf_separator.N_OWN, 0)
    W, H = np.concatenate([start[0]] * C).astype(float), start[1].astype(float)
    for _ in range(nmf_separator.N_ITER):
        W = updated_by_loops(V, W, H, "W")
        H = updated_by_loops(V, W, H, "H")
    K = W.shape[1]
    own = np.empty((K, C * F, T))  # W_k H_k / (W H)
    for k, f, t in np.ndindex(own.shape):
        own[k, f, t] = W[f, k] * H[k, t] / sum(W[f, j] * H[j, t] for j in range(K))
    share = []
    for k in range(K):
        P = V * own[k]
        spoken = sum(heard(M[f, t], psi[f % F, t]) * P[f, t] for f, t in np.ndindex(P.shape))
        share.append(spoken / P.sum())

    sr = round(2 * (F - 1) * nmf_separator.SAMPLE_RATE / nmf_separator.N_FFT)
    likeness = mild_likeness(properties(W, H, sr, n_channels=C))

    mask = np.empty((C, F, T))
    for c, f, t in np.ndindex(C, F, T):
        row = c * F + f
        B = sum(believed(share[k], likeness[k]) * own[k, row, t] for k in range(K))
        mask[c, f, t] = weighed(M[row, t], B, psi[f, t])
    return mask


@pytest.mark.parametrize("C", [1, 2])
@pytest.mark.parametrize("F", [4, 5])
def test_the_mask_by_loops(tiny, C, F):
    rng = np.random.default_rng(10 * C + F)
    voices, bands = 0.05 + rng.random((5, 2)) ** 4, 0.05 + rng.random((5, 3)) ** 4
    X = rng.standard_normal((C, F, 9)) + 1j * rng.standard_normal((C, F, 9))
    X[-1] = 0.6 * X[0] + 0.4 * X[-1]  # so that left and right agree more often than not
    mask = NMFSeparator(voices, bands).mask(X)
    expected = mask_by_loops(X, voices, bands)
    assert mask.shape == X.shape
    assert expected.std() > 0.02 and expected.max() > 0.1, "a mask to tell right from wrong by"
    np.testing.assert_allclose(mask, expected, atol=1e-4)


@pytest.mark.parametrize("C", [1, 2])
def test_the_semi_supervised_mask_by_loops(tiny, C):
    """The spectra of voices stay, those of the band move; what voices explain is the mask."""
    rng = np.random.default_rng(C)
    voices, n_band = 0.05 + rng.random((5, 2)) ** 4, 3
    X = rng.standard_normal((C, 4, 9)) + 1j * rng.standard_normal((C, 4, 9))
    V = np.abs(X).reshape(-1, 9)
    V /= V.mean()
    W, H = (a.astype(float) for a in start_alike(V.astype(np.float32), n_band, C, 0))
    fixed = np.concatenate([voices[:4]] * C)
    W = np.concatenate([fixed, W], axis=1)
    H = np.concatenate([random_factors(V.astype(np.float32), 2, 0)[1].astype(float), H])
    for _ in range(5):
        W = np.concatenate([fixed, updated_by_loops(V, W, H, "W")[:, 2:]], axis=1)
        H = updated_by_loops(V, W, H, "H")
    H = averaged(H, nmf_separator.SMOOTHING)
    M = (W[:, :2] @ H[:2]) / (W @ H)
    expected = M.reshape(X.shape) * middle(X) ** 2
    mask = SemiSupervisedSeparator(voices, n_band, n_iter=5).mask(X)
    assert expected.std() > 0.02, "a mask to tell right from wrong by"
    np.testing.assert_allclose(mask, expected, atol=1e-4)


def test_spectra_of_voices_alone_take_a_voice_out(trained):
    of_voice, of_band = gained(SemiSupervisedSeparator(trained.voice, n_band=8), song(5))
    assert of_voice > 5 and of_band > 3


@pytest.mark.parametrize("name", ["n_band", "n_iter"])
def test_semi_supervised_sizes_that_cannot_be(name):
    with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got 0"):
        SemiSupervisedSeparator(dictionary(1, 3), **{name: 0})
    with pytest.raises(ShapeError, match="^voice must"):
        SemiSupervisedSeparator(dictionary(1, 3).T)


@given(seed=seeds, C=st.integers(1, 2))
@settings(max_examples=10)
def test_a_mask_takes_from_nothing_to_all(seed, C):
    X = noise(seed, (C, 300, 12)) * np.exp(1j * noise(seed + 1, (C, 300, 12)))
    X[:, 20:40] = 0
    before = X.copy()
    mask = untrained().mask(X)
    assert mask.min() >= 0 and mask.max() <= 1 + 1e-6 and mask.max() > 0.01
    np.testing.assert_array_equal(X, before)


# Laws of the stems -------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9001,), (1, 9001), (2, 9001), (2, 8192)])
def test_the_stems_sum_to_the_song(quick, separator, shape, dtype):
    x = noise(0, shape, dtype)
    before = x.copy()
    stems = separator.separate(x, SR)
    assert stems.shape == (2, *shape) and stems.dtype == dtype
    np.testing.assert_allclose(stems.sum(axis=0), x, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(separator.separate(x, SR), stems)
    assert stems[0].any() or isinstance(separator, BlindSeparator)


@each
@pytest.mark.parametrize("sr", [8000, 11025, 22050, 44100, 48000, 96000])
def test_any_rate(quick, separator, sr):
    x = plain_song(0.5, sr).sum(axis=0)
    vocals, rest = separator.separate(x, sr)
    assert vocals.any() and rest.any()
    np.testing.assert_allclose(vocals + rest, x, rtol=0, atol=1e-6)


@each
def test_one_channel_has_one_result_with_or_without_an_axis(quick, separator):
    x = plain_song(0.5).sum(axis=(0, 1))
    stems = separator.separate(x, SR)
    assert stems[0].any()
    np.testing.assert_array_equal(separator.separate(x[None], SR)[:, 0], stems)


def same_for_each_place(V, n_components, rng=None):
    """Start the band's spectra alike left, in the middle and right; the real start is drawn."""
    rng = np.random.default_rng(0)
    W, H = 0.1 + rng.random((len(V), n_components)), 0.1 + rng.random((4, V.shape[1]))
    return W.astype(V.dtype), H[np.arange(n_components) % 4].astype(V.dtype)


@pytest.mark.parametrize("name", ["learned", "blind"])
def test_left_and_right_exchanged_exchange_the_channels(quick, monkeypatch, name):
    if name == "blind":
        separator = BlindSeparator(8, n_fft=512, hop_length=128, n_iter=30)
    else:
        separator = NMFSeparator(dictionary(1, 4), dictionary(2, 4))
        monkeypatch.setattr(nmf_separator, "random_factors", same_for_each_place)
    x = plain_song().sum(axis=0)
    stems, exchanged = separator.separate(x, SR), separator.separate(x[::-1], SR)
    assert np.abs(stems[0, 0] - stems[0, 1]).max() > 1e-3, "left and right of the stems differ"
    np.testing.assert_allclose(exchanged[:, ::-1], stems, rtol=0, atol=1e-4)


def test_with_the_drawn_start_they_do_so_nearly(trained):
    """Other components come out of another start; both are about as near to the truth."""
    stems = song(3, 1.0)
    vocals = trained.separate(stems.sum(axis=0), SR)[0]
    exchanged = trained.separate(stems.sum(axis=0)[::-1], SR)[0, ::-1]
    assert si_sdr(vocals.ravel(), exchanged.ravel()) > 10
    gains = gained(trained, stems)[0], gained(trained, stems[:, ::-1])[0]
    assert min(gains) > 15 and abs(gains[0] - gains[1]) < 6


@each
@pytest.mark.parametrize("gain", [2.0**-60, 1e-3, 300.0])
def test_a_louder_song_has_louder_stems(quick, separator, gain):
    x = plain_song().sum(axis=0)
    stems, louder = separator.separate(x, SR), separator.separate(gain * x, SR)
    assert stems[0].any()
    np.testing.assert_allclose(louder / gain, stems, rtol=0, atol=1e-5)
    np.testing.assert_allclose(separator.separate(-x, SR), -stems, rtol=0, atol=1e-12)


@each
@pytest.mark.parametrize("shape", [(9001,), (2, 9001)])
def test_silence_has_silent_stems(quick, separator, shape):
    stems = separator.separate(np.zeros(shape, np.float32), SR)
    assert stems.shape == (2, *shape)
    np.testing.assert_array_equal(stems, 0)


def test_one_silent_channel_and_a_silent_half(quick):
    x = song(0, 1.0).sum(axis=0)
    x[0] = 0
    np.testing.assert_array_equal(untrained().separate(x, SR)[0], 0)  # nothing is in the middle
    x = song(0, 1.0).sum(axis=0)
    x[:, : SR // 2] = 0
    vocals = untrained().separate(x, SR)[0]
    assert np.isfinite(vocals).all() and vocals.any()
    assert not vocals[:, : SR // 2 - N_FFT].any()


@pytest.mark.parametrize("sr", [8000, 44100, 96000])
def test_what_is_too_low_or_too_high_is_not_voice(quick, sr):
    """Noise in the middle, of which the spectra of bands explain nothing."""
    everything = NMFSeparator(np.ones((N_BINS, 1)), np.zeros((N_BINS, 1)))
    x = np.tile(noise(0, sr), (2, 1))
    vocals, _ = everything.separate(x, sr)
    power = np.square(np.abs(np.fft.rfft(vocals[0] * dsp.get_window("hann", sr))))  # bins of 1 Hz
    inside = np.median(power[LOWEST + 50 : min(HIGHEST, sr // 2) - 50])
    assert inside > 1
    # Beyond the main lobe of a window of 93 ms nothing is left but its side lobes.
    outside = np.concatenate([power[: LOWEST - 30], power[HIGHEST + 30 :]])
    assert outside.max() < 1e-3 * inside
    assert power[: LOWEST - 60].max() < 1e-5 * inside
    assert power[LOWEST + 25 : LOWEST + 60].mean() > 0.1 * inside, "the voice begins at LOWEST"
    if sr > 2 * HIGHEST:
        assert power[HIGHEST - 60 : HIGHEST - 25].mean() > 0.1 * inside, "and ends at HIGHEST"


def test_a_low_and_a_high_tone_stay_with_the_band(quick):
    everything = NMFSeparator(np.ones((N_BINS, 1)), np.zeros((N_BINS, 1)))
    t = np.arange(44100) / 44100
    x = sum(np.sin(2 * np.pi * f * t) for f in (60, 1000, 16000))
    vocals = everything.separate(np.stack([x, x]), 44100)[0, 0]
    spectrum = np.abs(np.fft.rfft(vocals * dsp.get_window("hann", 44100)))  # bins of 1 Hz
    assert spectrum[1000] > 1000
    for f in (60, 16000):
        assert spectrum[f] < 1e-4 * spectrum[1000]


# Dictionaries ------------------------------------------------------------------------------------


def start_of_ones(V, n_components, rng=None):
    """The same activations for every spectrum of a dictionary; the song's own start as ever."""
    W, H = random_factors(V, n_components, rng)
    return (W, H) if n_components == nmf_separator.N_OWN else (W, np.ones_like(H))


@given(seed=seeds)
@settings(max_examples=4)
def test_the_order_of_the_spectra_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    voices, bands = dictionary(seed, 3)[:60], dictionary(seed + 1, 5)[:60]
    X = noise(seed, (2, 60, 14)) + 1j * noise(seed + 1, (2, 60, 14))
    X[1] += X[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nmf_separator, "random_factors", start_of_ones)
        patch.setattr(nmf_separator, "N_BINS", 60)
        one = NMFSeparator(voices, bands).mask(X)
        other = NMFSeparator(rng.permutation(voices.T).T, rng.permutation(bands.T).T).mask(X)
        exchanged = NMFSeparator(bands, voices).mask(X)
    np.testing.assert_allclose(other, one, atol=1e-4)
    assert np.abs(exchanged - one).max() > 0.05, "voices and bands are not the same to it"


@pytest.mark.parametrize("gain", [0.25, 3.0, 1e4])
def test_one_gain_of_all_spectra_does_not_matter(tiny, gain):
    """The first update of H undoes it: H <- H W^T (V / W H) / W^T 1 has W once more below."""
    rng = np.random.default_rng(1)
    voices, bands = rng.random((5, 2)), rng.random((5, 3))
    X = rng.standard_normal((2, 5, 9)) + 1j * rng.standard_normal((2, 5, 9))
    expected = NMFSeparator(voices, bands).mask(X)
    mask = NMFSeparator(gain * voices, gain * bands).mask(X)
    np.testing.assert_allclose(mask, expected, atol=1e-5)


def test_a_gain_of_each_spectrum_matters_less_with_every_update(monkeypatch):
    """With W fixed the divergence is convex, so from any start H goes to the same product W H."""
    rng = np.random.default_rng(1)
    for name, value in (("N_BINS", 30), ("N_OWN", 3)):
        monkeypatch.setattr(nmf_separator, name, value)
    voices, bands = rng.random((30, 2)) ** 3, rng.random((30, 2)) ** 3
    X = rng.standard_normal((2, 30, 9)) + 1j * rng.standard_normal((2, 30, 9))
    gains = rng.uniform(0.2, 5, (2, 2))
    differences = []
    for n_iter in (3, 300):
        monkeypatch.setattr(nmf_separator, "N_ITER", n_iter)
        one = NMFSeparator(voices, bands).mask(X)
        other = NMFSeparator(gains[0] * voices, gains[1] * bands).mask(X)
        differences.append(np.abs(other - one).max())
    assert differences[0] > 1e-4 and differences[1] < 1e-7, differences


# Two sources -------------------------------------------------------------------------------------


def gained(separator, stems, sr=SR):
    """dB by which voice and band come out better than they were in the mix."""
    x = stems.sum(axis=0)
    found = separator.separate(x, sr)
    return [si_sdr(s.ravel(), y.ravel()) - si_sdr(s.ravel(), x.ravel())
            for s, y in zip(stems, found, strict=True)]  # fmt: skip


@pytest.mark.parametrize("aside", [-0.7, 0.7])
def test_a_voice_comes_out_of_a_band(trained, aside):
    """Whose notes and strokes come at other times than those that were learned from."""
    of_voice, of_band = gained(trained, song(0, aside=aside))
    assert of_voice > 15 and of_band > 5


def test_the_dictionaries_tell_what_no_place_tells(trained):
    """In one channel, or all in the middle, and worse with the spectra exchanged."""
    stems = song(1, aside=0)
    wrong = NMFSeparator(trained.band, trained.voice)
    assert min(gained(trained, stems)) > 4
    assert min(gained(trained, stems[:, 0])) > 4
    assert max(gained(wrong, stems)) < 0
    assert max(gained(wrong, stems[:, 0])) < 0


def test_the_song_is_separated_as_well_at_another_rate(trained):
    stems = song(1, 1.0)
    other = np.stack([dsp.resample(s, SR, 32000) for s in stems])
    gains = gained(trained, stems)[0], gained(trained, other, 32000)[0]
    assert min(gains) > 15 and abs(gains[0] - gains[1]) < 6


@pytest.mark.parametrize("side", [1, -1])
def test_a_blind_separator_finds_what_stands_in_the_middle_and_is_not_low(side):
    of_voice, of_band = gained(BlindSeparator(8, n_iter=30), plain_song()[:, ::side])
    assert of_voice > 12 and of_band > 6


def test_a_blind_separator_step_by_step():
    """Of each component as much as it looks like a voice, weighed by where each bin stands."""
    x = plain_song(0.5).sum(axis=0)
    X = dsp.stft(x, n_fft=512, hop_length=128)
    V = np.abs(X).reshape(-1, X.shape[-1]).astype(np.float32)
    W, H, _ = nmf(V, *start_alike(V, 8, 2, 3), beta=2, n_iter=30)
    likeness = voice_likeness(properties(W, H, SR, n_channels=2))
    assert likeness.min() < 0.1 and likeness.max() > 0.5
    mask = sum(likeness[k] * np.outer(W[:, k], H[k]) for k in range(8)) / (W @ H)
    Y = mask.reshape(X.shape) * np.maximum(dsp.similarity(X), 0) ** 2 * X
    expected = dsp.istft(Y, n_fft=512, hop_length=128, length=x.shape[1])
    separator = BlindSeparator(8, n_fft=512, hop_length=128, beta=2, n_iter=30, rng=3)
    np.testing.assert_allclose(separator.separate(x, SR)[0], expected, atol=1e-5)


def test_a_blind_separator_depends_on_its_settings():
    x = plain_song().sum(axis=0)
    base = {"n_components": 8, "n_fft": 512, "hop_length": 128, "n_iter": 20}
    stems = BlindSeparator(**base).separate(x, SR)
    assert stems[0].any()
    for change in (
        {"n_components": 7},
        {"n_fft": 1024},
        {"hop_length": 64},
        {"n_iter": 21},
        {"beta": 2.0},
        {"rng": 1},
        {"power": 2},
    ):
        other = BlindSeparator(**base | change).separate(x, SR)
        assert np.abs(other - stems).max() > 1e-4, change


# Checkpoints -------------------------------------------------------------------------------------


def test_a_checkpoint_gives_the_same_separator(quick, tmp_path):
    separator = untrained()
    save_checkpoint(tmp_path / "nmf.npz", separator)
    loaded = load_model(tmp_path / "nmf.npz")
    assert isinstance(loaded, NMFSeparator)
    for name in ("voice", "band"):
        W = getattr(loaded, name)
        assert W.dtype == np.float32
        np.testing.assert_array_equal(W, getattr(separator, name))
    x = song(0, 0.5).sum(axis=0)
    np.testing.assert_array_equal(loaded.separate(x, SR), separator.separate(x, SR))
    state = loaded.state_dict()
    state["voice"][:] = 0
    assert loaded.voice.any(), "what is handed out is a copy"


def test_a_separator_keeps_its_own_dictionaries():
    voices, bands = dictionary(1, 3), dictionary(2, 4)
    separator = NMFSeparator(voices, bands)
    voices[:] = 0
    assert separator.voice.any()
    assert separator.voice.shape == (N_BINS, 3) and separator.band.shape == (N_BINS, 4)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_damaged_checkpoint_is_refused(tmp_path, place):
    path = tmp_path / "nmf.npz"
    save_checkpoint(path, untrained())
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(path)


WRONG = {
    "short": np.ones((N_BINS - 1, 3), np.float32),
    "transposed": np.ones((3, N_BINS), np.float32),
    "of one axis": np.ones(N_BINS, np.float32),
    "empty": np.ones((N_BINS, 0), np.float32),
    "negative": -np.ones((N_BINS, 3), np.float32),
    "nan": np.full((N_BINS, 3), np.nan, np.float32),
    "infinite": np.full((N_BINS, 3), np.inf, np.float32),
    "integers": np.ones((N_BINS, 3), np.int32),
}


@pytest.mark.parametrize("name", ["voice", "band"])
@pytest.mark.parametrize("W", WRONG.values(), ids=WRONG.keys())
def test_wrong_dictionaries_are_refused(tmp_path, name, W):
    fitting = {"voice": dictionary(1, 3), "band": dictionary(2, 4)}
    with pytest.raises(ShapeError, match=rf"^{name} must"):
        NMFSeparator(**fitting | {name: W})
    separator = NMFSeparator(**fitting)
    before = separator.state_dict()
    with pytest.raises(ShapeError, match=rf"^{name} must"):
        separator.load_state_dict({key: 2 * value for key, value in fitting.items()} | {name: W})
    for key, value in separator.state_dict().items():
        np.testing.assert_array_equal(value, before[key], "a refused state changed half of it")
    setattr(separator, name, W)
    save_checkpoint(tmp_path / "nmf.npz", separator)
    with pytest.raises(CheckpointError, match=f"nmf.npz holds no such separator: {name} must"):
        load_model(tmp_path / "nmf.npz")


@pytest.mark.parametrize("names", [["voice"], ["band"], [], ["voice", "band", "drums"]])
def test_other_dictionaries_than_these_two_are_refused(tmp_path, names):
    class Other:
        def state_dict(self):
            return {name: np.ones((N_BINS, 2), np.float32) for name in names}

    Other.__name__ = "NMFSeparator"
    with pytest.raises(ShapeError, match="must be the dictionaries voice and band, got"):
        untrained().load_state_dict(Other().state_dict())
    save_checkpoint(tmp_path / "nmf.npz", Other())
    with pytest.raises(CheckpointError, match="nmf.npz holds no such separator"):
        load_model(tmp_path / "nmf.npz")


# What they refuse --------------------------------------------------------------------------------


@each
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((3, 900)), r"one or two channels, .* got shape \(3, 900\)"),
        (np.ones((900, 2)), r"got shape \(900, 2\)"),
        (np.ones((1, 2, 900)), r"got shape \(1, 2, 900\)"),
        (np.ones((2, 0)), "x must hold at least one sample"),
        (np.array(1.0), "x must hold at least one sample"),
        (np.array([[0.0, 1.0], [0.0, np.nan]]), r"x must be finite, but x\[1, 1\] is nan"),
        (np.full(900, -np.inf), r"x must be finite, but x\[0\] is -inf"),
        (np.ones(900, np.int16), "divide integer PCM"),
    ],
)
def test_what_is_no_song(separator, x, message):
    with pytest.raises(ShapeError, match=message):
        separator.separate(x, SR)


@each
@pytest.mark.parametrize("sr", [0, -SR, 16000.0, "16000", None, True])
def test_what_is_no_rate(separator, sr):
    with pytest.raises(ConfigError, match="sr must be an integer of at least 1, got"):
        separator.separate(np.ones(900), sr)


def test_a_rate_that_holds_no_voice():
    with pytest.raises(ConfigError, match=f"sr must be at least {2 * LOWEST} Hz.* got 10"):
        untrained().separate(np.ones(900), 10)
    stems = untrained().separate(noise(0, 900), 2 * LOWEST)
    assert stems.shape == (2, 900) and np.isfinite(stems).all()


@pytest.mark.parametrize("shape", [(1,), (2, 1), (2, 2), (2, 3)])
def test_a_song_of_a_sample(shape):
    x = noise(1, shape)
    stems = untrained().separate(x, 44100)
    assert stems.shape == (2, *shape) and np.isfinite(stems).all()
    np.testing.assert_allclose(stems.sum(axis=0), x, atol=1e-12)
    with pytest.raises(ConfigError, match="number of frames, 1, got 2: .* a longer song"):
        BlindSeparator(2).separate(x, 44100)


@pytest.mark.parametrize("n_components", [1, 0, -3, 2.0, True, None])
def test_a_blind_separator_has_two_components_at_least(n_components):
    with pytest.raises(ConfigError, match="n_components must be"):
        BlindSeparator(n_components)


@pytest.mark.parametrize("power", [0, -1, math.inf, math.nan])
def test_a_mask_needs_an_exponent(power):
    with pytest.raises(ConfigError, match=f"power must be a finite number above 0, got {power}"):
        BlindSeparator(power=power)


def test_no_more_components_than_frames():
    x = noise(0, (2, 1024))  # 5 frames
    small = {"n_fft": 512, "hop_length": 256, "n_iter": 3}
    assert BlindSeparator(5, **small).separate(x, SR).shape == (2, 2, 1024)
    with pytest.raises(ConfigError, match="at most the number of frames, 5, got 6: fewer"):
        BlindSeparator(6, **small).separate(x, SR)


@pytest.mark.parametrize("beta", [-1, 0, 0.5, 2, 3])
def test_blind_separation_by_other_divergences(beta):
    separator = BlindSeparator(4, n_fft=512, hop_length=128, n_iter=10, beta=beta)
    x = song(0, 0.5).sum(axis=0)
    np.testing.assert_allclose(separator.separate(x, SR).sum(axis=0), x, atol=1e-6)
    if beta <= 0:
        with pytest.raises(ShapeError, match="V must be positive for beta <= 0.*add a floor"):
            separator.separate(0 * x, SR)
    else:
        assert not separator.separate(0 * x, SR).any()


@pytest.mark.parametrize(
    ("V", "K", "error", "message"),
    [
        (-np.ones((4, 5)), 2, ShapeError, "V must be a matrix that is not negative"),
        (np.full((4, 5), np.nan), 2, ShapeError, r"V must be finite, but V\[0, 0\] is nan"),
        (np.ones((2, 4, 5)), 2, ShapeError, "V must be a matrix"),
        (np.ones((4, 5)), 0, ConfigError, "n_components must be an integer of at least 1"),
    ],
)
def test_what_nothing_is_learned_from(V, K, error, message):
    with pytest.raises(error, match=message):
        learn_spectra(V, K)
