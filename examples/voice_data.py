"""The recordings of voices, and the noise and rooms put around them, for detecting and enhancing.

The committed recordings are clean, so that the truth is known exactly. Every noisy one is made
here, when it is needed, from a seed. Shared by the examples that train and evaluate a model.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft
from scipy.signal import fftconvolve

from scratchaudio import dsp
from scratchaudio.errors import AudioFileError, ConfigError, ShapeError
from scratchaudio.io import load
from scratchaudio.models import segmentation, vad

SOUNDS = Path(__file__).parent.parent / "sounds" / "vad"

# No model hears the kinds of the test set while it learns or is tuned. The shipped detector had
# learned before there was "tones".
TEST_NOISES = ("engine", "music", "rain")
TRAIN_NOISES = tuple(
    kind for kind in (*dsp.NOISES, "babble") if kind not in (*TEST_NOISES, "tones")
)
VALIDATION_NOISES = ("babble", "clicks", "modulated", "wind")  # of the kinds trained on
TEST_SNRS = (20, 10, 5, 0)  # dB over the active speech

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Recording:
    """A clean recording with its truth: samples (N,) at 16 kHz, segments [(start, end)] in s."""

    name: str
    samples: np.ndarray
    segments: list

    @property
    def labels(self):
        """(T,) bool: which frames are speech."""
        n_frames = 1 + len(self.samples) // vad.HOP_LENGTH
        return segmentation.segments_to_frames(self.segments, n_frames)

    @property
    def active(self):
        """(N,) bool: which samples are speech."""
        return sample_mask(self.segments, len(self.samples))


def beginning(recording, seconds):
    """The first seconds of a recording, with their truth."""
    n = round(seconds * vad.SAMPLE_RATE)
    segments = [(start, min(end, seconds)) for start, end in recording.segments if start < seconds]
    return Recording(recording.name, recording.samples[:n], segments)


def sample_mask(segments, n_samples):
    """[(start, end)] in seconds -> (n_samples,) bool."""
    active = np.zeros(n_samples, bool)
    for start, end in segments:
        active[round(start * vad.SAMPLE_RATE) : round(end * vad.SAMPLE_RATE)] = True
    return active


def padded(features):
    """Join recordings of any lengths: list of (T, D) -> x (B, longest T, D), lengths (B,)."""
    lengths = np.array([len(f) for f in features])
    x = np.zeros((len(features), lengths.max(), features[0].shape[1]), np.float32)
    for b, f in enumerate(features):
        x[b, : len(f)] = f
    return x, lengths


def read_segments(path):
    """Read a label file: CSV with a header and rows `start,end` in seconds."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [(float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]
    except FileNotFoundError:
        problem = "no such label file; one is needed beside each recording"
    except (KeyError, TypeError, ValueError) as error:
        problem = f"rows must be start,end in seconds, with that header: {error}"
    raise AudioFileError(f"{path}: {problem}")


def load_split(split, folder=SOUNDS):
    """Read all recordings of "train", "validation" or "test", with their labels."""
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {SPLITS}, got {split!r}")
    recordings = []
    for labels in sorted((Path(folder) / split).glob("*.csv")):
        sounds = [path for path in labels.parent.glob(labels.stem + ".*") if path != labels]
        if len(sounds) != 1:
            raise AudioFileError(f"{labels}: needs one recording of that name, found {sounds}")
        samples, sr = load(sounds[0])
        if sr != vad.SAMPLE_RATE or samples.ndim != 1:
            raise AudioFileError(
                f"{sounds[0]}: must be mono at {vad.SAMPLE_RATE} Hz, is {sr} Hz with "
                f"{1 if samples.ndim == 1 else len(samples)} channels"
            )
        recording = Recording(labels.stem, samples, read_segments(labels))
        try:
            recording.labels  # noqa: B018  the check of the segments against the sound
        except ShapeError as error:
            raise AudioFileError(f"{labels}: {error}") from error
        recordings.append(recording)
    if not recordings:
        raise AudioFileError(f"{Path(folder) / split}: no labelled recordings here")
    return recordings


# Noise and rooms ---------------------------------------------------------------------------------


def make_noise(kind, n_samples, voices, rng):
    """Noise of a kind by name; babble is made of `voices`, a list of (N,) speech signals."""
    if kind == "babble":
        return dsp.babble(n_samples, vad.SAMPLE_RATE, voices, rng)
    return dsp.NOISES[kind](n_samples, vad.SAMPLE_RATE, rng)


def noisy(recording, kind, snr_db, voices, rng):
    """One recording in noise of one kind at a stated SNR: (N,)."""
    noise = make_noise(kind, len(recording.samples), voices, rng)
    return dsp.mix_at_snr(recording.samples, noise, snr_db, recording.active)[0]


