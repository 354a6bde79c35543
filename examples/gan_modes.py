"""Does a generator find everything there is? Four games and two truths that are known.

    python examples/gan_modes.py
    python examples/gan_modes.py --truth ring --seed 1       the faster half, drawn anew

A generator that makes one thing well has learnt little: its discriminator asks for nothing else.
That is called mode collapse. Here it can be counted, for the truth has eight modes:

    ring     points in a plane, from eight small clouds on a circle
    tones    short waveforms, of eight pitches and of any loudness

You will see for each game (see `nn.gan_losses`) how many of the eight the generator found, its
*coverage*, and how many of its samples are one of them, its *precision*: within 3 standard
deviations of a cloud; or of a waveform whose correlation with a tone is above 0.9. One run beside
them is made to collapse. You will see strips of samples as training goes on, and the curves of both
players; and hear the tones. The loop in `train` shows both updates.

The page is out/gan_modes.html.
"""

import os

# Matrices here are small: a second BLAS thread costs more than it brings.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from song_ladder import show

from scratchaudio import nn, plot
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.models import (
    WaveGANDiscriminator,
    WaveGANGenerator,
    discriminator_step,
    generator_step,
)
from scratchaudio.report import Report

# %% Settings
SEED = 0
OUT = Path("out/gan_modes.html")

BATCH = 64
BETAS = (0.5, 0.9)  # of Adam: what was right some steps ago is wrong now, so little memory
N_JUDGED = 2000  # samples that coverage and precision are measured on
N_MEASURED = 40  # times during training that they are
N_PICTURES = 5  # samples shown in a strip
FOUND = 0.1  # a mode is found if it gets this share of what it should get


# %% Two truths


class Ring:
    """Eight clouds on a circle of radius 1: points (n, 2)."""

    name = "ring"
    n_modes = 8
    n_latent = 2
    sigma = 0.05
    hidden = 128

    def __init__(self):
        angles = 2 * np.pi * np.arange(self.n_modes) / self.n_modes
        self.centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (8, 2)

    def draw(self, n, rng):
        """Real examples, (n, 2)."""
        modes = rng.integers(0, self.n_modes, n)
        x = self.centres[modes] + self.sigma * rng.standard_normal((n, 2))
        return x.astype(np.float32)

    def judge(self, x):
        """For each point the nearest mode, (n,), and whether it belongs to it, (n,)."""
        distances = np.sqrt(np.square(x[:, None] - self.centres).sum(axis=2))  # (n, 8)
        return distances.argmin(axis=1), distances.min(axis=1) < 3 * self.sigma

    def players(self, spectral, rng):
        """Generator and discriminator, of three dense layers each."""
        H = self.hidden
        generator = nn.Sequential(
            nn.Linear(self.n_latent, H, rng=rng),
            nn.ReLU(),
            nn.Linear(H, H, rng=rng),
            nn.ReLU(),
            nn.Linear(H, 2, rng=rng),
        )
        dense = [nn.Linear(2, H, rng=rng), nn.Linear(H, H, rng=rng), nn.Linear(H, 1, rng=rng)]
        if spectral:
            dense = [nn.SpectralNorm(layer, axis=1, rng=rng) for layer in dense]
        first, second, last = dense
        discriminator = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)
        return generator, discriminator

    def picture(self, ax, x, real):
        """Draw real points, and these over them."""
        ax.plot(*real.T, ".", color=plot.GUIDE, markersize=1, alpha=0.4)
        ax.plot(*x[:300].T, ".", color=plot.VERMILION, markersize=1.5)
        ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")


