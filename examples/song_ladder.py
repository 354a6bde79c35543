"""How well a song was separated: from the mix up to what the best mask could do.

Shared by the examples that separate the demo's song and show it on a page: reading the song, the
rows of the ladder that need no learning and those that know the truth, the measures, and what the
page shows of them.
"""

import numpy as np

from scratchaudio import dsp, metrics
from scratchaudio.errors import ConfigError
from scratchaudio.io import load

SECONDS = (1, 60)  # of a song; separate_song.py takes longer ones
PAGE_SECONDS = 10  # of what a page plays
MIX = "mix"
MEASURES = ("SI-SDR", "SI-SIR", "SI-SAR", "SDR", "band's SI-SDR")  # dB


def read_song(path):
    """Read the song: (C, N) and its sampling rate."""
    x, sr = load(path)
    x = np.atleast_2d(x)
    if len(x) > 2:
        raise ConfigError(f"FILENAME_MUSIC must have one or two channels, {path} has {len(x)}")
    seconds = x.shape[-1] / sr
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise ConfigError(
            f"FILENAME_MUSIC must last {SECONDS[0]} to {SECONDS[1]} s, {path} lasts {seconds:.2f} "
            f"s; separate_song.py takes songs of any length"
        )
    if not x.any():
        raise ConfigError(f"FILENAME_MUSIC must hold a song, but {path} is silent")
    return x, sr


def classical(x, sr):
    """Stems by methods from before factorisations: {name: (2, C, N)}."""
    methods = {"harmonic, percussive": dsp.voice_between, "REPET-sim": dsp.repet_sim}
    if len(x) == 2:
        methods = {"centre mask": dsp.centre} | methods
    return {name: np.stack([v := method(x, sr), x - v]) for name, method in methods.items()}


def oracles(x, truth, n_fft, hop_length):
    """What the best masks make of the mix, which only the truth can tell: {name: (2, C, N)}."""
    X, S, A = (dsp.stft(y, n_fft=n_fft, hop_length=hop_length) for y in (x, *truth))
    masks = {
        "ideal binary mask": dsp.ideal_binary_mask(S, A),
        "ideal ratio mask": dsp.ideal_ratio_mask(S, A, power=1),
    }
    stems = {}
    for name, mask in masks.items():
        v = dsp.istft(mask * X, n_fft=n_fft, hop_length=hop_length, length=x.shape[-1])
        stems[name] = np.stack([v, x - v])
    return stems


def scores_of(truth, stems, sr):
    """All measures of stems (2, C, N), in dB: {measure: float}."""
    as_one = (y.reshape(2, -1) for y in (truth, stems))  # both channels, one after the other
    (si_sdr, band), (si_sir, _), (si_sar, _) = metrics.si_bss(*as_one)
    sdr = metrics.bss_eval(truth.swapaxes(1, 2), stems.swapaxes(1, 2), window=sr)[0]
    values = si_sdr, si_sir, si_sar, metrics.median_over_frames(sdr[0]), band
    return dict(zip(MEASURES, map(float, values), strict=True))


def print_ladder(scores):
    """Print the measures of every method."""
    print(f"\n{'dB':>24}" + "".join(f"{measure:>15}" for measure in MEASURES))
    for method, values in scores.items():
        print(f"{method:>24}" + "".join(f"{value:15.2f}" for value in values.values()))


class Excerpt:
    """The seconds of a song that the page plays: where the voice is strongest."""

    def __init__(self, vocals, sr):
        n = min(vocals.shape[-1], round(PAGE_SECONDS * sr))
        power = np.cumsum(np.concatenate([[0], np.square(vocals, dtype=np.float64).sum(axis=0)]))
        self.start, self.n, self.sr = int(np.argmax(power[n:] - power[:-n])), n, sr

    def cut(self, x):
        """(..., N) -> (..., n); one channel as (n,)."""
        x = x[..., self.start : self.start + self.n]
        return x[0] if x.ndim == 2 and len(x) == 1 else x


def levels_of(x, hop_length):
    """Levels in dB of the mean magnitude of all channels: (C, N) or (N,) -> (F, T)."""
    S = np.abs(dsp.stft(np.atleast_2d(x), n_fft=8 * hop_length, hop_length=hop_length)).mean(axis=0)
    return dsp.amplitude_to_db(S, top_db=None)


def show(page, drawing, caption, alt):
    """Add a figure to the page, and let go of it."""
    import matplotlib.pyplot as plt

    page.figure(drawing, caption, alt)
    plt.close(getattr(drawing, "figure", drawing))
