"""Voice and accompaniment of a song by non-negative matrix factorisation.

A song is two channels. Laid above each other, the magnitudes of left and right are one matrix
V (C F, T), and the factors of V ~ W H are spectra with a place: column k of W says what component k
sounds like and, by its two halves, how loudly in either channel. The components of the voice give a
mask, and the mask a sound. Three ways to know them:

`BlindSeparator` knows no other song. It factorises V and looks at each component
(`factorization.voice_likeness`): does it stand in the middle, has it partials, does it begin
softly?

`SemiSupervisedSeparator` knows spectra of voices, learned from other songs, and no band's: in
V ~ [W_v W] [H_v; H] W_v is fixed and W, of a few columns, learns what voices cannot explain.

`NMFSeparator` has spectra of voices, W_v, and of bands, W_b, learned from songs whose stems are
known. It hears three witnesses:

    dictionaries    V ~ [W_v W_b] [H_v; H_b] with W fixed, the activations by multiplicative
                    updates. How much of each bin do the spectra of voices explain? H is averaged
                    over some frames, since nobody sings for a hundredth of a second:

                        M = W_v H_v / (W_v H_v + W_b H_b)

    place           psi, from 1 in the middle to 0 on either side (`dsp.similarity`)

    repetition      A note comes back, played by whom it was played by before. So the song is
                    factorised once more by itself, V ~ W H, and the first two say of each component
                    as a whole which share of it is voice. With the likeness l_k of its properties:

                        s_k = sum M psi P_k / sum P_k over all f, t,     P_k = V W_k H_k / (W H)
                        B   = sum_k sqrt(s_k l_k) W_k H_k / (W H)

    mask = M^0.7 B^0.5 psi^2

What a moment says is weighed against what the whole song says. Bands are offered their spectra
thrice, left, in the middle and right; singers theirs in the middle. What lies outside `LOWEST` to
`HIGHEST` is left to the band, and so is all that the mask does not take: the stems sum to the song.

Legend: C channels, N samples, F bins, T frames, K components; X (C, F, T) STFT of the song.

References: Smaragdis, Raj & Shashanka (2007), Supervised and semi-supervised separation of sounds
from single-channel mixtures, ICA (dictionaries); FitzGerald, Cranitch & Coyle (2008), Extended
nonnegative tensor factorisation models for musical sound source separation, Computational
Intelligence and Neuroscience (components with a place).
"""

import math

import numpy as np
from scipy.ndimage import uniform_filter1d

from scratchaudio import dsp
from scratchaudio.errors import (
    CheckpointError,
    ConfigError,
    ShapeError,
    require_positive_integer,
    require_signal,
)
from scratchaudio.factorization import (
    group_models,
    nmf,
    properties,
    random_factors,
    voice_likeness,
)
from scratchaudio.models.songs import require_song, stems_from_stft

SAMPLE_RATE = 44100  # Hz, of the songs that dictionaries are learned from
N_FFT = 4096  # 93 ms: two notes a semitone apart are told apart from 360 Hz on
LOWEST, HIGHEST = 120, 15000  # Hz: outside there is no voice
N_BINS = 1 + HIGHEST * N_FFT // SAMPLE_RATE  # rows of a dictionary
PLACES = ((1.0, 0.3), (1.0, 1.0), (0.3, 1.0))  # gains left and right with which bands are offered
SMOOTHING = 5  # frames, 0.12 s
N_OWN = 40  # components of the song itself
N_ITER = 100  # updates of each factorisation


# Songs as one matrix -----------------------------------------------------------------------------


def stack_channels(X):
    """Magnitudes of the channels above each other: (C, F, T) complex -> (C F, T) float32."""
    return np.abs(X).reshape(-1, X.shape[-1]).astype(np.float32)


def middle(X):
    """Similarity psi cut to 0 ... 1, (C, F, T) -> (F, T); 1 for a song of one channel."""
    return np.maximum(dsp.similarity(X), 0) if len(X) == 2 else np.ones(X.shape[1:])


