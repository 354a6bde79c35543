"""A plucked string becomes a flute: CycleGAN learns to change timbre from sounds without pairs.

    python examples/gan_style.py                         about eight minutes on one core
    python examples/gan_style.py --steps 300 --overwrite      a quick look
    python examples/gan_style.py --cycle 0 --overwrite        what goes wrong without the way back

Two instruments are rendered by formula: a plucked string, bright and dying away, and a flute, soft,
steady and breathy. Each plays melodies of its own; none is played by both. Two generators learn to
turn pictures (spectrograms) of the one into pictures of the other and back, each against a
discriminator that knows the real instrument.

Since the renderer is known, so is the truth: melodies that training never heard are rendered by
both instruments, and what G makes of the string is measured against the true flute: the distance of
log-mel spectrograms, beside no transfer at all, a fixed filter, and another take of the flute.
A pitch estimate tells whether the melody has stayed.

You will see a progress line and a table for either direction. The page out/gan_style.html plays
string, G(string), the true flute, and the way back F(G(string)); spectrograms stand side by side,
a strip shows what G made of one phrase as training went on, and curves what a healthy run is like.
"""

import os

# The matrices here are small: threads would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchaudio import dsp, plot
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import ConfigError, ScratchAudioError, require_positive_integer
from scratchaudio.models import CycleGAN, PatchDiscriminator, cyclegan
from scratchaudio.nn import LEAST_SQUARES, Adam, frozen, l1
from scratchaudio.report import Report

# %% Settings
STEPS = 1400
BATCH_SIZE = 4
LR = 2e-3  # constant for one half of the steps, then down to 0
CYCLE = 5.0  # weight of the cycle; half of it is that of the identity
SPECTRAL = False  # bound the discriminators' layers by their spectral norm
SEED = 0
OUT = Path("out/gan_style.html")
CHECKPOINT = Path("out/style_gan.npz")

SR = cyclegan.SMALL["sample_rate"]
N_FFT, HOP = cyclegan.SMALL["n_fft"], cyclegan.SMALL["hop_length"]
PATCH = 64  # frames: half a second
BETAS = (0.5, 0.999)
N_MELODIES = 40  # for each instrument to learn from
N_HELD_OUT = 6
SECONDS = 4.0
N_LOOKS = 8  # how often training stops to look at a held-out melody

# Melodies
SCALE = (0, 2, 4, 5, 7, 9, 11)  # major
LOWEST, HIGHEST = 55, 79  # MIDI: 196 to 784 Hz
DURATIONS = (0.2, 0.3, 0.4, 0.6)  # s
REST = 0.12  # share of notes that are silent
SOFTEST = -9.0  # dB

# Measures
N_MELS = 40
FLOOR = -60.0  # dB; what is below counts as silence
PITCH_FRAME = 512
CENTS = 50


# %% Melodies, and two instruments that play them


class Note(NamedTuple):
    """One note: when it begins, how long it lasts (s), its MIDI number and its level in dB."""

    start: float
    seconds: float
    midi: int
    level: float

    @property
    def frequency(self):
        """In Hz."""
        return 440 * 2 ** ((self.midi - 69) / 12)


def draw_melody(rng):
    """Draw notes that wander up and down a scale, with rests; a list of `Note`."""
    key = int(rng.integers(12))
    ladder = [m for m in range(LOWEST, HIGHEST + 1) if (m - key) % 12 in SCALE]
    place, start, notes = int(rng.integers(len(ladder))), 0.05, []
    while True:
        length = float(rng.choice(DURATIONS))
        if start + length > SECONDS:
            return notes
        if rng.random() > REST:
            notes.append(Note(start, length, ladder[place], rng.uniform(SOFTEST, 0)))
        start += length
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(ladder) - 1))


def pluck(note, rng):
    """A string plucked near one end: all harmonics at once, the high ones gone soon."""
    t = np.arange(round(note.seconds * SR)) / SR
    place = rng.uniform(0.12, 0.18)  # of the finger, as a share of the string's length
    x = np.zeros(len(t))
    for h in range(1, int(0.46 * SR / note.frequency) + 1):
        decay = 2.5 + 0.35 * h * h * rng.uniform(0.9, 1.1)  # 1/s
        partial = np.sin(2 * np.pi * h * note.frequency * t + rng.uniform(0, 2 * np.pi))
        x += math.sin(math.pi * h * place) / h * np.exp(-decay * t) * partial
    return 0.7 * x * edges(len(t), 0.002, 0.02)