class Tones:
    """Eight tones of 4 to 11 whole periods, and of any loudness: waveforms (n, 1, N).

    As they end where they begin, they can be repeated, and heard.
    """

    name = "tones"
    n_modes = 8
    n_latent = 16
    sample_rate = 16000  # Hz
    n_samples = 256

    def __init__(self):
        t = np.arange(self.n_samples) / self.n_samples
        self.periods = np.arange(4, 4 + self.n_modes)
        self.tones = np.sin(2 * np.pi * self.periods[:, None] * t)  # (8, N)

    def draw(self, n, rng):
        """Real examples, (n, 1, N)."""
        modes = rng.integers(0, self.n_modes, n)
        x = rng.uniform(0.4, 0.8, (n, 1)) * self.tones[modes]
        return x[:, None].astype(np.float32)

    def judge(self, x):
        """For each waveform the likest mode, (n,), and whether it belongs to it, (n,)."""
        x = x[:, 0]
        lengths = np.linalg.norm(x, axis=1, keepdims=True) * np.linalg.norm(self.tones[0])
        correlations = x @ self.tones.T / np.maximum(lengths, 1e-9)  # (n, 8)
        return correlations.argmax(axis=1), correlations.max(axis=1) > 0.9

    def players(self, spectral, rng):
        """A small WaveGAN; without phase shuffle, as here the phase is part of the truth."""
        sizes = {"n_samples": self.n_samples, "width": 8, "n_layers": 3}
        generator = WaveGANGenerator(**sizes, n_latent=self.n_latent, rng=rng)
        return generator, WaveGANDiscriminator(**sizes, radius=0, spectral=spectral, rng=rng)

    def picture(self, ax, x, real):
        """Draw the first eight of these waveforms, one below the other."""
        for row, wave in enumerate(x[:8, 0]):
            ax.plot(0.6 * wave - row, color=plot.VERMILION, linewidth=0.7)
        ax.set(ylim=(-8, 1))


# %% The runs


class Run(NamedTuple):
    """One training: a truth, a game, and how it is played."""

    truth: object
    title: str
    game: nn.GANLoss
    steps: int  # updates of the generator
    lr: float  # of the generator
    discriminator_lr: float
    penalty: float = 0.0  # weight of the gradient penalty
    spectral: bool = False  # spectral normalisation instead
    n_discriminator: int = 1  # updates of the discriminator for each of the generator


RING, TONES = Ring(), Tones()
COLLAPSE = "made to collapse"
RUNS = (
    Run(RING, "non-saturating", nn.NON_SATURATING, 4000, 3e-4, 1e-3),
    Run(RING, "least squares", nn.LEAST_SQUARES, 4000, 3e-4, 1e-3),
    Run(RING, "hinge", nn.HINGE, 4000, 3e-4, 1e-3),
    Run(RING, "Wasserstein, penalty", nn.WASSERSTEIN, 2000, 3e-4, 1e-3, 1.0, n_discriminator=5),
    Run(RING, "non-saturating, spectral norm", nn.NON_SATURATING, 2000, 1e-3, 1e-3, 0.0, True, 3),
    Run(RING, COLLAPSE, nn.NON_SATURATING, 4000, 1e-3, 1e-3),
    Run(TONES, "non-saturating, penalty", nn.NON_SATURATING, 1500, 1e-3, 3e-3, 1.0),
    Run(TONES, "least squares, penalty", nn.LEAST_SQUARES, 1500, 1e-3, 3e-3, 1.0),
    Run(TONES, "hinge, penalty", nn.HINGE, 1500, 1e-3, 3e-3, 1.0),
    Run(TONES, "Wasserstein, penalty", nn.WASSERSTEIN, 1500, 1e-3, 3e-3, 1.0),
    Run(TONES, COLLAPSE, nn.NON_SATURATING, 1500, 3e-3, 3e-4),
)


class Result(NamedTuple):
    """What a run came to."""

    history: list  # of dicts: step, losses, coverage, precision
    strip: list  # of pairs (step, samples)
    samples: np.ndarray  # of the generator when it was done
    seconds: float


