"""Train the voice activity detector: a bidirectional LSTM learns to find speech in noise.

    python examples/train_vad.py                 as the shipped checkpoint was, about 16 minutes
    python examples/train_vad.py --epochs 14     a quick one, as `make demo` does
    python examples/train_vad.py --resume        go on after an interruption

You will see one line an epoch: the loss, and on voices that are never trained on the frame accuracy
and the AUC. Nothing to listen to yet: that is what evaluate_vad.py is for.
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
    VALIDATION_NOISES,
    load_split,
    noisy,
    padded,
    varied,
)

from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ScratchAudioError
from scratchaudio.metrics import accuracy_score, roc_auc_score
from scratchaudio.models import vad
from scratchaudio.nn import Adam, bce_with_logits, cosine_with_warmup
from scratchaudio.training import fit

# %% Settings
CHECKPOINT = Path("out/vad.npz")
FEATURES = "log_mel"  # or "mfcc"
N_HIDDEN = 64
N_LAYERS = 2
BIDIRECTIONAL = True
EPOCHS = 220
LR = 3e-3  # at its highest, after WARMUP_STEPS; falls to LR / 100 along half a cosine
WARMUP_STEPS = 20
BATCH_SIZE = 16  # pieces
PIECE_SECONDS = 10
SHUFFLED = 3  # batches of pieces to draw each batch from
MEAN_PIECES = 2.15  # of an example: it is 4 to 30 s long
MAX_NORM = 5.0
VALIDATION_SNRS = (5,)  # dB
SEED = 0


# %% Examples are made in a second process while the first one trains


def prepare(sounds, settings):
    """Load, once and in the second process, what its examples are made of."""
    global recordings, model
    recordings = load_split("train", sounds)
    model = vad.VoiceActivityDetector(**settings)


def make_example(index, seed):
    """Draw one example, in the second process."""
    voices = [recording.samples for recording in recordings]
    x, labels = varied(recordings[index], voices, np.random.default_rng(seed))
    return model.normalized_features(x), labels


def batches(examples, batch_size, rng):
    """Cut examples into pieces, shuffle those of a few batches, and yield them together.

    Yields ((x (B, T, D), None, lengths (B,)), (labels (B, T), mask (B, T))).
    """
    T, waiting = PIECE_SECONDS * vad.FRAME_RATE, []
    for features, labels in examples:
        waiting += [(features[t : t + T], labels[t : t + T]) for t in range(0, len(labels), T)]
        while len(waiting) >= SHUFFLED * batch_size:
            chosen = rng.permutation(len(waiting))
            yield together([waiting[k] for k in chosen[:batch_size]], T)
            waiting = [waiting[k] for k in chosen[batch_size:]]
    for first in range(0, len(waiting) - batch_size + 1, batch_size):
        yield together(waiting[first : first + batch_size], T)


def together(pieces, T):
    """Pad pieces of up to T frames into one batch."""
    lengths = np.array([len(labels) for _, labels in pieces])
    x = np.zeros((len(pieces), T, pieces[0][0].shape[1]), np.float32)
    target = np.zeros((len(pieces), T), np.float32)
    for b, (features, labels) in enumerate(pieces):
        x[b, : len(labels)] = features
        target[b, : len(labels)] = labels
    return (x, None, lengths), (target, np.arange(T) < lengths[:, None])


# %% Training


def validation_set(recordings, model):
    """The validation voices in noise, always the same: a padded batch, and all labels joined."""
    rng = np.random.default_rng(1)
    voices = [recording.samples for recording in recordings]
    features, labels = [], []
    for recording in recordings:
        for snr_db in VALIDATION_SNRS:
            x = noisy(recording, rng.choice(VALIDATION_NOISES), snr_db, voices, rng)
            features.append(model.normalized_features(x))
            labels.append(recording.labels)
    return *padded(features), np.concatenate(labels)


def train(
    checkpoint=CHECKPOINT,
    *,
    sounds=SOUNDS,
    features=FEATURES,
    n_hidden=N_HIDDEN,
    n_layers=N_LAYERS,
    bidirectional=BIDIRECTIONAL,
    epochs=EPOCHS,
    lr=LR,
    batch_size=BATCH_SIZE,
    seed=SEED,
    max_seconds=None,
    resume=False,
    overwrite=False,
    weights=None,
):
    """Train a detector; return it with its best weights, and the history of the training."""
    if checkpoint.exists() and not (resume or overwrite):
        raise CheckpointError(
            f"{checkpoint} is already there: --resume goes on, --overwrite begins"
        )
    rng = np.random.default_rng(seed)
    model = vad.VoiceActivityDetector(features, n_hidden, n_layers, bidirectional, rng=rng)
    optimizer = Adam(model.parameters(), lr=lr)
    n_recordings = len(load_split("train", sounds))
    x, lengths, labels = validation_set(load_split("validation", sounds), model)
    n_steps = epochs * max(1, int(MEAN_PIECES * n_recordings / batch_size))
    n_warmup = min(WARMUP_STEPS, n_steps // 4)
    print(f"training on {n_recordings} recordings, each epoch in new noise and rooms", flush=True)

    def validate(model):
        logits = model.forward(x, None, lengths)[np.arange(x.shape[1]) < lengths[:, None]]
        return {
            "accuracy": accuracy_score(labels, logits > 0),
            "auc": roc_auc_score(labels, logits),
        }

    for path in (checkpoint, weights or checkpoint):
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExampleMaker(make_example, prepare, sounds, model.settings) as maker:
        history = fit(
            model,
            optimizer,
            batches=lambda rng: batches(
                maker.examples(rng.permutation(n_recordings), rng), batch_size, rng
            ),
            loss_function=bce_with_logits,
            n_epochs=epochs,
            rng=rng,
            validate=validate,
            monitor="auc",
            mode="max",
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
        print(f"saved the best weights alone as {weights}")
    return model, history


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--features", choices=sorted(vad.FEATURES), default=FEATURES)
    parser.add_argument("--n-hidden", type=int, default=N_HIDDEN)
    parser.add_argument("--n-layers", type=int, default=N_LAYERS)
    parser.add_argument("--one-way", action="store_true", help="read the past only, for streams")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--max-seconds", type=float, default=None)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="begin anew, over the old one")
    parser.add_argument("--weights", type=Path, help="write the best weights alone to this file")
    args = vars(parser.parse_args())
    one_way = args.pop("one_way")
    train(**args, bidirectional=BIDIRECTIONAL and not one_way)


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
