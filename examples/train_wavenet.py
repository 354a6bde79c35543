"""Train the WaveNet that turns mel spectra into a voice: the shipped vocoder.

    python examples/train_wavenet.py                     about 20 minutes
    python examples/train_wavenet.py --epochs 3          a quick one, which hisses
    python examples/train_wavenet.py --recordings me.wav --resume

It learns one voice from a minute of it: what is the next sample, given the 1023 before it and the
mel spectrum of this moment? The pauses are taken out, as there is little to learn from silence. The
end of the first recording is not learned from; how many bits a sample of it costs says how well the
network does, and the epoch that does best is kept.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import AudioFileError, CheckpointError, ScratchAudioError
from scratchaudio.io import load
from scratchaudio.models import WaveNet, wavenet
from scratchaudio.nn import Adam, cosine_with_warmup, cross_entropy
from scratchaudio.training import fit

SOUNDS = Path(__file__).parent.parent / "sounds" / "vad" / "train"

# %% Settings
# The same voice twice; the second time it is played 15 % faster, which makes it higher.
RECORDINGS = (SOUNDS / "festival_slt_hts.ogg", SOUNDS / "festival_slt_hts_x115.ogg")
VALIDATION = 0.15  # share of the first recording, its end
EPOCHS = 40
EPOCH = 100  # steps
BATCH_SIZE = 4
LENGTH = 2048  # samples of an example, a multiple of the hop
LR = 4e-3  # at its highest
WARMUP_STEPS = 100
MAX_NORM = 1.0
PAUSE = 0.1  # s; what is left of longer ones at both ends
SEED = 0
CHECKPOINT = Path("out/wavenet.npz")


# %% Sounds


def read_voice(path, sr):
    """A recording as one channel, at a rate, with its pauses cut short: (N,) in -1 ... 1."""
    x, own_sr = load(path)
    x = dsp.resample(x if x.ndim == 1 else x.mean(axis=0), own_sr, sr)
    x = x / max(1.0, float(np.abs(x).max()))  # the code knows nothing beyond full scale
    margin = round(PAUSE * sr)
    x = x[binary_dilation(dsp.active_mask(x), iterations=margin)].astype(np.float32)
    if len(x) < 2 * LENGTH:
        raise AudioFileError(
            f"{path} holds {len(x) / sr:.2f} s of sound at {sr} Hz, at least "
            f"{2 * LENGTH / sr:.2f} s are needed"
        )
    return x


def make_batches(model, sounds):
    """Return the function that yields the batches of an epoch: excerpts of the sounds (N,)."""
    hop = model.hop_length
    codes = [dsp.mulaw_encode(x, model.n_levels) for x in sounds]
    mels = [model.condition_of(x) for x in sounds] if model.n_local else None
    places = [
        (i, begin) for i, x in enumerate(sounds) for begin in range(0, len(x) - LENGTH + 1, hop)
    ]

    def batches(rng):
        for _ in range(EPOCH):
            drawn = [places[k] for k in rng.integers(len(places), size=BATCH_SIZE)]
            c = np.stack([codes[i][begin : begin + LENGTH] for i, begin in drawn])
            h = None
            if mels:
                frames = LENGTH // hop
                h = np.stack([mels[i][:, b // hop : b // hop + frames] for i, b in drawn])
            yield (c, None, h), (c,)

    return batches


def bits(model, x):
    """Bits that a sample of a sound (N,) costs when the model foretells it."""
    codes = dsp.mulaw_encode(x, model.n_levels)[None]
    h = model.condition_of(x)[None] if model.n_local else None
    loss, _ = cross_entropy(model.eval().forward(codes, None, h), codes)
    return float(loss) / np.log(2)


# %% Training


def fit_voice(model, sounds, validation, epochs, **options):
    """Train a WaveNet on sounds (N,); return the history, whose "bits" are those of validation."""
    optimizer = Adam(model.parameters(), lr=LR)
    n_steps = epochs * EPOCH
    n_warmup = min(WARMUP_STEPS, n_steps // 4)
    return fit(
        model,
        optimizer,
        batches=make_batches(model, sounds),
        loss_function=cross_entropy,
        n_epochs=epochs,
        validate=lambda model: {"bits": bits(model, validation)},
        monitor="bits",
        schedule=lambda step: cosine_with_warmup(step, LR, n_steps, n_warmup, LR / 50),
        max_norm=MAX_NORM,
        settings=model.settings,
        **options,
    )


def train(
    recordings=RECORDINGS,
    checkpoint=CHECKPOINT,
    *,
    epochs=EPOCHS,
    seed=SEED,
    sizes=wavenet.SMALL,
    max_seconds=None,
    resume=False,
    overwrite=False,
    weights=None,
):
    """Train a vocoder; return it, and the history of the training."""
    if checkpoint.exists() and not (resume or overwrite):
        raise CheckpointError(
            f"{checkpoint} is already there: --resume goes on, --overwrite begins"
        )
    rng = np.random.default_rng(seed)
    model = WaveNet(**sizes, rng=rng)
    sounds = [read_voice(path, model.sample_rate) for path in recordings]
    split = round((1 - VALIDATION) * len(sounds[0]))
    sounds[0], validation = sounds[0][:split], sounds[0][split:]
    n_parameters = sum(p.value.size for p in model.parameters())
    seconds = sum(map(len, sounds)) / model.sample_rate
    print(f"{n_parameters} parameters, {seconds:.1f} s of a voice, {EPOCH} steps an epoch")
    for path in (checkpoint, weights or checkpoint):
        path.parent.mkdir(parents=True, exist_ok=True)
    history = fit_voice(
        model,
        sounds,
        validation,
        epochs,
        rng=rng,
        checkpoint_path=checkpoint,
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
    parser.add_argument("--recordings", type=Path, nargs="+", default=RECORDINGS)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--max-seconds", type=float, default=None)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="begin anew, over the old one")
    parser.add_argument("--weights", type=Path, help="write the weights alone to this file")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