def start_alike(V, n_components, n_channels, rng=None):
    """Random factors that are the same in each channel: to exchange them exchanges the stems."""
    W, H = random_factors(V[: len(V) // n_channels], n_components, rng)
    return np.tile(W, (n_channels, 1)), H


def learn_spectra(V, n_components, *, n_iter=N_ITER, rng=None, progress=None):
    """Learn a dictionary from spectrograms of one kind of sound.

    Parameters
    ----------
    V : (F, T) magnitudes, of many recordings one after the other
    n_components : K
    n_iter : updates
    rng : seed or Generator of the start
    progress : as in `nmf`

    Returns
    -------
    (F, K) spectra in the dtype of V; each sums to 1, unless it is 0
    """
    start = random_factors(V, n_components, rng)
    W = nmf(V, *start, beta=1, n_iter=n_iter, tol=0, progress=progress).W
    return W / np.maximum(W.sum(axis=0), np.finfo(W.dtype).tiny)


# Nothing learned ---------------------------------------------------------------------------------


class BlindSeparator:
    """Separates a song by its own components, grouped by what they look like.

    Parameters
    ----------
    n_components : K, at least 2, one for each stem
    n_fft, hop_length : of the STFT
    beta : of the divergence
    n_iter : updates
    power : exponent of the mask, see `dsp.ratio_masks`: 1 shares each bin out by magnitudes, 2 by
        powers as a Wiener filter, more tends to a binary mask
    rng : seed of the start; the same seed gives the same stems
    """

    def __init__(
        self, n_components=32, *, n_fft=2048, hop_length=512, beta=1.0, n_iter=100, power=1, rng=0
    ):
        require_positive_integer("n_components", n_components)
        if n_components < 2:
            raise ConfigError(f"n_components must be at least 2, got {n_components}")
        if not 0 < power < math.inf:
            raise ConfigError(f"power must be a finite number above 0, got {power!r}")
        self.n_components, self.n_fft, self.hop_length = n_components, n_fft, hop_length
        self.beta, self.n_iter, self.power, self.rng = beta, n_iter, power, rng

    def separate(self, x, sr):
        """Separate a song; arguments and result as in `NMFSeparator.separate`."""
        require_song(x, sr)
        X = dsp.stft(np.atleast_2d(x), n_fft=self.n_fft, hop_length=self.hop_length)  # (C, F, T)
        V = stack_channels(X)
        if self.n_components > V.shape[1]:
            raise ConfigError(
                f"n_components must be at most the number of frames, {V.shape[1]}, got "
                f"{self.n_components}: fewer components, or a longer song"
            )
        start = start_alike(V, self.n_components, len(X), self.rng)
        W, H, _ = nmf(V, *start, beta=self.beta, n_iter=self.n_iter)
        share = voice_likeness(properties(W, H, sr, n_channels=len(X)))
        mask = dsp.ratio_masks(group_models(W, H, share), power=self.power)[0]
        mask = mask.reshape(X.shape) * middle(X) ** 2
        return stems_from_stft(x, mask * X, self.n_fft, self.hop_length)


# Learned from other songs ------------------------------------------------------------------------


class DictionarySeparator:
    """Base of the separators by learned spectra: a subclass writes `mask`, and states `voice`.

    The song is looked at through windows that last as long as those of the dictionaries, so that
    its bins lie where theirs do, whatever its sampling rate.
    """

    def separate(self, x, sr):
        """Separate a song.

        Parameters
        ----------
        x : (N,), (1, N) or (2, N) song
        sr : its sampling rate, Hz

        Returns
        -------
        (2, ...) vocals and accompaniment, each of the shape and dtype of x; they sum to x
        """
        require_song(x, sr)
        if sr < 2 * LOWEST:
            raise ConfigError(f"sr must be at least {2 * LOWEST} Hz to hold a voice, got {sr}")
        n_fft = 2 * round(sr * N_FFT / SAMPLE_RATE / 2)
        X = dsp.stft(np.atleast_2d(x), n_fft=n_fft, hop_length=n_fft // 4)  # (C, F, T)
        F = min(N_BINS, X.shape[1])
        Y = np.zeros_like(X)
        Y[:, :F] = self.mask(X[:, :F]) * X[:, :F]
        Y[:, : math.ceil(LOWEST * n_fft / sr)] = 0
        return stems_from_stft(x, Y, n_fft, n_fft // 4)

    def mask(self, X):
        """The mask of the voice: (C, F, T) complex, F <= `N_BINS` -> (C, F, T)."""
        raise NotImplementedError(f"{type(self).__name__} has no mask yet")

    def explained_by_voice(self, W, H, C):
        """M, the share of each bin that the spectra of voices, the first in W, explain: (C F, T).

        H is averaged over `SMOOTHING` frames.
        """
        H = np.maximum(uniform_filter1d(H, SMOOTHING, axis=1), 0)  # its running sum may pass 0
        is_voice = np.arange(len(H)) < self.voice.shape[1]
        return dsp.ratio_masks(group_models(W, H, is_voice), power=1)[0]


class SemiSupervisedSeparator(DictionarySeparator):
    """Separates a song by spectra of other songs' voices; those of the band it learns on the way.

    With more free spectra, or more updates, these learn the voice too: its own singer fits better
    than any other. So there are few of both.

    Parameters
    ----------
    voice : (`N_BINS`, K_v) spectra of voices, such as `load_pretrained("nmf").voice`
    n_band : free spectra
    n_iter : updates
    """

    def __init__(self, voice, n_band=20, n_iter=60):
        require_positive_integer("n_band", n_band)
        require_positive_integer("n_iter", n_iter)
        self.voice = _require_dictionary("voice", voice)
        self.n_band, self.n_iter = n_band, n_iter

    def mask(self, X):  # (C, F, T) -> (C, F, T)
        C, F, _ = X.shape
        V = stack_channels(X)  # (C F, T)
        V /= V.mean() or 1
        W, H = start_alike(V, self.n_band, C, 0)
        voice = np.concatenate([self.voice[:F]] * C)  # (C F, K_v): in the middle
        K = voice.shape[1]
        start = np.concatenate([voice, W], axis=1), np.concatenate([random_factors(V, K, 0)[1], H])
        W, H, _ = nmf(V, *start, n_fixed=K, n_iter=self.n_iter, tol=0, every=self.n_iter)
        return self.explained_by_voice(W, H, C).reshape(X.shape) * middle(X) ** 2


class NMFSeparator(DictionarySeparator):
    """Separates a song by spectra of other songs.

    Parameters
    ----------
    voice : (`N_BINS`, K_v) spectra of voices, made by `learn_spectra`; bins of 0 to 15 kHz
    band : (`N_BINS`, K_b) spectra of accompaniments
    """

    def __init__(self, voice, band):
        self.load_state_dict({"voice": voice, "band": band})

    def mask(self, X):
        """The mask described above: (C, F, T) complex, F <= `N_BINS` -> (C, F, T)."""
        C, F, T = X.shape
        V, psi = stack_channels(X), middle(X)  # (C F, T), (F, T)
        V /= V.mean() or 1

        places = PLACES if C == 2 else ((1.0,),)
        voice = np.concatenate([self.voice[:F]] * C)
        bands = [np.concatenate([gain * self.band[:F] for gain in gains]) for gains in places]
        W = np.concatenate([voice, *bands], axis=1)
        H = random_factors(V, W.shape[1], 0)[1]
        H = nmf(V, W, H, n_fixed=W.shape[1], n_iter=N_ITER, tol=0, every=N_ITER).H
        M = self.explained_by_voice(W, H, C)

        start = start_alike(V, N_OWN, C, 0)
        W, H, _ = nmf(V, *start, n_iter=N_ITER, tol=0, every=N_ITER)
        WH = np.maximum(W @ H, 1e-9)
        told = _total(W, M * np.tile(psi, (C, 1)) * V / WH, H)
        share = told / np.maximum(_total(W, V / WH, H), 1e-30)  # (K,)
        found = properties(W, H, round(2 * (F - 1) * SAMPLE_RATE / N_FFT), n_channels=C)
        B = (W * np.sqrt(share * voice_likeness(found))) @ H / WH
        return (M**0.7 * B**0.5).reshape(C, F, T) * psi**2

    # What a checkpoint needs -----------------------------------------------------------------

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the separator that a checkpoint holds."""
        try:
            return cls(**checkpoint.model)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{checkpoint.path} holds no such separator: {error}") from error

    def state_dict(self):
        """Copies of the dictionaries."""
        return {"voice": self.voice.copy(), "band": self.band.copy()}

    def load_state_dict(self, state):
        """Take over the dictionaries of `state_dict()`; after an error both are as they were."""
        if set(state) != {"voice", "band"}:
            raise ShapeError(f"state must be the dictionaries voice and band, got {sorted(state)}")
        W = [_require_dictionary(name, state[name]) for name in ("voice", "band")]
        self.voice, self.band = W

    def eval(self):
        """Return self, as layers do; nothing is trained by gradients here."""
        return self


def _total(W, Q, H):
    """Sum over f, t of Q[f, t] W[f, k] H[k, t], for each k."""
    return (W * (Q @ H.T)).sum(axis=0)


def _require_dictionary(name, W):
    """Return the spectra as a copy in float32, after every check."""
    W = require_signal(name, W)
    if W.ndim != 2 or len(W) != N_BINS or W.min() < 0:
        raise ShapeError(
            f"{name} must be ({N_BINS}, components), not negative, got shape {W.shape} and a "
            f"least entry of {W.min():g}"
        )
    return np.array(W, np.float32)
