"""One-shots: drums and instruments struck once, each made by a formula. Shared by two examples.

A one-shot is half a second of sound: something is struck, and rings. Seven kinds are made here, of
two ingredients, tones whose pitch may fall and noise with a band cut out, both dying away:

    kick     a tone that falls an octave or two in a few hundredths of a second, and a click
    snare    two tones of the skin, and hissing noise of the wires below
    hi-hat   noise above 4 kHz and a few tones that fit to no scale
    tom      two tones of a skin, which fall a little
    clap     four bursts of noise in a row, and a tail
    string   harmonics; those that have a node where the string is plucked are missing
    mallet   the three lowest tones of a wooden bar, at 1 : 3.99 : 9.4

Each variant has four numbers in 0..1 that say what it is, `u`: pitch, decay, brightness and
attack. Phases and noise come from its seed. So there are as many sounds as one wants, and those to
learn from and those held out can be kept apart by more than their seeds: pitch and decay are cut
into a 5 x 5 board, and on 5 of its fields (o) no sound to learn from lies:

               . o . . .
    decay      . . . o .            one field in each row and column, so that every pitch and
               o . . . .            every decay is heard, but never these two together
               . . o . .
               . . . . o
                 pitch

Who learns the sounds by heart will not know the held-out ones; who learns what a kick is, will.
"""

from typing import NamedTuple

import numpy as np
from scipy.signal import butter, sosfilt

from scratchaudio.errors import ConfigError, require_positive_integer

SAMPLE_RATE = 16000  # Hz
N_SAMPLES = 8192
ONSET = 32  # samples of silence first
FADE = 400  # samples, over which what still rings at the end is faded out
PEAK = 0.9
SPLITS = ("train", "held_out")
N_FIELDS = 5  # of the board, along either side
HELD_OUT = tuple((column, (2 * column + 2) % N_FIELDS) for column in range(N_FIELDS))


class OneShots(NamedTuple):
    """Sounds with their truth, one row for each.

    Attributes
    ----------
    x : (B, 1, N_SAMPLES) float32, each with its peak at PEAK
    kind : (B,) integers, places in KINDS
    u : (B, 4) in 0..1: pitch, decay, brightness, attack
    """

    x: np.ndarray
    kind: np.ndarray
    u: np.ndarray

    def of_kind(self, name):
        """Those of one kind, by its name."""
        chosen = self.kind == list(KINDS).index(name)
        return OneShots(self.x[chosen], self.kind[chosen], self.u[chosen])


def make_one_shots(split="train", n_per_kind=64, seed=0):
    """Make n_per_kind variants of each kind, to learn from ("train") or held out ("held_out")."""
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {SPLITS}, got {split!r}")
    require_positive_integer("n_per_kind", n_per_kind)
    x, kind, u = [], [], []
    for place, make in enumerate(KINDS.values()):
        rng = np.random.default_rng((seed, SPLITS.index(split), place))
        for numbers in draw_numbers(split, n_per_kind, rng):
            x.append(finish(make(*numbers, rng)))
            kind.append(place)
            u.append(numbers)
    return OneShots(np.stack(x)[:, None].astype(np.float32), np.array(kind), np.array(u))


def draw_numbers(split, n, rng):
    """Draw u for n sounds, with pitch and decay on the fields of the split: (n, 4)."""
    board = np.ones((N_FIELDS, N_FIELDS), bool)
    board[tuple(zip(*HELD_OUT, strict=True))] = False
    fields = np.argwhere(board if split == "train" else ~board)  # (fields, 2) pitch, decay
    u = rng.random((n, 4))
    u[:, :2] = (fields[rng.integers(len(fields), size=n)] + u[:, :2]) / N_FIELDS
    return u


def finish(x):
    """Silence before, a fade at the end, and the peak: (N,) -> (N,)."""
    x = np.concatenate([np.zeros(ONSET), x[:-ONSET]])
    x[-FADE:] *= np.linspace(1, 0, FADE)
    return PEAK / np.abs(x).max() * x


# The kinds ---------------------------------------------------------------------------------------

TIME = np.arange(N_SAMPLES) / SAMPLE_RATE  # s


def kick(pitch, decay, brightness, attack, rng):
    """A tone whose pitch falls to its end, and a click."""
    end = between(40, 75, pitch)
    sweep = end * between(2, 6, brightness) * dying(between(0.01, 0.04, attack))  # Hz above the end
    tone = np.sin(phase(end + sweep)) * dying(between(0.06, 0.25, decay))
    click = noise(rng, 1000, 6000) * dying(0.003)
    return tone + between(0.05, 0.3, brightness) * click