def changed_noise(kind, n_samples, voices, rng):
    """Noise of a kind, made stranger: played slower or faster, coloured, swelling, cut in pieces.

    A dozen kinds are few beside what the world holds. What these changes teach is that a sound
    which begins suddenly, or swells as fast as syllables, need not be speech.
    """
    speed = 2 ** rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0
    n_source = int(n_samples * speed) + 2
    noise = make_noise(kind, n_source, voices, rng)
    if speed != 1.0:
        noise = np.interp(np.arange(n_samples) * speed, np.arange(n_source), noise)
    noise = noise[:n_samples].astype(np.float32)
    if rng.random() < 0.5:
        noise = coloured(noise, 12, rng)
    if rng.random() < 0.3:
        noise = noise * slow_envelope(n_samples, rng)
    if rng.random() < 0.3:
        noise = noise * in_pieces(n_samples, rng)
    return noise


def background(n_samples, voices, rng, kinds=TRAIN_NOISES):
    """One noise all the time, or a row of noises that follow each other, each of 1 to 10 s."""
    if rng.random() < 0.5:
        return changed_noise(rng.choice(kinds), n_samples, voices, rng)
    noise = np.empty(n_samples, np.float32)
    position = 0
    while position < n_samples:
        n = min(int(rng.uniform(1, 10) * vad.SAMPLE_RATE), n_samples - position)
        part = changed_noise(rng.choice(kinds), max(n, 8000), voices, rng)[:n]
        noise[position : position + n] = part * dsp.db_to_amplitude(rng.uniform(-12, 6))
        position += n
    return noise


def coloured(x, depth_db, rng):
    """Filter by a random curve: +-depth_db at random frequencies, straight lines between them."""
    knots = np.sort(rng.uniform(0, 1, 8))
    gain_db = np.interp(np.linspace(0, 1, 257), knots, rng.uniform(-depth_db, depth_db, 8))
    n = fft.next_fast_len(len(x), real=True)
    spectrum = fft.rfft(x, n)
    gain = np.interp(np.linspace(0, 256, len(spectrum)), np.arange(257), gain_db)
    return fft.irfft(spectrum * dsp.db_to_amplitude(gain).astype(np.float32), n)[: len(x)]


def slow_envelope(n_samples, rng):
    """(n_samples,) gains that wander by up to 15 dB, up to 8 times a second."""
    rate = 2 ** rng.uniform(-2, 3)  # changes a second
    n_knots = int(n_samples / vad.SAMPLE_RATE * rate) + 2
    gain_db = rng.uniform(-15, 0, n_knots)
    t = np.linspace(0, n_knots - 1, n_samples)
    return (10 ** (np.interp(t, np.arange(n_knots), gain_db) / 20)).astype(np.float32)


def in_pieces(n_samples, rng):
    """(n_samples,) gains that switch between 1 and near 0: sounds come and go, with short fades."""
    gains = np.zeros(n_samples, np.float32)
    position, on = 0, rng.random() < 0.5
    mean_on, mean_off = 2 ** rng.uniform(-3, 2, 2)  # s
    while position < n_samples:
        length = int(rng.exponential(mean_on if on else mean_off) * vad.SAMPLE_RATE) + 800
        gains[position : position + length] = on
        position, on = position + length, not on
    fade = np.hanning(2 * int(rng.uniform(0.002, 0.05) * vad.SAMPLE_RATE) + 3)
    return 0.03 + 0.97 * fftconvolve(gains, fade / fade.sum(), mode="same").clip(0, 1)


def varied(recording, voices, rng):
    """Draw one training example from a clean recording: samples (N,) and labels (T,).

    What makes a detector work on voices and rooms it never heard is variety: another length, pace
    and voice (played faster or slower), room, noise of one or two kinds, bandwidth and level.
    """
    # A piece of 4 to 30 s, played at 0.8 to 1.25 times the speed, by another microphone.
    n = int(rng.uniform(4, 30) * vad.SAMPLE_RATE)
    start = rng.integers(0, max(1, len(recording.samples) - n))
    x = recording.samples[start : start + n]
    active = recording.active[start : start + n]
    if rng.random() < 0.7:
        speed = rng.uniform(0.8, 1.25)
        read = np.arange(0, len(x) - 1, speed)
        active = active[read.astype(int)]
        x = np.interp(read, np.arange(len(x)), x).astype(np.float32)
    if rng.random() < 0.5:
        x = coloured(x, 6, rng)

    if rng.random() < 0.5:
        room = dsp.room_impulse_response(
            rt60=rng.uniform(0.1, 0.9), sr=vad.SAMPLE_RATE, rng=rng, drr_db=rng.uniform(-3, 12)
        )
        x = dsp.reverberate(x, room)

    noise = sum(
        background(len(x), voices, rng) * dsp.db_to_amplitude(rng.uniform(-10, 0))
        for _ in range(rng.choice([1, 2]))
    )
    if active.any() and rng.random() < 0.97:
        x = dsp.mix_at_snr(x, noise, rng.uniform(-5, 30), active)[0]
    else:  # nobody speaks at all
        x, active = 0.05 * noise, np.zeros_like(active)

    if rng.random() < 0.25:
        x = dsp.bandlimit(x, vad.SAMPLE_RATE, rng.uniform(60, 400), rng.uniform(3000, 7500))
    level = dsp.db_to_amplitude(rng.uniform(-45, -10)) / np.sqrt(np.mean(x**2))
    centres = np.arange(1 + len(x) // vad.HOP_LENGTH) * vad.HOP_LENGTH
    return (level * x).astype(np.float32), active[np.minimum(centres, len(x) - 1)]
