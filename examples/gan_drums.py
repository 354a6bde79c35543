"""Make drums and notes that nobody played: a generative adversarial network learns one-shots.

    python examples/gan_drums.py                     some ten minutes on a quiet machine
    python examples/gan_drums.py --steps 300         a first impression

A generator turns random numbers and the name of a kind, "snare", into half a second of sound. It is
never shown a sound. A discriminator hears real ones (`one_shots.py`: seven kinds, made by formula)
and the generator's, and learns to tell them apart; the generator learns from what would have made
the discriminator less sure. The loop in `train` shows both updates, line by line.

You will see the two losses, and how far the made sounds are from real ones that were held out, as
training goes on; and hear, by a slider, the same random numbers become a kick. On the page real and
made sounds stand side by side, each beside the sound to learn from that is most like it, so that
copies would be heard; and a slider goes from one sound to another.

The page is out/gan_drums.html, the generator out/drum_gan.npz: `load_model(path).make("snare", 4)`.
"""

import os

# Matrices here are small: a second BLAS thread costs more than it brings.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from one_shots import KINDS, SAMPLE_RATE, make_one_shots
from song_ladder import show

from scratchaudio import dsp, nn, plot
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import ConfigError, ScratchAudioError, require_positive_integer
from scratchaudio.metrics import frechet_distance, log_mel_statistics
from scratchaudio.models import (
    ClassWaveGANDiscriminator,
    ClassWaveGANGenerator,
    class_gan,
)
from scratchaudio.models.class_gan import compand
from scratchaudio.report import Level, Report

# %% Settings
CHECKPOINT = Path("out/drum_gan.npz")
OUT = Path("out/gan_drums.html")
STEPS = 2500
SEED = 0

N_PER_KIND = 64  # sounds to learn from
N_HELD_OUT = 32  # of each kind, and as many made for each comparison
SIZES = class_gan.SMALL
N_LATENT = 17 + len(KINDS)
GAME = nn.WASSERSTEIN
MU = 30.0  # bend of the waveforms, so that soft errors count: see models/class_gan.py
PENALTY = 10.0  # weight of the gradient penalty
BATCH = 16
DISCRIMINATOR_STEPS = 2  # for each of the generator
LR_GENERATOR, LR_DISCRIMINATOR = 1e-3, 2e-3  # at first
BETAS = (0.5, 0.9)
AVERAGING = 0.995  # how much of its old weights the averaged generator keeps at each step

N_RECORDS = 25  # points of the curves
N_MOMENTS = 7  # of the training that can be heard, the first ones closer together
N_SHOWN = 4  # sounds of each kind, real and made
N_BETWEEN = 9  # sounds on the way from one to another
N_FFT, HOP_LENGTH = 512, 64  # of the pictures
NAMES = list(KINDS)
PATHS = (("kick", "kick"), ("string", "string"), ("snare", "clap"), ("tom", "mallet"))


# %% The game


