"""Learn what voices and bands sound like: dictionaries for the NMF separator.

    python examples/train_nmf.py                  as the shipped ones were, a minute
    python examples/train_nmf.py --n-voice 6 --n-band 8         smaller ones

Each training song has true stems. Its voice is factorised, and so is its accompaniment: the spectra
that come out go into the dictionaries, the activations are thrown away. (All songs in one
factorisation would be a compromise: spectra that fit many singers a little.) You will see by how
many dB the separator improves the voice of the validation song, whose singers sing nowhere else.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from song_data import SONGS, load_split

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ScratchAudioError
from scratchaudio.metrics import si_sdr
from scratchaudio.models.nmf_separator import (
    HIGHEST,
    N_BINS,
    N_FFT,
    SAMPLE_RATE,
    NMFSeparator,
    learn_spectra,
)

# %% Settings
CHECKPOINT = Path("out/nmf.npz")
N_VOICE = 12  # spectra of the voice of each song
N_BAND = 16  # of its accompaniment
N_ITER = 40  # updates
SOFTEST = 0.01  # of the mean level: softer frames of a voice are pauses
SEED = 1


def spectrogram(x, sr):
    """Mean magnitudes of both channels up to 15 kHz: (2, N) -> (F, T)."""
    x = dsp.resample(x, sr, SAMPLE_RATE) if sr != SAMPLE_RATE else x
    V = np.abs(dsp.stft(x, n_fft=N_FFT, hop_length=N_FFT // 4)).mean(axis=0)
    return V[:N_BINS].astype(np.float32)


def voiced(V):
    """Leave out the frames in which nobody sings: (F, T) -> (F, fewer)."""
    level = V.sum(axis=0)
    return V[:, level > SOFTEST * level.mean()]


def improvement(separator, song):
    """By how many dB the voice of a song comes out better than it was in the mix."""
    vocals, _ = separator.separate(song.mix, song.sr)
    before, after = (si_sdr(song.vocals.ravel(), x.ravel()) for x in (song.mix, vocals))
    return after - before


def train(
    checkpoint=CHECKPOINT,
    *,
    songs=SONGS,
    n_voice=N_VOICE,
    n_band=N_BAND,
    n_iter=N_ITER,
    seed=SEED,
    overwrite=False,
):
    """Learn both dictionaries, save and return the separator."""
    if checkpoint.exists() and not overwrite:
        raise CheckpointError(f"{checkpoint} is already there: --overwrite replaces it")
    rng = np.random.default_rng(seed)
    dictionaries = {"voice": [], "band": []}
    for song in load_split("train", songs):
        V = {
            "voice": voiced(spectrogram(song.vocals, song.sr)),
            "band": spectrogram(song.accompaniment, song.sr),
        }
        for name, K in (("voice", n_voice), ("band", n_band)):
            dictionaries[name].append(learn_spectra(V[name], K, n_iter=n_iter, rng=rng))
        sung = V["voice"].shape[1] / V["band"].shape[1]
        print(f"{song.name}: learned, {sung:.0%} of it sung", flush=True)
    dictionaries = {name: np.concatenate(W, axis=1) for name, W in dictionaries.items()}
    n_spectra = ", ".join(f"{W.shape[1]} spectra of {name}s" for name, W in dictionaries.items())
    print(f"{n_spectra}, each of {N_BINS} bins up to {HIGHEST} Hz")

    separator = NMFSeparator(**dictionaries)
    for song in load_split("validation", songs):
        print(f"{song.name}: voice improved by {improvement(separator, song):.2f} dB", flush=True)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(checkpoint, separator)
    print(f"saved {checkpoint}")
    return separator


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--songs", type=Path, default=SONGS)
    parser.add_argument("--n-voice", type=int, default=N_VOICE)
    parser.add_argument("--n-band", type=int, default=N_BAND)
    parser.add_argument("--n-iter", type=int, default=N_ITER)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
