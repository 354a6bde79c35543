"""Train the voice activity detector: a bidirectional LSTM learns to find speech in noise.

    python examples/train_vad.py                          the shipped checkpoint, about 18 minutes
    python examples/train_vad.py --max-seconds 75         a quick one, as `make demo` does
    python examples/train_vad.py --resume                 go on after an interruption

You will see one line an epoch: the loss, and on voices that are never trained on the frame accuracy
and the AUC. Nothing to listen to yet: that is what evaluate_vad.py is for.
"""

import argparse
from pathlib import Path

import numpy as np
from vad_data import SOUNDS, TEST_SNRS, TRAIN_NOISES, load_split, noisy, varied

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
EPOCHS = 150
LR = 3e-3  # at its highest, after WARMUP_STEPS; falls to 0 along half a cosine
WARMUP_STEPS = 50
BATCH_SIZE = 32  # pieces
PIECE_SECONDS = 4
MEAN_SHARE = 0.55  # of a recording that `varied` cuts out
MAX_NORM = 5.0
SEED = 0


def training_batches(recordings, model, rng, batch_size=BATCH_SIZE):
    """Yield one epoch: each recording once, in a new voice, room and noise, cut into pieces.

    Yields ((x (B, T, D), None, lengths (B,)), (labels (B, T), mask (B, T))).
    """
    voices = [recording.samples for recording in recordings]
    piece = PIECE_SECONDS * vad.FRAME_RATE
    pieces = []
    for index in rng.permutation(len(recordings)):
        x, labels = varied(recordings[index], voices, rng)
        features = model.normalized_features(x)
        pieces += [
            (features[t : t + piece], labels[t : t + piece]) for t in range(0, len(labels), piece)
        ]
    order = rng.permutation(len(pieces))
    for first in range(0, len(order) - batch_size + 1, batch_size):
        batch = [pieces[k] for k in order[first : first + batch_size]]
        lengths = np.array([len(labels) for _, labels in batch])
        x = np.zeros((batch_size, piece, batch[0][0].shape[1]), np.float32)
        target = np.zeros((batch_size, piece), np.float32)
        for b, (features, labels) in enumerate(batch):
            x[b, : len(labels)] = features
            target[b, : len(labels)] = labels
        yield (x, None, lengths), (target, np.arange(piece) < lengths[:, None])


def steps_per_epoch(recordings, batch_size):
    """About how many batches an epoch has; the schedule needs to know its end."""
    seconds = sum(len(recording.samples) for recording in recordings) / vad.SAMPLE_RATE
    return max(1, int(MEAN_SHARE * seconds / PIECE_SECONDS / batch_size))


def validation_set(recordings, model):
    """Features (T, D) and labels (T,) of each validation recording in noise, always the same."""
    rng = np.random.default_rng(1)
    voices = [recording.samples for recording in recordings]
    examples = []
    for recording in recordings:
        for snr_db in TEST_SNRS:
            x = noisy(recording, rng.choice(TRAIN_NOISES), snr_db, voices, rng)
            examples.append((model.normalized_features(x), recording.labels))
    return examples


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
):
    """Train a detector; return it with its best weights, and the history of the training."""
    rng = np.random.default_rng(seed)
    model = vad.VoiceActivityDetector(features, n_hidden, n_layers, bidirectional, rng=rng)
    optimizer = Adam(model.parameters(), lr=lr)
    recordings = load_split("train", sounds)
    validation = validation_set(load_split("validation", sounds), model)
    n_steps = epochs * steps_per_epoch(recordings, batch_size)
    print(f"training on {len(recordings)} recordings of 30 s, each epoch in new noise and rooms")

    def validate(model):
        logits = np.concatenate([model.forward(x[None])[0] for x, _ in validation])
        labels = np.concatenate([labels for _, labels in validation])
        return {
            "accuracy": accuracy_score(labels, logits > 0),
            "auc": roc_auc_score(labels, logits),
        }

    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    history = fit(
        model,
        optimizer,
        batches=lambda rng: training_batches(recordings, model, rng, batch_size),
        loss_function=bce_with_logits,
        n_epochs=epochs,
        rng=rng,
        validate=validate,
        monitor="auc",
        mode="max",
        schedule=lambda step: cosine_with_warmup(step, lr, n_steps, WARMUP_STEPS),
        max_norm=MAX_NORM,
        checkpoint_path=checkpoint,
        settings=model.settings,
        resume=resume,
        max_seconds=max_seconds,
    )
    print(f"saved {checkpoint}")
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
    args = vars(parser.parse_args())
    one_way = args.pop("one_way")
    train(**args, bidirectional=BIDIRECTIONAL and not one_way)


if __name__ == "__main__":
    main()