def blow(note, rng):
    """A flute: little but the lowest harmonics, a slow beginning, breath, a trace of vibrato."""
    t = np.arange(round(note.seconds * SR)) / SR
    cents = 6 * np.sin(2 * np.pi * 5 * t + rng.uniform(0, 2 * np.pi))
    phase = 2 * np.pi * np.cumsum(note.frequency * 2 ** (cents / 1200)) / SR
    x = np.zeros(len(t))
    for h, strength in enumerate((1, 0.3, 0.12, 0.04, 0.02), start=1):
        if h * note.frequency < 0.46 * SR:
            x += strength * rng.uniform(0.8, 1.25) * np.sin(h * phase + rng.uniform(0, 2 * np.pi))
    breath = np.convolve(rng.standard_normal(len(t)), np.hanning(8) / 4, mode="same")
    return 0.25 * (x + 0.03 * breath) * edges(len(t), rng.uniform(0.05, 0.08), 0.05)


def edges(n, attack, release):
    """Fade in and out within n samples; attack and release in s."""
    t = np.arange(n) / SR
    fade_in = np.clip(t / attack, 0, 1)
    fade_out = np.clip((n / SR - t) / release, 0, 1)
    return np.sin(np.pi / 2 * fade_in) ** 2 * np.sin(np.pi / 2 * fade_out) ** 2


def render(melody, instrument, rng):
    """Play a melody: (N,) float32. Another rng gives another take."""
    x = 1e-4 * rng.standard_normal(round(SECONDS * SR))  # the room is never quite silent
    for note in melody:
        start = round(note.start * SR)
        sound = dsp.db_to_amplitude(note.level) * instrument(note, rng)
        x[start : start + len(sound)] += sound[: len(x) - start]
    return x.astype(np.float32)


class HeldOut(NamedTuple):
    """A melody that training never hears, by both instruments: a, b, and other takes of each."""

    melody: list
    a: np.ndarray
    b: np.ndarray
    other_a: np.ndarray
    other_b: np.ndarray


def held_out_melodies(n, rng):
    """Draw n of them."""
    drawn = []
    for _ in range(n):
        melody = draw_melody(rng)
        takes = [render(melody, play, rng) for play in (pluck, blow, pluck, blow)]
        drawn.append(HeldOut(melody, *takes))
    return drawn


def learning_pictures(n, instrument, rng):
    """Pictures of n melodies of one instrument: (n, F, T)."""
    x = np.stack([render(draw_melody(rng), instrument, rng) for _ in range(n)])
    return cyclegan.encode(x, N_FFT, HOP)


# %% Measures


def log_mel(x):
    """(N,) -> (M, T) levels in dB, what lies below FLOOR raised to it."""
    S = dsp.melspectrogram(y=x, sr=SR, n_fft=512, hop_length=128, n_mels=N_MELS, norm=None)
    return np.maximum(dsp.power_to_db(S / 128**2, ref=1.0, top_db=None), FLOOR)


def log_mel_distance(reference, estimate):
    """Mean difference of two sounds' mel levels, in dB."""
    return float(np.abs(log_mel(reference) - log_mel(estimate)).mean())


def pitch(frame):
    """Frequency of a frame of sound in Hz, by the highest peak of its autocorrelation.

    Of peaks that are nearly as high the first is taken: all multiples of a period are periods.
    """
    x = frame - frame.mean()
    n = len(x)
    r = np.fft.irfft(np.abs(np.fft.rfft(x, 2 * n)) ** 2)[:n]
    r = r / np.maximum(n - np.arange(n), 1)  # the overlap gets shorter
    low, high = int(SR / 1000), int(SR / 150)  # lags
    inside = r[low : high + 1]
    peaks = low + np.flatnonzero((inside >= r[low - 1 : high]) & (inside > r[low + 1 : high + 2]))
    if not len(peaks) or r[0] <= 0:
        return 0.0
    k = peaks[r[peaks] > 0.9 * r[peaks].max()]
    if not len(k):
        return 0.0
    before, at, after = r[k[0] - 1 : k[0] + 2]
    return SR / (k[0] + 0.5 * (before - after) / (before - 2 * at + after))