def train(real, generator, average, discriminator, *, steps, rng, watch):
    """Let both players learn for some steps; return records of the losses.

    Parameters
    ----------
    real : OneShots to learn from
    generator, discriminator : the players
    average : a second generator, whose weights become a moving average of the first one's: the
        game never rests, and the mean of its last states is a better player than any of them
    watch : function `watch(step, record)`, called N_RECORDS times; what it returns joins the record
    """
    generator_optimizer = nn.Adam(generator.parameters(), LR_GENERATOR, BETAS)
    discriminator_optimizer = nn.Adam(discriminator.parameters(), LR_DISCRIMINATOR, BETAS)
    average.load_state_dict(generator.state_dict())
    average.eval()
    bent = compand(real.x, generator.mu)
    history, recent = [], []
    for step in range(1, steps + 1):
        share = max(0.05, min(1.0, 2 * (1 - step / steps)))  # in the second half ever smaller steps
        generator_optimizer.lr = share * LR_GENERATOR
        discriminator_optimizer.lr = share * LR_DISCRIMINATOR

        # The discriminator learns: real and made sounds, in one batch. They are of the same kinds.
        for _ in range(DISCRIMINATOR_STEPS):
            chosen = rng.integers(len(real.x), size=BATCH)
            x, kind = bent[chosen], real.kind[chosen]
            fake = generator.forward(generator.draw_kind(kind, rng))
            discriminator.zero_grad()
            logits = discriminator.forward(np.concatenate([x, fake]), np.concatenate([kind, kind]))
            d_loss, dreal, dfake = GAME.discriminator(logits[:BATCH], logits[BATCH:])
            discriminator.backward(np.concatenate([dreal, dfake]))
            P = nn.gradient_penalty(discriminator.given(kind), x, fake, PENALTY, rng)
            discriminator_optimizer.step()

        # The generator learns: the gradient runs through the discriminator, which stays as it is.
        kind = rng.integers(len(NAMES), size=BATCH)
        generator.zero_grad()
        logits = discriminator.forward(generator.forward(generator.draw_kind(kind, rng)), kind)
        g_loss, dlogits = GAME.generator(logits)
        with nn.frozen(discriminator):
            dfake = discriminator.backward(dlogits)
        generator.backward(dfake)
        generator_optimizer.step()

        keep = min(AVERAGING, 1 - 1 / (step + 1))  # at first the mean of all steps
        for mean, now in zip(average.parameters(), generator.parameters(), strict=True):
            mean.value += (1 - keep) * (now.value - mean.value)

        recent.append((d_loss, g_loss, P))
        if not np.isfinite(recent[-1]).all():
            raise ConfigError(f"the losses are {recent[-1]} at step {step}: lower the rates LR_...")
        if step * N_RECORDS // steps > (step - 1) * N_RECORDS // steps:
            names = "discriminator", "generator", "penalty"
            record = {"epoch": step} | dict(zip(names, np.mean(recent, axis=0), strict=True))
            history.append(record | watch(step, record))
            recent = []
    return history


def features(x):
    """What sounds (B, 1, N) are compared by: (B, 40)."""
    return log_mel_statistics(x[:, 0], SAMPLE_RATE)


def make_all_kinds(generator, n, rng):
    """Make n sounds of each kind: (K n, 1, N)."""
    return generator.sounds(generator.draw_kind(np.repeat(np.arange(len(NAMES)), n), rng))


# %% How good, and is it new?


def distances(held_out, train_set, average, seed):
    """Frechet distances to the sounds held out: {what: (of all, mean of the kinds alone)}."""
    n = len(held_out.x) // len(NAMES)
    rng = np.random.default_rng(seed + 1)
    untrained = ClassWaveGANGenerator(**average.settings, rng=rng).eval()
    one_each = make_all_kinds(average, 1, rng).repeat(n, axis=0)
    compared = {
        "real, held out, drawn anew": make_one_shots("held_out", n, seed + 1).x,
        "real, as those to learn from": make_one_shots("train", n, seed + 1).x,
        "made": make_all_kinds(average, n, rng),
        "one made sound of each kind, again and again": one_each,
        "made before training": make_all_kinds(untrained, n, rng),
        "white noise": rng.uniform(-1, 1, held_out.x.shape).astype(np.float32),
    }
    reference = features(held_out.x)
    found = {}
    for name, x in compared.items():
        these = features(x)
        alone = [  # a kind has fewer sounds than features: each feature by itself
            frechet_distance(reference[rows], these[rows], shrinkage=1)
            for rows in (held_out.kind == k for k in range(len(NAMES)))
        ]
        found[name] = frechet_distance(reference, these), float(np.mean(alone))
        print(f"{name:>46}: {found[name][0]:9.1f} dB^2, each kind alone {found[name][1]:9.1f}")
    return found


def nearest(x, train_set, skip_itself=False):
    """For each sound (B, 1, N), its place in the training set and the distance to it in dB."""
    a, b = features(x), features(train_set.x)
    gaps = np.sqrt(np.square(a[:, None] - b).mean(axis=-1))  # (B, all) root mean square, dB
    if skip_itself:
        np.fill_diagonal(gaps, np.inf)
    return gaps.argmin(axis=1), gaps.min(axis=1)


