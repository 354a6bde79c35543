"""Enhance speech with a GAN: SEGAN writes a clean waveform, and a second network judges it.

    python examples/gan_enhance.py                  trains both kinds, then evaluates
    python examples/gan_enhance.py --trained        only evaluates what it has trained before

The generator is trained twice, on the same noisy voices and for the same number of steps: once by
the mean absolute error alone, once with a discriminator as a second teacher, as in the paper. You
will see a line an epoch: the losses of the two players, and by how many dB the generator improves
voices in noises that it never heard (the median). Then both take their places on the ladder of
evaluate_enhancer.py, between classical filters, the Transformer and the truth.

On the page, out/gan_enhance.html, you will hear them all, see what each makes of the treble, how
the training went, and what the generator made of one clip as it learned.
"""

import os

# One thread: the arrays are small, and threads would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from evaluate_enhancer import (
    SHOWN_SECONDS,
    SHOWN_SNR,
    add_tables,
    evaluate,
    improvement_interval,
    ladder,
    mean,
    print_table,
    show,
    spectra,
)
from train_enhancer import KINDS, validation_set
from voice_data import SOUNDS, TEST_NOISES, background, load_split

from scratchaudio import dsp, plot
from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import ConfigError, ScratchAudioError, require_positive_integer
from scratchaudio.metrics import si_sdr
from scratchaudio.models import SEGANDiscriminator, SEGANGenerator, load_model, load_pretrained
from scratchaudio.models.enhancer import HOP_LENGTH, N_FFT, SAMPLE_RATE
from scratchaudio.models.segan import LEVEL, SMALL, SMALL_GENERATOR, pair
from scratchaudio.nn import LEAST_SQUARES, Adam, cosine_with_warmup, frozen, l1
from scratchaudio.report import Report

# %% Settings
OUT = Path("out/gan_enhance.html")
CHECKPOINT = Path("out/segan.npz")
EPOCHS = 16
EPOCH = 200  # steps
BATCH_SIZE = 8
N_SAMPLES = 8192  # of an example: half a second
L1_WEIGHT = 100.0  # lambda, the paper's
LR, D_LR = 4e-3, 1e-3  # at their highest
BETAS = (0.5, 0.9)  # of Adam; the paper has RMSProp, which is Adam without the first
WARMUP_STEPS = 100
N_NOISES, NOISE_SECONDS = 120, 10
SNR_RANGE = (-5, 15)  # dB
LEVEL_RANGE = (-12, 0)  # dB: peaks of an example, relative to those of a recording
STRIP_VOICE, STRIP_SECONDS = 0, 3  # the validation clip that is enhanced again and again
SEED = 0

ADVERSARIAL, ALONE = "SEGAN", "SEGAN, L1 alone"
BANDS = ((0, 1000), (1000, 4000), (4000, 8000))  # Hz


# %% Noisy voices


def make_pool(recordings, emphasis, rng):
    """Voices and noises to cut examples from, emphasised: two lists of (N,) float32, at level 1."""
    samples = [recording.samples for recording in recordings]
    voices = [x / dsp.active_level(x, r.active) for x, r in zip(samples, recordings, strict=True)]
    n = NOISE_SECONDS * SAMPLE_RATE
    noises = [background(n, samples, rng, KINDS) for _ in range(N_NOISES)]
    noises = [x / np.sqrt(np.mean(np.square(x))) for x in noises]
    return tuple(
        [dsp.preemphasis(x, coef=emphasis, zi=0).astype(np.float32) for x in sounds]
        for sounds in (voices, noises)
    )


def draw_batch(voices, noises, rng):
    """Draw half seconds of voices, each in another noise: noisy and clean, (B, 1, N) each."""
    clean, noise = (
        np.stack([excerpt(sounds[rng.integers(len(sounds))], rng) for _ in range(BATCH_SIZE)])
        for sounds in (voices, noises)
    )
    snr_db, level_db = (rng.uniform(*r, (BATCH_SIZE, 1)) for r in (SNR_RANGE, LEVEL_RANGE))
    noisy = clean + dsp.db_to_amplitude(-snr_db).astype(np.float32) * noise
    peak = np.maximum(abs(noisy).max(axis=1), abs(clean).max(axis=1))[:, None]
    gain = (LEVEL * dsp.db_to_amplitude(level_db) / np.maximum(peak, 1e-6)).astype(np.float32)
    return (gain * noisy)[:, None], (gain * clean)[:, None]