def melody_kept(x, melody):
    """Share of frames, within the notes, whose pitch is right within CENTS; 1 without any note."""
    right, n = 0, 0
    for note in melody:
        start, end = note.start + 0.08, note.start + note.seconds - 0.04
        for begin in np.arange(round(start * SR), round(end * SR) - PITCH_FRAME + 1, 128):
            f = pitch(x[begin : begin + PITCH_FRAME].astype(np.float64))
            right += f > 0 and abs(1200 * math.log2(f / note.frequency)) <= CENTS
            n += 1
    return right / n if n else 1.0


# %% Training: all updates in sight


def draw_patches(pictures, n, rng):
    """Cut n patches of PATCH frames out of pictures (n_pictures, F, T): (n, 1, F, PATCH)."""
    which = rng.integers(len(pictures), size=n)
    starts = rng.integers(pictures.shape[2] - PATCH + 1, size=n)
    cut = [pictures[i, :, s : s + PATCH] for i, s in zip(which, starts, strict=True)]
    return np.stack(cut)[:, None]


def halves(x):
    """The two halves of a batch."""
    return np.split(x, 2)


def train(model, pictures_a, pictures_b, look, *, steps, batch_size, lr, cycle, spectral, rng):
    """Train both generators; return the history, a list of dicts of losses, one for each step.

    `look(step, model)` is called N_LOOKS times on the way, before the first step and after the last
    """
    G, F = model.to_b, model.to_a
    D_A, D_B = (
        PatchDiscriminator(spectral=spectral, rng=rng),
        PatchDiscriminator(spectral=spectral, rng=rng),
    )
    generator_optimizer = Adam(model.parameters(), lr, BETAS)
    optimizer_a, optimizer_b = (Adam(D.parameters(), lr, BETAS) for D in (D_A, D_B))
    looks = {round(steps * (i / N_LOOKS) ** 2) for i in range(1, N_LOOKS + 1)}
    look(0, model)
    history, begin = [], time.perf_counter()
    for step in range(1, steps + 1):
        now = lr * min(1.0, 2 * (1 - (step - 1) / steps))
        generator_optimizer.lr = optimizer_a.lr = optimizer_b.lr = now
        a = draw_patches(pictures_a, batch_size, rng)
        b = draw_patches(pictures_b, batch_size, rng)

        # Both generators learn. First a -> G(a) -> F(G(a)), and F leaves a alone.
        model.zero_grad()
        fake_b = G.forward(a)
        back_a, same_a = halves(F.forward(np.concatenate([fake_b, a])))
        cycle_a, dback_a = l1(back_a, a)
        identity_a, dsame_a = l1(same_a, a)
        fool_b, dlogits = LEAST_SQUARES.generator(D_B.forward(fake_b))
        with frozen(D_B):
            dfake_b = D_B.backward(dlogits)
        dcycle, _ = halves(F.backward(cycle * np.concatenate([dback_a, 0.5 * dsame_a])))
        G.backward(dfake_b + dcycle)  # fake_b is used twice: gradients add

        # Then b -> F(b) -> G(F(b)), and G leaves b alone.
        fake_a = F.forward(b)
        back_b, same_b = halves(G.forward(np.concatenate([fake_a, b])))
        cycle_b, dback_b = l1(back_b, b)
        identity_b, dsame_b = l1(same_b, b)
        fool_a, dlogits = LEAST_SQUARES.generator(D_A.forward(fake_a))
        with frozen(D_A):
            dfake_a = D_A.backward(dlogits)
        dcycle, _ = halves(G.backward(cycle * np.concatenate([dback_b, 0.5 * dsame_b])))
        F.backward(dfake_a + dcycle)
        generator_optimizer.step()

        # The discriminators learn: real and fake in one batch; the fakes are arrays, no gradient
        # finds a way back to what made them.
        D_B.zero_grad()
        real, fake = halves(D_B.forward(np.concatenate([b, fake_b])))
        tell_b, dreal, dfake = LEAST_SQUARES.discriminator(real, fake)
        D_B.backward(np.concatenate([dreal, dfake]))
        optimizer_b.step()

        D_A.zero_grad()
        real, fake = halves(D_A.forward(np.concatenate([a, fake_a])))
        tell_a, dreal, dfake = LEAST_SQUARES.discriminator(real, fake)
        D_A.backward(np.concatenate([dreal, dfake]))
        optimizer_a.step()

        losses = {"G": fool_b, "F": fool_a, "D_B": tell_b, "D_A": tell_a}
        losses |= {"cycle": cycle_a + cycle_b, "identity": identity_a + identity_b}
        if not math.isfinite(sum(losses.values())):
            raise ConfigError(f"a loss is no longer finite at step {step}: LR={lr} is too high")
        history.append({"step": step, **losses})
        show_progress(history, steps, begin)
        if step in looks:
            look(step, model)
    return history