# %% The page


def in_a_row(x):
    """Sounds (B, 1, N) one after the other: (B N,)."""
    return x.reshape(-1)


def levels_of(x):
    """Levels (F, T) in dB of a sound (N,)."""
    X = dsp.stft(x, n_fft=N_FFT, hop_length=HOP_LENGTH)
    return dsp.amplitude_to_db(np.abs(X), top_db=None)


def draw_rows(named, caption, alt, page, height=1.7):
    """Spectrograms one below the other, on one scale of levels."""
    figure, axes = plot.subplots(len(named), height=height, sharex=True)
    levels = {name: levels_of(x) for name, x in named.items()}
    loudest = max(level.max() for level in levels.values())
    for ax, (name, level) in zip(np.atleast_1d(axes), levels.items(), strict=True):
        plot.spectrogram(
            level, SAMPLE_RATE, HOP_LENGTH, scale="mel", dynamic_range=60, maximum=loudest, ax=ax
        )
        ax.set_title(name, loc="left", fontsize=plot.LETTERS, color=plot.INK)
    show(page, figure, caption, alt)


def add_sounds(page, held_out, train_set, average, seed):
    """Real and made sounds of each kind, with what the made ones are nearest to."""
    page.heading("Listen: real, made, and the nearest sound to learn from")
    page.text(
        f"{N_SHOWN} of each, one after the other, chosen by chance. The third player has for each "
        "made sound the one among those to learn from that is most like it, by levels in mel "
        "bands. **If the second and the third were the same sounds, the generator would have "
        "learned by heart.**"
    )
    rng = np.random.default_rng(seed + 2)
    pictures = {"real, held out": [], "made": []}
    for name in NAMES:
        real = held_out.of_kind(name).x[:N_SHOWN]
        made = average.make(name, N_SHOWN, rng)
        places, gaps = nearest(made, train_set)
        copies = train_set.x[places]
        sounds = {"real, held out": real, "made": made, "nearest to the made": copies}
        others = [NAMES[k] for k in train_set.kind[places] if NAMES[k] != name]
        strange = f" (of another kind: {', '.join(others)})" if others else ""
        page.players(
            {label: in_a_row(x) for label, x in sounds.items()},
            SAMPLE_RATE,
            f"**{name}**. The nearest are {', '.join(f'{gap:.1f}' for gap in gaps)} dB "
            f"away{strange}.",
        )
        pictures["real, held out"].append(real[0])
        pictures["made"].append(made[0])
    draw_rows(
        {label: in_a_row(np.stack(x)) for label, x in pictures.items()},
        f"The first of each: {', '.join(NAMES)}.",
        f"Spectrograms of real sounds above made ones: {', '.join(NAMES)}.",
        page,
    )