def excerpt(x, rng):
    """Half a second from anywhere: (N_SAMPLES,)."""
    start = rng.integers(len(x) - N_SAMPLES + 1)
    return x[start : start + N_SAMPLES]


# %% Training


def train(adversarial, *, sounds=SOUNDS, epochs=EPOCHS, seed=SEED):
    """Train a generator, with or without the adversary.

    Returns
    -------
    generator : SEGANGenerator
    history : list of dicts, one for each epoch
    strip : {epoch: what the generator makes of one clip}
    """
    require_positive_integer("epochs", epochs)
    rng = np.random.default_rng(seed)
    generator = SEGANGenerator(**SMALL_GENERATOR, rng=seed)
    discriminator = SEGANDiscriminator(N_SAMPLES, **SMALL, spectral=True, rng=seed + 1)
    g_optimizer = Adam(generator.parameters(), lr=LR, betas=BETAS)
    d_optimizer = Adam(discriminator.parameters(), lr=D_LR, betas=BETAS)
    voices, noises = make_pool(load_split("train", sounds), generator.emphasis, rng)
    pairs = validation_set(load_split("validation", sounds))
    clip = pairs[STRIP_VOICE][1][: STRIP_SECONDS * SAMPLE_RATE]
    strip = {0: generator.enhance(clip, SAMPLE_RATE)}
    history, n_steps, begin = [], epochs * EPOCH, time.monotonic()
    n_warmup = min(WARMUP_STEPS, n_steps // 4)
    for epoch in range(1, epochs + 1):
        generator.train()
        records = []
        for step in range((epoch - 1) * EPOCH, epoch * EPOCH):
            g_optimizer.lr, d_optimizer.lr = (
                cosine_with_warmup(step, lr, n_steps, n_warmup, lr / 20) for lr in (LR, D_LR)
            )
            noisy, clean = draw_batch(voices, noises, rng)
            z = generator.draw(BATCH_SIZE, N_SAMPLES, rng)

            generator.zero_grad()
            fake = generator.forward(noisy, z)
            record = {}
            if adversarial:
                # D learns: true and made-up pairs in one batch, and G gets no gradient
                discriminator.zero_grad()
                logits = discriminator.forward(
                    np.concatenate([pair(clean, noisy), pair(fake, noisy)])
                )
                real_logits, fake_logits = np.split(logits, 2)
                d_loss, dreal, dfake = LEAST_SQUARES.discriminator(real_logits, fake_logits)
                discriminator.backward(np.concatenate([dreal, dfake]))
                d_optimizer.step()
                record = {"D": d_loss, "real": real_logits.mean(), "fake": fake_logits.mean()}

            # G learns: from the clean waveform,
            l1_loss, dfake = l1(fake, clean)
            dfake *= L1_WEIGHT
            record["L1"] = l1_loss
            if adversarial:
                # and through D, of which nothing changes
                g_loss, dlogits = LEAST_SQUARES.generator(discriminator.forward(pair(fake, noisy)))
                with frozen(discriminator):
                    dpair = discriminator.backward(dlogits)
                dfake += dpair[:, :1]  # concatenated -> split; the noisy half has no use
                record["G"] = g_loss
            generator.backward(dfake)
            g_optimizer.step()
            records.append(record)

        means = {name: float(np.mean([r[name] for r in records])) for name in records[0]}
        require_finite(means, epoch)
        history.append({"epoch": epoch, **means, "improvement": improvement(generator, pairs)})
        if epoch in strip_epochs(epochs):
            strip[epoch] = generator.enhance(clip, SAMPLE_RATE)
        print_progress(history[-1], epochs, time.monotonic() - begin)
    return generator.eval(), history, strip


def require_finite(means, epoch):
    """Stop a training that has run away."""
    if not np.isfinite(list(means.values())).all():
        raise ConfigError(
            f"training diverged in epoch {epoch}: {means}; lower LR or D_LR in the settings"
        )


def improvement(generator, pairs):
    """By how many dB SI-SDR the generator improves pairs (clean, noisy): the median.

    The mean would be ruled by a clip of which nothing is left, at minus many dB.
    """
    gains = [
        si_sdr(clean, generator.enhance(x, SAMPLE_RATE)) - si_sdr(clean, x) for clean, x in pairs
    ]
    return float(np.median(gains))


def strip_epochs(epochs):
    """Epochs after which the clip is enhanced: an early one, a middle one, and the last."""
    return {1, max(1, epochs // 4), epochs}


def print_progress(record, epochs, seconds):
    """One line: the measures of the epoch, and the time left."""
    epoch = record["epoch"]
    measures = "".join(f"  {k} {v:.4g}" for k, v in record.items() if k != "epoch")
    minutes, left = divmod(round(seconds * (epochs - epoch) / epoch), 60)
    count = f"epoch {epoch:{len(str(epochs))}}/{epochs}"
    print(f"{count}{measures}  {minutes}:{left:02d} left", flush=True)


def train_both(paths, sounds, epochs, seed):
    """Train with and without the adversary, and save both: {name: generator}, histories, strip."""
    generators, histories, strips = {}, {}, {}
    for name, path in paths.items():
        print(f"training {name}", flush=True)
        generators[name], histories[name], strips[name] = train(
            name == ADVERSARIAL, sounds=sounds, epochs=epochs, seed=seed
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(
            path,
            generators[name],
            settings=generators[name].settings,
            progress={"history": histories[name]},
        )
        print(f"saved {path}")
    return generators, histories, strips[ADVERSARIAL]


# %% The ladder


def whole_ladder(generators):
    """The ladder of evaluate_enhancer.py, with these generators below the Transformer."""
    methods = {}
    for name, method in ladder(load_pretrained("enhancer")).items():
        if name == "Transformer":
            methods |= {
                own: lambda clean, x, g=generator: g.enhance(x, SAMPLE_RATE)
                for own, generator in generators.items()
            }
        methods[name] = method
    return methods


def band_levels(sounds):
    """Energy in each band, relative to the clean voice's, in dB: {method: (bands,)}."""
    frequencies = dsp.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT)
    energy = {}
    for name, x in sounds.items():
        power = np.square(abs(spectra(x))).sum(axis=1)
        within = [(low <= frequencies) & (frequencies < high) for low, high in BANDS]
        energy[name] = np.array([power[band].sum() for band in within])
    return {name: 10 * np.log10(e / energy["clean"]) for name, e in energy.items()}


def weight_of_z(generator, shown):
    """SI-SDR, in dB, between what two draws of z make of the same noisy voices."""
    return float(np.mean([
        si_sdr(*(generator.enhance(sounds["noisy"], SAMPLE_RATE, rng=seed) for seed in (0, 1)))
        for sounds in shown.values()
    ]))  # fmt: skip


# %% The page


def write_page(path, rows, shown, generators, histories, strip):
    """Write the page."""
    methods = list(dict.fromkeys(row[0] for row in rows))
    page = Report(
        "Speech written anew: SEGAN",
        "A generator and its judge, written by hand in NumPy, on the ladder of the enhancers",
    )
    add_opening(page, rows, generators)
    page.heading("Listen")
    for kind, sounds in shown.items():
        add_sounds(page, kind, sounds)
    add_adversary(page, rows, shown, generators)
    add_tables(page, rows, methods)
    add_training(page, histories)
    if strip:
        add_strip(page, strip)
    page.save(path, overwrite=True)
    print(f"wrote {path}")


def gain(rows, method):
    """Mean improvement of SI-SDR in dB, and its 95 % interval, as text."""
    low, high = improvement_interval(rows, method)
    value = mean(rows, method, "SI-SDR") - mean(rows, "noisy", "SI-SDR")
    return f"{value:+.1f} dB ({low:+.1f} to {high:+.1f})"


def add_opening(page, rows, generators):
    """What was done, and how it came out."""
    n_voices = len({row[1] for row in rows})
    page.text(
        f"{n_voices} voices that were never trained on, in {', '.join(TEST_NOISES)} noise, which "
        "no training example had. A filter or a mask turns parts of the recording down. SEGAN "
        "**writes a new waveform**, and is taught by the clean one (L1) and by a second network "
        "that tells true pairs of clean and noisy speech from made-up ones.\n\n"
        f"Mean improvement of SI-SDR, with the 95 % interval from resampling voices: "
        f"**SEGAN {gain(rows, ADVERSARIAL)}**, without the adversary {gain(rows, ALONE)}, "
        f"Wiener filter {gain(rows, 'Wiener filter')}, Transformer {gain(rows, 'Transformer')}. "
        f"STOI, an estimate of intelligibility, goes from {mean(rows, 'noisy', 'STOI'):.2f} to "
        f"{mean(rows, ADVERSARIAL, 'STOI'):.2f}."
    )
    n_learned = sum(parameter.value.size for parameter in generators[ADVERSARIAL].parameters())
    page.note(
        f"This is a small SEGAN: {n_learned:,} numbers learned in minutes, where the paper's "
        "generator has 73 million."
    )


def add_sounds(page, kind, sounds):
    """One voice in one noise: players and spectrograms."""
    n = SHOWN_SECONDS * SAMPLE_RATE
    heard = ("noisy", "Wiener filter", ALONE, ADVERSARIAL, "Transformer", "clean")
    page.heading(f"In {kind} noise", level=3)
    page.players(
        {name: sounds[name][:n] for name in heard},
        SAMPLE_RATE,
        f"In {kind} at {SHOWN_SNR} dB: compare how clear the consonants are, and what the pauses "
        "are filled with.",
    )
    drawn = {"noisy": "noisy", "L1 alone": ALONE, "SEGAN": ADVERSARIAL, "clean": "clean"}
    S_db = {
        label: dsp.amplitude_to_db(abs(spectra(sounds[name][:n])), ref=10)
        for label, name in drawn.items()
    }
    figure, _ = plot.spectrograms(S_db, SAMPLE_RATE, HOP_LENGTH)
    show(page, figure, "The same in pictures.", f"Spectrograms of a voice in {kind}: {[*drawn]}.")


def add_adversary(page, rows, shown, generators):
    """What the second teacher changes."""
    page.heading("What the adversary does")
    page.text(
        "Both generators began with the same weights and saw the same examples in the same order. "
        "Where the noise leaves several answers, L1 asks for one between them, and between "
        "waveforms that differ in phase lies silence: most of all in the treble, where a small "
        "shift is a large part of a wave. A judge hears that dull speech is made up, and asks for "
        "energy where speech has it. L1 has no ear for that, and neither has SI-SDR, which counts "
        "energy in the wrong phase as noise."
    )
    levels = [band_levels(sounds) for sounds in shown.values()]
    table = [
        [name, *np.mean([level[name] for level in levels], axis=0),
         mean(rows, name, "LSD"), mean(rows, name, "SI-SDR"), mean(rows, name, "STOI")]
        for name in ("noisy", ALONE, ADVERSARIAL, "Transformer")
    ]  # fmt: skip
    header = ["method", *(f"{low // 1000}-{high // 1000} kHz" for low, high in BANDS)]
    caption = (
        "Energy in each band relative to the clean voice's, in dB (0 is right), of the recordings "
        "above; log-spectral distance in dB, SI-SDR in dB and STOI of the whole test"
    )
    page.table(table, [*header, "LSD", "SI-SDR", "STOI"], caption, digits=2)
    for row in table:
        print(f"{row[0]:>28}: " + "".join(f"{value:8.2f}" for value in row[1:4]) + " dB by band")
    treble = {row[0]: row[len(BANDS)] for row in table}
    page.text(
        f"In the highest band L1 alone is at {treble[ALONE]:+.1f} dB, with the adversary the "
        f"generator is at {treble[ADVERSARIAL]:+.1f} dB. What it adds there has the loudness of "
        "speech, but is not in step with it: SI-SDR goes from "
        f"{mean(rows, ALONE, 'SI-SDR'):.2f} to {mean(rows, ADVERSARIAL, 'SI-SDR'):.2f} dB."
    )
    z = {name: weight_of_z(generator, shown) for name, generator in generators.items()}
    for name, value in z.items():
        print(f"{name:>28}: {value:.1f} dB SI-SDR between two draws of z")
    page.text(
        "What are the random numbers z for? They let one recording have many answers. But L1 "
        "punishes all answers but one, so that little use is made of them: what two draws of z "
        f"give agrees to {z[ADVERSARIAL]:.0f} dB SI-SDR, without the adversary to "
        f"{z[ALONE]:.0f} dB."
    )


def add_training(page, histories):
    """Curves of both trainings."""
    page.heading("How the training went")
    figure, axes = plot.subplots(4, sharex=True)
    game, last = histories[ADVERSARIAL], axes[-1]
    plot.training_curves(game, ("D", "G"), "loss", axes[0])
    plot.training_curves(game, ("real", "fake"), "logit", axes[1])
    both = {
        measure: [
            {"epoch": a["epoch"], ADVERSARIAL: a[measure], ALONE: b[measure]}
            for a, b in zip(game, histories[ALONE], strict=False)
        ]
        for measure in ("L1", "improvement")
    }
    plot.training_curves(both["L1"], (ADVERSARIAL, ALONE), "L1", axes[2])
    plot.training_curves(both["improvement"], (ADVERSARIAL, ALONE), "SI-SDR gain (dB)", last)
    last.set_xlabel(f"epoch ({EPOCH} steps)")
    show(
        page,
        figure,
        "From top to bottom: the losses of both players; D's mean logits for true and made-up "
        "pairs; the mean absolute error; the median improvement of validation voices.",
        "Training curves of the game with its adversary, and of L1 alone beside it.",
    )
    page.text(
        "**A healthy run**: no player wins. D's two curves of logits stay apart, but neither "
        "reaches its goal (1 and 0): D at a loss of 0.5 would be guessing, at 0 it would have "
        "won, and its opinion would have nothing more to teach. G's loss hovers instead of "
        "falling, since D learns too: it says nothing about quality. Quality shows in L1, which "
        "falls, and in the improvement of voices never trained on. "
        f"This run ended with D at {game[-1]['D']:.2f}, G at {game[-1]['G']:.2f}, and logits of "
        f"{game[-1]['real']:.2f} and {game[-1]['fake']:.2f}."
    )


def add_strip(page, strip):
    """One clip, as the generator made it at several epochs."""
    names = {f"epoch {epoch}": x for epoch, x in strip.items()}
    page.heading("One clip as the generator learned", level=3)
    page.players(names, SAMPLE_RATE, "A voice of the validation set, in a noise never trained on.")
    S_db = {n: dsp.amplitude_to_db(abs(spectra(x)), ref=10) for n, x in names.items()}
    figure, _ = plot.spectrograms(S_db, SAMPLE_RATE, HOP_LENGTH)
    show(page, figure, "From the first weights on.", f"Spectrograms after {', '.join(names)}.")


# %% All of it


def gan_enhance(
    out=OUT,
    checkpoint=CHECKPOINT,
    *,
    sounds=SOUNDS,
    epochs=EPOCHS,
    seed=SEED,
    trained=False,
    overwrite=False,
):
    """Train unless it is done, evaluate, write the page; return the rows of the ladder."""
    paths = {ADVERSARIAL: checkpoint, ALONE: checkpoint.with_stem(checkpoint.stem + "_l1")}
    for path in (out, *([] if trained else paths.values())):
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} is already there; --overwrite replaces it")
    if trained:
        generators = {name: load_model(path) for name, path in paths.items()}
        histories = {name: load_checkpoint(p).progress["history"] for name, p in paths.items()}
        strip = None
    else:
        generators, histories, strip = train_both(paths, sounds, epochs, seed)
    methods = whole_ladder(generators)
    rows, shown = evaluate(methods, sounds)
    print_table(rows, list(methods))
    for name in (*generators, "Transformer"):
        print(f"{name:>28}: {gain(rows, name)}")
    write_page(out, rows, shown, generators, histories, strip)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="of the generator")
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--trained", action="store_true", help="evaluate what is trained already")
    parser.add_argument("--overwrite", action="store_true", help="replace page and checkpoints")
    gan_enhance(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
