"""Train the speech enhancer: a Transformer learns which times and frequencies are voice.

    python examples/train_enhancer.py                about two hours
    python examples/train_enhancer.py --epochs 5     a quick one
    python examples/train_enhancer.py --resume       go on after an interruption
    python examples/train_enhancer.py --begin-with FILE      a second round from these weights

The shipped one had a second, gentler round (`make train-enhancer`).

You will see one line an epoch: the loss (the error left, in dB relative to the mixture), and by how
many dB the network improves voices that it never heard, in kinds of noise that it never heard.
Nothing to listen to yet: that is what evaluate_enhancer.py is for.
"""

import os

# The other core makes the examples: BLAS threads would only take turns with it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
from pathlib import Path

import numpy as np
from example_maker import ExampleMaker
from voice_data import (
    SOUNDS,
    TRAIN_NOISES,
    background,
    coloured,
    load_split,
    noisy,
)

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ScratchAudioError
from scratchaudio.metrics import si_sdr
from scratchaudio.models import load_model
from scratchaudio.models.enhancer import (
    HOP_LENGTH,
    N_FFT,
    SAMPLE_RATE,
    WINDOW,
    SpeechEnhancer,
    features,
    phase_sensitive,
)
from scratchaudio.nn import AdamW, cosine_with_warmup
from scratchaudio.training import fit

# %% Settings
CHECKPOINT = Path("out/enhancer.npz")
D_MODEL = 128
N_HEADS = 4
N_LAYERS = 4
D_FF = 512
EPOCHS = 100
LR = 1.5e-3  # at its highest, after WARMUP_STEPS; then it falls along half a cosine
WARMUP_STEPS = 500
BATCH_SIZE = 8  # windows of 4 s
PASSES = 4  # over all recordings in an epoch, each time in new noise and rooms
GROUP = 8  # recordings whose pieces are shuffled and share batches
SNR_RANGE = (-6, 24)  # dB
MAX_NORM = 5.0
VALIDATION_NOISES = ("alarm", "traffic")  # never trained on, nor are the test's
VALIDATION_SNRS = (0, 5, 10)  # dB
SEED = 0

PIECE = (WINDOW - 1) * HOP_LENGTH  # samples whose STFT has WINDOW frames
KINDS = (*(kind for kind in TRAIN_NOISES if kind not in VALIDATION_NOISES), "tones")


# %% Batches are made in a second process while the first one trains


def prepare(sounds):
    """Load, once and in the second process, what its scenes are made of."""
    global recordings
    recordings = load_split("train", sounds)


def make_batches(indices, seed):
    """Draw a scene of each of these recordings, and mix its voices and noises at random."""
    rng = np.random.default_rng(seed)
    voices, noises = zip(*(make_scene(index, rng) for index in indices), strict=True)
    return list(mixtures(np.concatenate(voices), np.concatenate(noises), rng))