def show_progress(history, steps, begin):
    """One line, written over on a terminal: losses, and the time left."""
    step = len(history)
    terminal = sys.stdout.isatty()
    if not terminal and step % max(1, steps // 10) and step != steps:
        return
    recent = history[-50:]
    means = {name: np.mean([h[name] for h in recent]) for name in recent[0] if name != "step"}
    left = (time.perf_counter() - begin) * (steps - step) / step
    minutes, seconds = divmod(round(left), 60)
    text = "".join(f"  {name} {value:.3f}" for name, value in means.items())
    line = f"step {step:{len(str(steps))}}/{steps}{text}  {minutes}:{seconds:02d} left"
    print(line, end="\r" if terminal and step < steps else "\n", flush=True)


# %% What came of it


NO_TRANSFER, FILTER = "no transfer", "a filter: mean and spread of each bin"
OWN_PHASE, GRIFFIN_LIM = "CycleGAN, phase of the source", "CycleGAN, Griffin-Lim"
OTHER_TAKE = "another take of the truth"
DISTANCE, MELODY = "log-mel distance (dB)", "melody (%)"


class Direction(NamedTuple):
    """From one instrument to another: names, a generator, and melodies (source, truth, take)."""

    source: str
    target: str
    generator: object
    sounds: list  # (source, truth, another take of the truth), (N,) each
    statistics: tuple  # of learning pictures: means and spreads (F, 1) of source and target


def directions(model, held_out, pictures_a, pictures_b):
    """Both of them, there and back."""
    a, b = (
        (p.mean(axis=(0, 2))[:, None], p.std(axis=(0, 2))[:, None])
        for p in (pictures_a, pictures_b)
    )
    there, back = (
        [(h.a, h.b, h.other_b) for h in held_out],
        [(h.b, h.a, h.other_a) for h in held_out],
    )
    return [
        Direction("string", "flute", model.to_b, there, (*a, *b)),
        Direction("flute", "string", model.to_a, back, (*b, *a)),
    ]


def stft(x):
    """(N,) -> (F + 1, T)."""
    return dsp.stft(x, n_fft=N_FFT, hop_length=HOP)


def filtered(picture, statistics):
    """Each bin of a picture brought to mean and spread of the other instrument: no network."""
    mean, std, other_mean, other_std = statistics
    return (picture - mean) / np.maximum(std, 1e-3) * other_std + other_mean


def estimates(model, direction, source, truth, take):
    """All that claims to be the truth: {method: (N,)}."""
    picture = cyclegan.encode(source, N_FFT, HOP)
    magnitudes = cyclegan.decode(model.repaint(direction.generator, picture))
    matched = cyclegan.decode(filtered(picture, direction.statistics).astype(np.float32))
    X, n = stft(source), len(source)
    return {
        NO_TRANSFER: source,
        FILTER: model.sound(matched, X, n),
        OWN_PHASE: model.sound(magnitudes, X, n),
        GRIFFIN_LIM: dsp.griffinlim(magnitudes, hop_length=HOP, length=n, rng=0),
        OTHER_TAKE: take,
    }


def compare(model, direction, melodies):
    """Mean measures of every method over the held-out melodies: {method: {measure: float}}."""
    model.eval()
    scores = {}
    for (source, truth, take), melody in zip(direction.sounds, melodies, strict=True):
        for method, x in estimates(model, direction, source, truth, take).items():
            kept = 100 * melody_kept(x, melody)
            scores.setdefault(method, []).append((log_mel_distance(truth, x), kept))
    model.train()
    return {
        method: dict(zip((DISTANCE, MELODY), np.mean(values, axis=0).tolist(), strict=True))
        for method, values in scores.items()
    }


def better_phase(scores):
    """The method of the two whose sounds are nearer to the truth, over both directions."""
    return min((OWN_PHASE, GRIFFIN_LIM), key=lambda m: sum(s[m][DISTANCE] for s in scores))


def print_scores(direction, scores):
    """One table."""
    title = f"{direction.source} to {direction.target}"
    print(f"\n{title:>38}{DISTANCE:>24}{MELODY:>13}")
    for method, values in scores.items():
        print(f"{method:>38}{values[DISTANCE]:24.2f}{values[MELODY]:13.1f}")


class Diary:
    """What training looked like on the way: steps, distances to the truth, pictures of a phrase."""

    def __init__(self, held_out, seconds=1.5):
        self.held_out = held_out
        self.phrase = slice(0, round(seconds * SR / HOP))
        self.steps, self.distances, self.pictures = [], [], []

    def look(self, step, model):
        """Listen to G and F, as they are now."""
        model.eval()
        there = [log_mel_distance(h.b, model.play_as_b(h.a, SR)) for h in self.held_out]
        back = [log_mel_distance(h.a, model.play_as_a(h.b, SR)) for h in self.held_out]
        self.steps.append(step)
        self.distances.append((float(np.mean(there)), float(np.mean(back))))
        picture = cyclegan.encode(self.held_out[0].a, N_FFT, HOP)
        self.pictures.append(model.repaint(model.to_b, picture)[:, self.phrase])
        model.train()


# %% The page


def add_opening(page, ways, scores, method, steps):
    """What was done, in a paragraph."""
    there, (s, t) = ways[0], scores
    page.text(
        f"A {there.source} and a {there.target}, both rendered by formula, play melodies of the "
        "same kind, but no melody is played by both. Two generators learned to turn spectrograms "
        f"of the one into the other, in {steps} steps, each against a discriminator that knows "
        "the real instrument; what one generator does, the other must be able to undo.\n\n"
        f"On melodies that training never heard, G({there.source}) is **{s[method][DISTANCE]:.2f} "
        f"dB** away from the true {there.target} in its log-mel spectrogram; the {there.source} "
        f"itself is {s[NO_TRANSFER][DISTANCE]:.2f} dB away, a filter in each bin "
        f"{s[FILTER][DISTANCE]:.2f} dB, and another take by the same {there.target} "
        f"{s[OTHER_TAKE][DISTANCE]:.2f} dB. From {there.target} to {there.source} it is "
        f"{t[method][DISTANCE]:.2f} dB, where {t[OTHER_TAKE][DISTANCE]:.2f} dB could be had. The "
        f"pitch is right in {s[method][MELODY]:.1f} % and {t[method][MELODY]:.1f} % of the frames."
    )


def add_listening(page, model, ways, method):
    """Players for two melodies there, one back."""
    page.heading("Listen")
    there, back = ways
    for i, (way, other) in enumerate(((there, back), (there, back), (back, there))):
        G, F = ("G", "F") if way is there else ("F", "G")
        source, truth, take = way.sounds[min(i, len(way.sounds) - 1)]
        made = estimates(model, way, source, truth, take)[method]
        # The cycle as training knows it: pictures all the way, one phase at the end.
        picture = model.repaint(way.generator, cyclegan.encode(source, N_FFT, HOP))
        cycle = cyclegan.decode(model.repaint(other.generator, picture))
        page.players(
            {
                way.source: source,
                f"{G}({way.source})": made,
                f"true {way.target}": truth,
                f"{F}({G}({way.source}))": model.sound(cycle, stft(source), len(source)),
            },
            SR,
            f"A melody that training never heard: the {way.source}, what {G} makes of it, the "
            f"same melody by the {way.target}, and the way back.",
        )


def add_pictures(page, model, ways, method, seconds=2.0):
    """Spectrograms side by side, for both directions."""
    page.heading("Look")
    for way in ways:
        source, truth, take = way.sounds[0]
        made = estimates(model, way, source, truth, take)[method]
        G = "G" if way is ways[0] else "F"
        named = {way.source: source, f"{G}({way.source})": made, f"true {way.target}": truth}
        levels = {
            name: dsp.amplitude_to_db(np.abs(stft(x[: round(seconds * SR)])))
            for name, x in named.items()
        }
        figure, _ = plot.spectrograms(levels, SR, HOP, dynamic_range=70)
        show(
            page,
            figure,
            f"From {way.source} to {way.target}: the lines must stay where they are, since they "
            "are the melody; how many there are, how they begin and how they end is the timbre.",
            f"Spectrograms of {', '.join(named)}.",
        )


def add_numbers(page, ways, scores):
    """Both tables."""
    page.heading("In numbers")
    page.text(
        "All rows are means over the held-out melodies, against the true rendering. **A filter** "
        "brings mean and spread of each bin's level to those of the other instrument: what can be "
        "had without a network, and without pairs too. **Another take** differs from the truth "
        "as two takes of one player do (breath, vibrato, the place of the finger): nothing can be "
        "expected to come nearer. **Melody** is the share of frames inside the notes whose "
        f"pitch, by autocorrelation, is within {CENTS} cents of the score's."
    )
    for way, rows in zip(ways, scores, strict=True):
        page.table(
            [[method, *values.values()] for method, values in rows.items()],
            [f"{way.source} to {way.target}", DISTANCE, MELODY],
            f"From {way.source} to {way.target}",
            digits=2,
        )


def add_learning(page, history, diary, held_out, ways):
    """Curves, and a strip of one phrase over time."""
    page.heading("How it learned")
    curves = smoothed(history)
    _, (top, middle, bottom) = plot.subplots(3, height=2.3)
    plot.training_curves(curves, ("D_B", "G", "D_A", "F"), "least squares loss", ax=top)
    plot.training_curves(curves, ("cycle", "identity"), "mean |difference|", ax=middle)
    middle.set_yscale("log")
    looks = [
        {"epoch": step, "G(string) to flute": d[0], "F(flute) to string": d[1]}
        for step, d in zip(diary.steps, diary.distances, strict=True)
    ]
    plot.training_curves(looks, tuple(looks[0])[1:], "log-mel distance (dB)", ax=bottom)
    for ax in (top, middle, bottom):
        ax.set_xlabel("step")
    show(
        page,
        top,
        "Top: the game. Middle: what the way back, and leaving the other instrument alone, still "
        "cost. Bottom: what matters, the distance to the truth, which training never sees.",
        "Three drawings of training curves over the steps.",
    )
    last = curves[-1]
    page.text(
        "**A healthy run** is a draw, not a victory. A discriminator that cannot tell real from "
        "made says 1/2 to all, and has a loss of 0.5; the generator's is then 0.25. Here they "
        f"end at {last['D_B']:.2f} and {last['G']:.2f} (flute), {last['D_A']:.2f} and "
        f"{last['F']:.2f} (string). Losses hover below and above these marks all along, and say "
        "little about quality: the distance at the bottom falls while they stay. Cycle and "
        "identity fall, rise a little when the generators begin to change the sound in earnest, "
        "and go down again.\n\n"
        "**An ill one**: the discriminator's loss goes to 0 and the generator's to 1 and more, "
        "and nothing moves any more; or the cycle stays at 0 with the discriminator content "
        "beforehand: the generators copy."
    )
    show(page, strip(diary, held_out[0]), *STRIP)


STRIP = (
    "One phrase that training never heard, as G played it on the way. The upper lines, which a "
    "flute does not have, fade; the notes, which die away on the string, begin to last.",
    "A strip of spectrograms: the string, G of it after more and more steps, the true flute.",
)


def strip(diary, held_out):
    """The string, what G made of it step by step, and the flute; a figure."""
    a, b = (cyclegan.encode(x, N_FFT, HOP)[:, diary.phrase] for x in (held_out.a, held_out.b))
    named = [("string", a)]
    named += [(f"step {n}", x) for n, x in zip(diary.steps, diary.pictures, strict=True)]
    named += [("true flute", b)]
    n_columns = 4
    figure, axes = plot.subplots(-(-len(named) // n_columns), n_columns, height=1.5)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, picture) in zip(axes.flat, named, strict=False):
        ax.imshow(picture, origin="lower", aspect="auto", cmap="magma", vmin=0.1, vmax=0.9)
        ax.set_title(name, loc="left", fontsize=plot.SMALL, color=plot.INK)
    return figure


def smoothed(history, n=60):
    """Means of the losses over n equal spans of the training, for curves that can be read."""
    spans = np.array_split(np.arange(len(history)), min(n, len(history)))
    names = [name for name in history[0] if name != "step"]
    return [
        {"epoch": int(span[-1]) + 1}
        | {name: float(np.mean([history[i][name] for i in span])) for name in names}
        for span in spans
    ]


def show(page, drawing, caption, alt):
    """Add a figure to the page, and let go of it."""
    import matplotlib.pyplot as plt

    page.figure(drawing, caption, alt)
    plt.close(getattr(drawing, "figure", drawing))


# %% All of it


def gan_style(
    *,
    steps=STEPS,
    batch_size=BATCH_SIZE,
    lr=LR,
    cycle=CYCLE,
    spectral=SPECTRAL,
    seed=SEED,
    out=OUT,
    checkpoint=CHECKPOINT,
    overwrite=False,
):
    """Train, measure, write page and checkpoint; return [{method: {measure: float}}], both ways."""
    require_positive_integer("STEPS", steps)
    require_positive_integer("BATCH_SIZE", batch_size)
    if not 0 <= cycle < math.inf:
        raise ConfigError(f"CYCLE must be a finite number of at least 0, got {cycle}")
    for path in map(Path, (out, checkpoint)):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, not a file to write")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} is already there; --overwrite replaces it")
        path.parent.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(seed)
    pictures_a, pictures_b = (learning_pictures(N_MELODIES, play, rng) for play in (pluck, blow))
    held_out = held_out_melodies(N_HELD_OUT, np.random.default_rng(seed + 1))
    model = CycleGAN(**cyclegan.SMALL, rng=rng)
    n_parameters = sum(p.value.size for p in model.parameters())
    print(f"two generators, {n_parameters} parameters; {steps} steps", flush=True)
    diary = Diary(held_out)
    history = train(
        model,
        pictures_a,
        pictures_b,
        diary.look,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        cycle=cycle,
        spectral=spectral,
        rng=rng,
    )

    ways = directions(model, held_out, pictures_a, pictures_b)
    melodies = [h.melody for h in held_out]
    scores = [compare(model, way, melodies) for way in ways]
    for way, rows in zip(ways, scores, strict=True):
        print_scores(way, rows)
    method = better_phase(scores)
    print(f"\nto listen to: {method}")

    model.eval()
    page = Report(
        "A string becomes a flute",
        "CycleGAN, written by hand in NumPy, learns a change of timbre without a single pair",
    )
    add_opening(page, ways, scores, method, steps)
    add_listening(page, model, ways, method)
    add_pictures(page, model, ways, method)
    add_numbers(page, ways, scores)
    add_learning(page, history, diary, held_out, ways)
    page.save(out, overwrite=overwrite)
    save_checkpoint(checkpoint, model, settings=model.settings)
    print(f"saved {checkpoint}, {Path(checkpoint).stat().st_size} bytes")
    print(f"open {out} in a browser")
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--lr", type=float, default=LR, help="learning rate of all four networks")
    parser.add_argument("--cycle", type=float, default=CYCLE, help="weight of the way back")
    parser.add_argument("--spectral", action="store_true", help="spectral normalisation in D")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT, help="the page")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--overwrite", action="store_true")
    gan_style(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
