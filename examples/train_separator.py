"""Train a network to take the voice out of songs: Open-Unmix, U-Net or Conv-TasNet.

    python examples/train_separator.py --model open_unmix
    python examples/train_separator.py --model unet --epochs 5   a quick one
    python examples/train_separator.py --model conv_tasnet --resume    go on after an interruption

Eleven songs of 18 s are soon known by heart. So no song is heard as it is: each example takes the
voice of one and drums, bass and other instruments of others, each from another place, played faster
or slower (and so higher or lower), louder or softer, sometimes with left and right exchanged. And
half of the voices do not sing but speak: eleven singers are too few to tell what a voice is. Such
music makes no sense, but which sounds are a voice does not depend on that.

You will see one line an epoch: the loss, and by how many dB the voice of the validation song comes
out better than it was in the mix; its singers sing nowhere else. The epoch that does best is kept.
"""

import os

# The other core makes the examples: BLAS threads would only take turns with it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import voice_data
from example_maker import ExampleMaker
from song_data import SONGS, STEMS, Song, load_split

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ScratchAudioError
from scratchaudio.metrics import si_sdr
from scratchaudio.models import ConvTasNet, OpenUnmix, UNet, conv_tasnet, open_unmix, unet
from scratchaudio.models.songs import middle_and_side
from scratchaudio.models.vad import SAMPLE_RATE as VOICE_RATE
from scratchaudio.nn import Adam, cosine_with_warmup, mse, snr_loss
from scratchaudio.training import fit

# %% Settings
EPOCH = 200  # steps
WARMUP_STEPS = 200
MAX_NORM = 5.0
SPEEDS = (0.7, 1.4)  # of a stem, and with it its pitch
GAINS = (-8, 4)  # dB
ALONE = 0.1  # share of the examples without a voice, and without a band
OWN_BAND = 0.3  # share of the examples whose drums, bass and others are of one song
SPOKEN = 0.5  # share of the examples in which somebody speaks instead of singing
SPOKEN_RMS = 0.07  # of a spoken recording; that of the sung ones, on average
HELD_OUT = ("kal", "emma", "george")  # sing in the demo's and in the validation song
SEED = 0


class Recipe(NamedTuple):
    """How a model is trained."""

    make: type
    settings: dict
    seconds: float  # of an example
    batch_size: int
    epochs: int
    lr: float  # at its highest
    weight_decay: float
    see: object  # function (settings, mixtures, voices (B, 2, N)) -> input, target
    loss: object  # function (prediction, voices, mixtures) -> (loss, dprediction)


def magnitudes(settings, mixtures, voices):
    """(B, 2, N) twice -> |X| and the magnitudes to aim at, (B, 2, F, T), of the bins predicted.

    What is predicted gets the phase of the mixture, for want of the voice's. The best that can be
    done with it is not |S| but the part of S that points the same way: |S| cos(their angle).
    (Erdogan et al. 2015, Phase-sensitive and recognition-boosted speech separation, eq. 5)
    """
    n_bins = settings.get("n_bins")
    X, S = (
        dsp.stft(x, n_fft=settings["n_fft"], hop_length=settings["hop_length"])[:, :, :n_bins]
        for x in (mixtures, voices)
    )
    magnitude = np.abs(X)
    along = (S * X.conj()).real / np.maximum(magnitude, np.finfo(magnitude.dtype).tiny)
    return magnitude, np.maximum(along, 0)


def waveforms(settings, mixtures, voices):
    """The waveforms themselves."""
    return mixtures, voices


def magnitude_loss(prediction, voices, mixtures):
    """The mean squared error of magnitudes."""
    return mse(prediction, voices)


def waveform_loss(prediction, voices, mixtures):
    """Conv-TasNet's: the error of waveforms, middle and side as one, relative to the mixture.

    The paper's SI-SDR leaves the loudness free, which the accompaniment, the song minus the voice,
    cannot do without.
    """
    B = len(prediction)
    rows = (x.reshape(B, -1) for x in (prediction, voices, mixtures))
    loss, dprediction = snr_loss(*rows)
    return loss, dprediction.reshape(prediction.shape)


RECIPES = {
    "open_unmix": Recipe(
        make=OpenUnmix,
        settings=open_unmix.SMALL,
        seconds=3.0,
        batch_size=8,
        epochs=16,
        lr=3e-3,
        weight_decay=1e-5,
        see=magnitudes,
        loss=magnitude_loss,
    ),
    "unet": Recipe(
        make=UNet,
        settings=unet.SMALL,
        seconds=2.96,  # 128 frames
        batch_size=8,
        epochs=14,
        lr=2e-3,
        weight_decay=0.0,
        see=magnitudes,
        loss=magnitude_loss,
    ),
    "conv_tasnet": Recipe(
        make=ConvTasNet,
        settings=conv_tasnet.SMALL,
        seconds=1.5,
        batch_size=4,
        epochs=20,
        lr=1e-3,
        weight_decay=0.0,
        see=waveforms,
        loss=waveform_loss,
    ),
}


# %% Batches are made in a second process while the first one trains


def prepare(folder, voices_folder, recipe_name):
    """Load, once and in the second process, what its examples are made of."""
    global songs, speakers, recipe
    recipe = RECIPES[recipe_name]
    sr = recipe.settings["sample_rate"]
    songs = [at_rate(song, sr) for song in load_split("train", folder)]
    speakers = [
        spoken(recording.samples, sr)
        for recording in voice_data.load_split("train", voices_folder)
        if not any(name in recording.name for name in HELD_OUT)
    ]