def make_scene(index, rng):
    """Draw one scene: STFTs of the pieces of a voice and of as many of a noise, (P, T, F) each.

    What makes an enhancer work on voices and noises it never heard is variety: another pace and
    voice (played faster or slower), microphone, room, noise of one to three kinds, bandwidth. What
    it shall keep is the voice as it sounds in the room.
    """
    voices = [recording.samples for recording in recordings]
    x, active = recordings[index].samples, recordings[index].active
    if rng.random() < 0.7:
        read = np.arange(0, len(x) - 1, rng.uniform(0.8, 1.25))
        active = active[read.astype(int)]
        x = np.interp(read, np.arange(len(x)), x)
    if rng.random() < 0.6:
        x = coloured(x, 9, rng)
    if rng.random() < 0.4:
        x = in_a_room(x, rng)
    noise = sum(
        background(len(x), voices, rng, KINDS) * dsp.db_to_amplitude(rng.uniform(-12, 0))
        for _ in range(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
    )
    if rng.random() < 0.3:
        noise = in_a_room(noise, rng)
    if rng.random() < 0.2:
        band = rng.uniform(60, 300), rng.uniform(3000, 7500)
        x, noise = (dsp.bandlimit(y, SAMPLE_RATE, *band) for y in (x, noise))
    x = x / dsp.active_level(x, active)
    noise = noise / np.sqrt(np.mean(np.square(noise)))
    S, N = pieces(x, rng), pieces(noise, rng)
    n = min(len(S), len(N))
    return S[:n], N[:n]


def in_a_room(x, rng):
    """Let a sound come from a place in a room."""
    rt60, drr_db = rng.uniform(0.1, 0.6), rng.uniform(0, 12)
    return dsp.reverberate(x, dsp.room_impulse_response(rt60, SAMPLE_RATE, rng, drr_db=drr_db))


def pieces(x, rng):
    """Cut a signal into windows from a random start: (N,) -> STFTs (P, T, F)."""
    start = rng.integers(0, PIECE // 4)
    n = (len(x) - start) // PIECE
    x = x[start : start + n * PIECE].reshape(n, PIECE).astype(np.float32)
    X = dsp.stft(x, n_fft=N_FFT, hop_length=HOP_LENGTH)  # (P, F, T)
    return np.ascontiguousarray(X.swapaxes(1, 2))


def mixtures(S, noise, rng):
    """Yield batches in which each voice (P, T, F) meets one of the noises (P, T, F).

    The STFT is linear, so the mixing is done there: X = S + gain noise. Yields
    ((features,), (X (B, T, F), S (B, T, F))).
    """
    voice_of, noise_of = rng.permutation(len(S)), rng.permutation(len(S))
    for first in range(0, len(voice_of) - BATCH_SIZE + 1, BATCH_SIZE):
        batch = slice(first, first + BATCH_SIZE)
        snr_db = rng.uniform(*SNR_RANGE, (BATCH_SIZE, 1, 1)).astype(np.float32)
        speech = S[voice_of[batch]]
        X = speech + dsp.db_to_amplitude(-snr_db) * noise[noise_of[batch]]
        yield (features(np.square(abs(X))),), (X, speech)


# %% Training


def validation_set(recordings):
    """Pairs (clean, noisy) of 8 s of each validation voice in each noise, at levels in turn."""
    rng = np.random.default_rng(1)
    voices = [recording.samples for recording in recordings]
    pairs = []
    for index, recording in enumerate(recordings):
        for k, kind in enumerate(VALIDATION_NOISES):
            snr_db = VALIDATION_SNRS[(index + k) % len(VALIDATION_SNRS)]
            x = noisy(recording, kind, snr_db, voices, rng)
            pairs.append((recording.samples[: 8 * SAMPLE_RATE], x[: 8 * SAMPLE_RATE]))
    return pairs


def train(
    checkpoint=CHECKPOINT,
    *,
    sounds=SOUNDS,
    epochs=EPOCHS,
    lr=LR,
    seed=SEED,
    max_seconds=None,
    resume=False,
    overwrite=False,
    weights=None,
    begin_with=None,
):
    """Train an enhancer; return it, and the history of the training.

    The last weights are kept, those after the smallest steps. The validation only warns: it has too
    few kinds of noise to choose an epoch by, and the luckiest one is not the best.
    """
    if checkpoint.exists() and not (resume or overwrite):
        raise CheckpointError(
            f"{checkpoint} is already there: --resume goes on, --overwrite begins"
        )
    rng = np.random.default_rng(seed)
    model = SpeechEnhancer(D_MODEL, N_HEADS, N_LAYERS, D_FF, rng=rng)
    if begin_with:
        model.load_state_dict(load_model(begin_with).state_dict())
    optimizer = AdamW(model.parameters(), lr=lr)
    n_recordings = len(load_split("train", sounds))
    pairs = validation_set(load_split("validation", sounds))
    group = min(GROUP, n_recordings)

    n_groups = PASSES * n_recordings // group

    def batches(rng):
        order = np.concatenate([rng.permutation(n_recordings) for _ in range(PASSES)])
        groups = order[: n_groups * group].reshape(n_groups, group)
        for made in maker.examples(groups, rng):
            yield from made

    # The most that an epoch has, seven windows of 4 s in each 30 s: training ends a little before
    # the cosine does, at about LR / 20.
    n_steps = epochs * n_groups * max(1, group * 7 // BATCH_SIZE)
    n_warmup = min(WARMUP_STEPS, n_steps // 4)
    print(
        f"training on {n_recordings} recordings, {PASSES} times an epoch in new noise and rooms",
        flush=True,
    )

    def validate(model):
        gains = [
            si_sdr(clean, model.enhance(x, SAMPLE_RATE)) - si_sdr(clean, x) for clean, x in pairs
        ]
        return {"improvement": float(np.mean(gains))}

    for path in (checkpoint, weights or checkpoint):
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExampleMaker(make_batches, prepare, sounds, ahead=2) as maker:
        history = fit(
            model,
            optimizer,
            batches=batches,
            loss_function=phase_sensitive,
            n_epochs=epochs,
            rng=rng,
            validate=validate,
            schedule=lambda step: cosine_with_warmup(step, lr, n_steps, n_warmup, lr / 100),
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
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--max-seconds", type=float, default=None)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="begin anew, over the old one")
    parser.add_argument("--weights", type=Path, help="write the weights alone to this file")
    parser.add_argument("--begin-with", type=Path, help="go on from the weights in this file")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
