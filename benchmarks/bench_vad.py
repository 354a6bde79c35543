"""The voice activity exercise from sound to trained network: ours against torch and librosa.

The same work on both sides: log-mel features of eight noisy recordings, their means removed, and
four epochs of Adam on a detector of two bidirectional LSTM layers, in batches of 16 pieces of 4 s.
"""

import sys
from pathlib import Path

import librosa
import numpy as np
import torch

from benchmarks.timing import ratio
from scratchaudio.models import vad
from scratchaudio.nn import Adam, bce_with_logits, clip_grad_norm

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from voice_data import load_split, noisy

N_RECORDINGS, EPOCHS, BATCH_SIZE, PIECE = 8, 4, 16, 400
LR, MAX_NORM = 3e-3, 5.0


def make_sounds():
    rng = np.random.default_rng(0)
    recordings = load_split("train")[:N_RECORDINGS]
    sounds = [noisy(r, "pink", 10, [], rng) for r in recordings]
    return sounds, [r.labels.astype(np.float32) for r in recordings]


def batches(features, labels):
    """Yield x (B, T, D) and target (B, T); the last piece of each recording is left out."""
    n = len(features[0]) // PIECE * PIECE
    x = np.concatenate([f[:n].reshape(-1, PIECE, f.shape[1]) for f in features])
    target = np.concatenate([y[:n].reshape(-1, PIECE) for y in labels])
    for first in range(0, len(x), BATCH_SIZE):
        yield x[first : first + BATCH_SIZE], target[first : first + BATCH_SIZE]


def train_ours(sounds, labels):
    model = vad.VoiceActivityDetector(rng=0)
    optimizer = Adam(model.parameters(), lr=LR)
    features = [model.normalized_features(x) for x in sounds]
    for _ in range(EPOCHS):
        for x, target in batches(features, labels):
            model.zero_grad()
            loss, dlogits = bce_with_logits(model.forward(x), target)
            model.backward(dlogits)
            clip_grad_norm(model.parameters(), MAX_NORM)
            optimizer.step()
    return loss


def librosa_features(x):
    mel = librosa.feature.melspectrogram(
        y=x,
        sr=vad.SAMPLE_RATE,
        n_fft=vad.N_FFT,
        hop_length=vad.HOP_LENGTH,
        win_length=vad.WIN_LENGTH,
        n_mels=40,
        fmin=60.0,
    )
    return vad.remove_mean(np.log(mel.T + 1e-9))


class TorchDetector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(40, 64, num_layers=2, batch_first=True, bidirectional=True)
        self.output = torch.nn.Linear(128, 1)

    def forward(self, x):
        return self.output(self.lstm(x)[0])[..., 0]


def train_theirs(sounds, labels):
    model = TorchDetector()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    features = [librosa_features(x) for x in sounds]
    for _ in range(EPOCHS):
        for x, target in batches(features, labels):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                model(torch.from_numpy(x)), torch.from_numpy(target)
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
    return loss.item()


def main():
    torch.set_num_threads(2)
    sounds, labels = make_sounds()
    ours, theirs = train_ours(sounds, labels), train_theirs(sounds, labels)
    print(f"loss after {EPOCHS} epochs: ours {ours:.3f}, theirs {theirs:.3f}")
    quotient = ratio(lambda: train_ours(sounds, labels), lambda: train_theirs(sounds, labels), 5)
    print(f"the exercise end to end: ours / torch and librosa {quotient:.2f}", flush=True)


if __name__ == "__main__":
    main()