def snare(pitch, decay, brightness, attack, rng):
    """Two tones of a skin, and wires."""
    low = between(150, 280, pitch)
    skin = np.sin(phase(low + 40 * dying(0.02))) + 0.6 * np.sin(phase(1.59 * low + 0 * TIME))
    skin *= dying(between(0.04, 0.12, attack))
    wires = noise(rng, between(800, 2500, brightness), 7800) * dying(between(0.05, 0.2, decay))
    return skin + between(0.4, 1.2, brightness) * wires


def hi_hat(pitch, decay, brightness, attack, rng):
    """High noise, and tones that fit to no scale."""
    low = between(2500, 3400, pitch)
    metal = sum(np.sin(phase(low * ratio + 0 * TIME)) for ratio in (1, 1.342, 1.631, 1.933, 2.214))
    hiss = noise(rng, between(3500, 5500, brightness), 7800)
    rise = 1 - np.exp(-TIME / between(0.0005, 0.003, attack))
    return (between(0.15, 0.5, pitch) * metal / 2 + hiss) * rise * dying(between(0.02, 0.2, decay))


def tom(pitch, decay, brightness, attack, rng):
    """Two tones of a skin, which fall a little."""
    low = between(80, 220, pitch)
    bend = 1 + between(0.1, 0.5, attack) * dying(0.04)
    length = between(0.08, 0.25, decay)
    second = np.sin(phase(1.5 * low * bend)) * dying(0.5 * length)
    stick = noise(rng, 800, 5000) * dying(0.004)
    skin = np.sin(phase(low * bend)) * dying(length) + between(0.1, 0.6, brightness) * second
    return skin + 0.15 * brightness * stick


def clap(pitch, decay, brightness, attack, rng):
    """Four bursts of noise in a row, and a tail."""
    low = between(600, 1200, pitch)
    hands = noise(rng, low, between(2.5, 6, brightness) * low)
    gap = between(0.006, 0.014, attack)  # s, from burst to burst
    envelope = 0.6 * dying(between(0.03, 0.15, decay), 3 * gap)
    for burst in range(4):
        envelope += dying(0.004, burst * gap)
    return hands * envelope


def string(pitch, decay, brightness, attack, rng):
    """Harmonics of a plucked string; the higher, the sooner gone."""
    low = between(110, 440, pitch)
    length, pluck = between(0.15, 0.6, decay), between(0.1, 0.4, attack)
    x = np.zeros(N_SAMPLES)
    for h in range(1, int(7500 / low) + 1):
        shape = np.sin(np.pi * h * pluck) / h
        damping = 1 + between(0.3, 0.05, brightness) * (h - 1)
        x += shape * np.sin(phase(h * low + 0 * TIME)) * dying(length / damping)
    return x


def mallet(pitch, decay, brightness, attack, rng):
    """The three lowest tones of a tuned wooden bar."""
    low = between(220, 780, pitch)
    length = between(0.06, 0.3, decay)
    stick = noise(rng, 500, 4000) * dying(0.005)
    x = np.sin(phase(low + 0 * TIME)) * dying(length) + between(0.02, 0.2, attack) * stick
    for ratio, share in ((3.99, 0.5), (9.4, 0.25)):
        loud = share * between(0.2, 1, brightness)
        x += loud * np.sin(phase(ratio * low + 0 * TIME)) * dying(length / ratio)
    return x


KINDS = {
    "kick": kick,
    "snare": snare,
    "hi-hat": hi_hat,
    "tom": tom,
    "clap": clap,
    "string": string,
    "mallet": mallet,
}

# The ingredients ---------------------------------------------------------------------------------


def between(low, high, u):
    """From low at u = 0 to high at u = 1, in equal ratios."""
    return low * (high / low) ** u


def dying(seconds, start=0.0):
    """exp(-t / seconds) from `start` on, 0 before: (N,)."""
    t = TIME - start
    return np.where(t < 0, 0, np.exp(-np.maximum(t, 0) / seconds))


def phase(frequency):
    """The phase of a tone whose frequency (N,) in Hz may change, from 0 on: (N,)."""
    return 2 * np.pi * (np.cumsum(frequency) - frequency[0]) / SAMPLE_RATE


def noise(rng, low, high):
    """White noise between two frequencies in Hz, with a peak near 1: (N,)."""
    band = butter(2, [low, min(high, 0.49 * SAMPLE_RATE)], "bandpass", fs=SAMPLE_RATE, output="sos")
    x = sosfilt(band, rng.standard_normal(N_SAMPLES))
    return x / (3 * x.std())