def add_distances(page, found, held_out, train_set, average, seed):
    """Tables: Frechet distances, and nearest neighbours."""
    page.heading("How good, in numbers")
    rows = [[name, *values] for name, values in found.items()]
    n = len(held_out.x)
    page.table(
        rows,
        ["sounds", "all kinds, dB²", "each kind alone, dB²"],
        f"Frechet distance to {n} held-out sounds; each row has as many",
        digits=0,
    )
    page.text(
        "Each sound becomes 40 numbers: the mean level in 20 mel bands, and how much each moves. A "
        "Gaussian is fitted to the held-out sounds and one to each row, and the distance tells how "
        "far the one must be moved to become the other; 0 is the same. Rows one and two are what "
        "real sounds reach; they are not 0, as few sounds give noisy covariances, and as the "
        "sounds to learn from leave out some pairs of pitch and decay, from which all held-out "
        "sounds come. The fourth row is a generator that has collapsed: good sounds, "
        "always the same. Within a kind there are fewer sounds than numbers, so that there each "
        "number is compared by itself, without correlations."
    )
    rng = np.random.default_rng(seed + 3)
    made = make_all_kinds(average, len(held_out.x) // len(NAMES), rng)
    table = []
    for name, x, itself in (
        ("made", made, False),
        ("real, held out", held_out.x, False),
        ("to learn from, to another of them", train_set.x, True),
    ):
        places, gaps = nearest(x, train_set, itself)
        table.append([name, *np.quantile(gaps, [0.05, 0.5, 0.95]), f"{len(np.unique(places))}"])
        low, middle, high, hit = table[-1][1:]
        print(f"{name:>46}: nearest at {middle:.2f} dB ({low:.2f} to {high:.2f}), {hit} different")
    page.table(
        table,
        ["sounds", "nearest 5 %, dB", "median, dB", "95 %, dB", "different neighbours"],
        f"How far it is to the nearest of the {len(train_set.x)} sounds to learn from",
        digits=2,
    )
    page.text(
        "Copies would be much nearer than held-out sounds are, which nobody copied. Sounds that "
        "are much farther away are a quality that no real sound has, such as a hum or a grain."
    )


def add_training(page, history, moments):
    """Curves, and the same random numbers at moments of the training."""
    page.heading("What a healthy run looks like")
    measured = [record for record in history if "frechet" in record]
    for names, ylabel, records in (
        (("discriminator", "generator"), "loss", history),
        (("frechet",), "Frechet distance (dB²)", measured),
    ):
        ax = plot.training_curves(records, names, ylabel)
        ax.set_xlabel("step", fontsize=plot.LETTERS, color=plot.INK)
        if names == ("frechet",):
            ax.set_yscale("log")
        show(page, ax, f"{', '.join(names)}, over the steps.", f"Curves of {', '.join(names)}.")
    page.text(
        "The losses of a game do not fall to 0, and say little of how good the sounds are: each "
        "player's loss depends on how good the other is. In a healthy run minus the "
        "discriminator's loss, which estimates how far real and made sounds are apart, rises for a "
        "moment, as the discriminator learns what real sounds are, and then falls slowly while "
        "the generator follows; the "
        "generator's loss wanders. Ill is a discriminator's loss that runs away or stays where it "
        "was, and a generator whose sounds become alike. What should fall is the distance to real "
        "sounds, the lower curve."
    )
    page.heading("The same random numbers, step by step", level=3)
    levels = [
        Level(step, {name: x[0] for name, x in zip(NAMES, sounds, strict=True)})
        for step, sounds in moments.items()
    ]
    page.level_slider(
        levels,
        SAMPLE_RATE,
        f"Move the slider: from noise to {', '.join(NAMES)}.",
        name="Steps of training",
        start=levels[-1].value,
    )
    draw_rows(
        {f"after {step} steps": in_a_row(sounds) for step, sounds in moments.items()},
        f"The same: {', '.join(NAMES)}, from the same random numbers all along.",
        f"Spectrograms of {', '.join(NAMES)} at {len(moments)} moments of the training.",
        page,
        height=1.2,
    )


def add_between(page, average, seed):
    """A slider from one latent vector to another."""
    page.heading("From one sound to another")
    page.text(
        "Between any two vectors of random numbers lie others, and each is a sound. Do they make "
        "sense? In a generator that knows its sounds by heart one would fade out while the other "
        "fades in; in one that has learned what the sounds have in common, the pitch glides and "
        "the decay grows. Two paths stay within a kind, two go from one to another, which the "
        "generator was never asked for."
    )
    rng = np.random.default_rng(seed + 4)
    paths = {}
    for first, last in PATHS:
        a, b = average.draw_kind([NAMES.index(first), NAMES.index(last)], rng)
        label = f"{first} to {'another' if first == last else last}"
        paths[label] = average.sounds(between(a, b, N_BETWEEN))[:, 0]  # (N_BETWEEN, N)
    shares = np.linspace(0, 1, N_BETWEEN)
    levels = [
        Level(float(share), {label: x[i] for label, x in paths.items()})
        for i, share in enumerate(shares)
    ]
    page.level_slider(
        levels, SAMPLE_RATE, "0 is one sound, 1 the other.", name="Share of the second", start=0.0
    )
    draw_rows(
        {label: x.reshape(-1) for label, x in paths.items()},
        f"The {N_BETWEEN} sounds of each path, one after the other.",
        "Spectrograms of sounds on the way from one to another.",
        page,
    )


def between(a, b, n):
    """Latent vectors on the straight line from a to b: (n, n_latent)."""
    share = np.linspace(0, 1, n, dtype=a.dtype)[:, None]
    return (1 - share) * a + share * b


# %% All of it


def gan_drums(steps=STEPS, *, seed=SEED, checkpoint=CHECKPOINT, out=OUT, overwrite=False):
    """Train, measure, save the generator and the page; return {what: Frechet distances}."""
    require_positive_integer("STEPS", steps)
    checkpoint, out = Path(checkpoint), Path(out)
    existing = [str(path) for path in (checkpoint, out) if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f"{', '.join(existing)} already there; --overwrite replaces them")
    begin, cpu = time.perf_counter(), time.process_time()
    rng = np.random.default_rng(seed)
    train_set = make_one_shots("train", N_PER_KIND, seed)
    held_out = make_one_shots("held_out", N_HELD_OUT, seed)
    settings = {"kinds": NAMES, "n_latent": N_LATENT, "mu": MU, "sample_rate": SAMPLE_RATE, **SIZES}
    generator = ClassWaveGANGenerator(**settings, rng=rng)
    average = ClassWaveGANGenerator(**settings, rng=rng)
    discriminator = ClassWaveGANDiscriminator(len(NAMES), **SIZES, rng=rng)
    n_parameters = [sum(p.value.size for p in m.parameters()) for m in (generator, discriminator)]
    print(
        f"{len(train_set.x)} sounds to learn from, {len(held_out.x)} held out; generator "
        f"{n_parameters[0]} parameters, discriminator {n_parameters[1]}",
        flush=True,
    )
    reference = features(held_out.x)
    z = average.draw_kind(np.arange(len(NAMES)), np.random.default_rng(seed))
    moments = {0: generator.eval().sounds(z)}
    generator.train()
    heard = [round(steps * (i / (N_MOMENTS - 1)) ** 2) for i in range(1, N_MOMENTS)]

    def watch(step, record):
        distance = frechet_distance(
            reference, features(make_all_kinds(average, N_HELD_OUT, np.random.default_rng(seed)))
        )
        left = (time.perf_counter() - begin) / step * (steps - step)
        print(
            f"step {step:5d}/{steps}  discriminator {record['discriminator']:7.3f}  generator "
            f"{record['generator']:7.3f}  frechet {distance:8.1f} dB^2  "
            f"{int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )
        if step >= heard[0]:  # the last of them is the last step
            heard[:] = [moment for moment in heard if moment > step]
            moments[step] = average.sounds(z)
        return {"frechet": distance}

    history = train(train_set, generator, average, discriminator, steps=steps, rng=rng, watch=watch)
    seconds = time.process_time() - cpu
    print(f"trained in {seconds:.0f} s of computing ({time.perf_counter() - begin:.0f} s passed)")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        checkpoint, average, settings=average.settings, progress={"steps": steps, "seed": seed}
    )
    print(f"saved {checkpoint}, {checkpoint.stat().st_size / 1e6:.2f} MB")

    found = distances(held_out, train_set, average, seed)
    page = Report(
        "Drums that nobody played",
        "A waveform GAN, both players written by hand in NumPy, learns one-shots",
    )
    page.text(
        f"{len(train_set.x)} sounds of {len(NAMES)} kinds to learn from, {steps} steps. To sounds "
        f"that were held out, the made ones are at a Frechet distance of "
        f"**{found['made'][0]:.0f} dB²**; other real ones at "
        f"{found['real, held out, drawn anew'][0]:.0f}, white noise at "
        f"{found['white noise'][0]:.0f}."
    )
    add_sounds(page, held_out, train_set, average, seed)
    add_distances(page, found, held_out, train_set, average, seed)
    add_training(page, history, moments)
    add_between(page, average, seed)
    page.save(out, overwrite=overwrite)
    print(f"wrote {out}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="of the game")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace page and checkpoint")
    gan_drums(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