def train(run, seed):
    """Let the two players of a run learn from each other; return a `Result`."""
    truth, game = run.truth, run.game
    rng = np.random.default_rng(seed)
    generator, discriminator = truth.players(run.spectral, rng)
    optimizer = nn.Adam(generator.parameters(), run.lr, BETAS)
    discriminator_optimizer = nn.Adam(discriminator.parameters(), run.discriminator_lr, BETAS)
    judged = latents(truth, N_JUDGED, np.random.default_rng(seed + 1))

    history, strip, begin = [], [], time.perf_counter()
    shown = np.linspace(0, run.steps, N_PICTURES).round()
    measured = np.linspace(0, run.steps, N_MEASURED + 1).round()
    d_losses, g_losses = [], []
    for step in range(run.steps + 1):
        if step in shown or step in measured:
            samples = generator.forward(judged)
            strip += [(step, samples)] if step in shown else []
            if step in measured and step:
                score = scores(truth, samples)
                losses = {"discriminator": np.mean(d_losses), "generator": np.mean(g_losses)}
                history.append({"epoch": step} | losses | score)
                d_losses, g_losses = [], []
        if step == run.steps:
            break
        # Both slow down in the second half, so that neither runs after the other for ever.
        slower = min(1.0, 2 * (1 - step / run.steps))
        optimizer.lr, discriminator_optimizer.lr = slower * run.lr, slower * run.discriminator_lr

        for _ in range(run.n_discriminator):
            real = truth.draw(BATCH, rng)
            fake = generator.forward(latents(truth, BATCH, rng))
            loss = discriminator_step(
                discriminator, discriminator_optimizer, game, real, fake, run.penalty, rng
            )
            d_losses.append(loss)
        z = latents(truth, BATCH, rng)
        g_losses.append(generator_step(generator, discriminator, optimizer, game, z))
    return Result(history, strip, samples, time.perf_counter() - begin)


def latents(truth, n, rng):
    """Random numbers for n samples, (n, n_latent)."""
    return rng.standard_normal((n, truth.n_latent)).astype(np.float32)


def scores(truth, samples):
    """Coverage, modes found, and precision, share of samples that belong to one."""
    modes, hit = truth.judge(samples)
    counts = np.bincount(modes[hit], minlength=truth.n_modes)
    found = counts >= FOUND * len(samples) / truth.n_modes
    return {"coverage": int(found.sum()), "precision": float(hit.mean())}


# %% The page


def add_truth(page, truth, results, seed):
    """Table, strips and curves of all runs with one truth."""
    rng = np.random.default_rng(seed)
    real = truth.draw(N_JUDGED, rng)
    ends = {"real samples": scores(truth, real)}
    ends |= {title: result.history[-1] for title, result in results.items()}
    rows = [
        [title, f"{end['coverage']} of {truth.n_modes}", end["precision"]]
        for title, end in ends.items()
    ]
    page.table(
        rows,
        ["run", "coverage", "precision"],
        f"Modes found, and share of {N_JUDGED} samples that belong to one, at the end.",
    )
    for title, result in results.items():
        page.heading(title.capitalize(), level=3)
        add_strip(page, truth, title, result, real)
        add_curves(page, truth, title, result)


def add_strip(page, truth, title, result, real):
    """Samples from the same latent numbers, from the first step to the last."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(result.strip), figsize=(7, 1.8), layout="constrained")
    for ax, (step, samples) in zip(axes, result.strip, strict=True):
        truth.picture(ax, samples, real)
        found = scores(truth, samples)["coverage"]
        ax.set_title(f"step {step}: {found}", fontsize=plot.SMALL, color=plot.INK)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color(plot.GRID)
    last = result.history[-1]
    show(
        page,
        figure,
        "Samples of the same latent numbers as training goes on, and how many modes are found.",
        f"Strip of {len(result.strip)} small pictures, {title}: at the end {last['coverage']} of "
        f"{truth.n_modes} modes are found.",
    )


def add_curves(page, truth, title, result):
    """Losses of both, and below what they mean for the samples."""
    figure, (top, bottom) = plot.subplots(2, height=1.7, sharex=True)
    plot.training_curves(result.history, ("discriminator", "generator"), "loss", ax=top)
    shares = [
        record | {"coverage": record["coverage"] / truth.n_modes} for record in result.history
    ]
    plot.training_curves(shares, ("coverage", "precision"), "share (0 to 1)", ax=bottom)
    bottom.set_xlabel("updates of the generator")
    bottom.set_ylim(-0.03, 1.03)
    first, last = result.history[0], result.history[-1]
    show(
        page,
        figure,
        "The losses of both players, and what became of the samples.",
        f"Curves over training, {title}. The discriminator's loss goes from "
        f"{first['discriminator']:.2f} to {last['discriminator']:.2f}, the generator's from "
        f"{first['generator']:.2f} to {last['generator']:.2f}; precision from "
        f"{first['precision']:.2f} to {last['precision']:.2f}.",
    )


HEALTHY = """
The losses of a GAN do not fall as others do: each player's task becomes harder as the other learns.
A healthy run looks like this:

- the discriminator's loss soon stands somewhere between a lost game and a won one (in the
  non-saturating game between 0 and 2 log 2 = 1.39, which is a coin's; least squares: 0 and 0.5;
  hinge: 0 and 2) and **stays** there, with small waves;
- minus the loss of a Wasserstein critic estimates a distance between real and made: it rises as the
  critic learns to see, and then **falls slowly** as the generator comes nearer;
- samples of the same latent numbers change less and less, and each becomes something of its own.

And an ill one like this: a loss goes to 0 and the other away (one player has won, and teaches
nothing any more); or both swing widely, and in the strip all samples move together from one mode to
the next. Then the generator is always where the discriminator has not yet looked. What helps is a
discriminator that learns faster than the generator (other learning rates, more updates), and a
bound on its slope (gradient penalty, spectral norm).
"""


def add_tones(page, results):
    """The tones, real and made, repeated to a quarter of a second each."""
    page.players(
        {"the truth": heard(0.6 * TONES.tones)}
        | {title: heard(result.samples[:8, 0]) for title, result in results.items()},
        TONES.sample_rate,
        "The eight tones; and eight made ones of each run, in any order. Each sounds 16 times.",
    )


def heard(waves):
    """Waveforms (n, N) one after the other, each repeated: (16 n N,)."""
    return np.tile(waves, (1, 16)).ravel().astype(np.float32)


# %% All of it


def gan_modes(truths=("ring", "tones"), *, seed=SEED, out=OUT, overwrite=False):
    """Train all runs of these truths and write the page; return {truth: {title: last scores}}."""
    if Path(out).exists() and not overwrite:
        raise ConfigError(f"{out} already there; --overwrite replaces it")
    page = Report(
        "Does a generator find everything?",
        "Generative adversarial networks, written by hand in NumPy, against a known truth",
    )
    page.text(
        "Each generator learns from a truth with **eight modes**, of which it is told nothing: it "
        "only hears from its discriminator what would have looked more real. Coverage says how "
        "many of the eight it found, precision how many of its samples are one of them."
    )
    page.heading("What a healthy GAN looks like")
    page.text(HEALTHY)
    table = {}
    for truth in (RING, TONES):
        if truth.name not in truths:
            continue
        results = {}
        for run in RUNS:
            if run.truth is truth:
                result = results[run.title] = train(run, seed)
                last = result.history[-1]
                print(
                    f"{truth.name:5} {run.title:30} coverage {last['coverage']} of "
                    f"{truth.n_modes}  precision {last['precision']:.2f}  {result.seconds:4.0f} s",
                    flush=True,
                )
        page.heading(f"The {truth.name}")
        page.text(truth.__doc__.splitlines()[0])
        if truth is TONES:
            add_tones(page, results)
        add_truth(page, truth, results, seed)
        table[truth.name] = {title: result.history[-1] for title, result in results.items()}
    page.save(out, overwrite=overwrite)
    print(f"wrote {out}")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--truth", dest="truths", nargs="+", choices=("ring", "tones"), default=("ring", "tones")
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace the page")
    gan_modes(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