def spoken(samples, sr):
    """Speech (N,) at 16 kHz as the vocals of a song: (1, N'), alike left and right."""
    x = dsp.resample(samples, VOICE_RATE, sr) if sr != VOICE_RATE else samples
    return (x * (SPOKEN_RMS / x.std()))[None].astype(np.float32)


def at_rate(song, sr):
    """The song at another sampling rate."""
    if song.sr == sr:
        return song
    stems = {name: dsp.resample(x, song.sr, sr) for name, x in song.stems.items()}
    return Song(song.name, stems, sr)


def make_batch(task, seed):
    """Draw what the network sees of mixtures, and what it should make of them: ((X,), (S, X))."""
    rng = np.random.default_rng(seed)
    pairs = [make_example(rng) for _ in range(recipe.batch_size)]
    drawn = (np.stack(x, axis=1) for x in zip(*pairs, strict=True))  # (2, B, N) mixtures, voices
    X, S = recipe.see(recipe.settings, *(middle_and_side(x).swapaxes(0, 1) for x in drawn))
    return (X,), (S, X)


def make_example(rng):
    """Draw a mixture and its voice, (2, N) each."""
    n = round(recipe.seconds * songs[0].sr)
    band_songs = rng.integers(len(songs), size=len(STEMS) - 1)
    if rng.random() < OWN_BAND:
        band_songs[:] = band_songs[0]
    sung = songs[rng.integers(len(songs))].stems["vocals"]
    source = speakers[rng.integers(len(speakers))] if rng.random() < SPOKEN else sung
    voice = excerpt(source, n, rng)
    band = sum(
        excerpt(songs[index].stems[stem], n, rng)
        for index, stem in zip(band_songs, STEMS[1:], strict=True)
    )
    alone = rng.random()
    if alone < ALONE:
        voice = np.zeros_like(band)
    elif alone < 1.5 * ALONE:
        band = np.zeros_like(band)
    return voice + band, np.broadcast_to(voice, band.shape)


def excerpt(x, n, rng):
    """Draw n samples of a stem (C, N), at another speed, gain and side: (C, n) float32."""
    speed = rng.uniform(*SPEEDS)
    at = rng.uniform(0, x.shape[1] - 1 - speed * n) + speed * np.arange(n)  # in samples of x
    before = at.astype(int)
    part = (at - before).astype(np.float32)  # of the way to the next sample: linear interpolation
    y, after = (x.take(before + i, axis=1) for i in (0, 1))  # x[:, before + i] is slower by far
    y += part * (after - y)
    y *= dsp.db_to_amplitude(rng.uniform(*GAINS))
    return y[::-1] if rng.random() < 0.5 else y


# %% Training


def improvement(model, song):
    """By how many dB the voice of a song comes out better than it was in the mix."""
    vocals, _ = model.separate(song.mix, song.sr)
    before, after = (si_sdr(song.vocals.ravel(), x.ravel()) for x in (song.mix, vocals))
    return after - before


def train(
    name,
    checkpoint=None,
    *,
    songs=SONGS,
    voices=voice_data.SOUNDS,
    epochs=None,
    seed=SEED,
    max_seconds=None,
    resume=False,
    overwrite=False,
    weights=None,
):
    """Train a separator; return it, and the history of the training."""
    recipe = RECIPES[name]
    checkpoint = checkpoint or Path(f"out/{name}.npz")
    if checkpoint.exists() and not (resume or overwrite):
        raise CheckpointError(
            f"{checkpoint} is already there: --resume goes on, --overwrite begins"
        )
    epochs = epochs or recipe.epochs
    rng = np.random.default_rng(seed)
    model = recipe.make(**recipe.settings, rng=rng)
    optimizer = Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    n_steps = epochs * EPOCH
    n_warmup = min(WARMUP_STEPS, n_steps // 4)
    validation = list(load_split("validation", songs))
    n_parameters = sum(p.value.size for p in model.parameters())
    print(f"training {name}, {n_parameters} parameters, {EPOCH} steps an epoch", flush=True)

    def batches(rng):
        yield from maker.examples(np.arange(EPOCH), rng)

    def validate(model):
        gains = [improvement(model, song) for song in validation]
        return {"improvement": float(np.mean(gains))}

    for path in (checkpoint, weights or checkpoint):
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExampleMaker(make_batch, prepare, songs, voices, name, ahead=4) as maker:
        if hasattr(model, "normalise") and not resume:
            (X,), _ = next(maker.examples(np.arange(1), np.random.default_rng(0)))
            model.normalise(X)
        history = fit(
            model,
            optimizer,
            batches=batches,
            loss_function=recipe.loss,
            n_epochs=epochs,
            rng=rng,
            validate=validate,
            monitor="improvement",
            mode="max",
            schedule=lambda step: cosine_with_warmup(
                step, recipe.lr, n_steps, n_warmup, recipe.lr / 100
            ),
            max_norm=MAX_NORM,
            checkpoint_path=checkpoint,
            settings=model.settings,
            resume=resume,
            max_seconds=max_seconds,
        )
    print(f"saved {checkpoint}")
    if weights:
        save_checkpoint(weights, model, settings=model.settings)
        print(f"saved the weights alone as {weights}")
    return model, history


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(RECIPES), required=True, dest="name")
    parser.add_argument("--checkpoint", type=Path, help="default: out/MODEL.npz")
    parser.add_argument("--songs", type=Path, default=SONGS)
    parser.add_argument("--voices", type=Path, default=voice_data.SOUNDS)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--max-seconds", type=float, default=None)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="begin anew, over the old one")
    parser.add_argument("--weights", type=Path, help="write the weights alone to this file")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
