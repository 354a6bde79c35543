"""From a mel spectrum back to a voice: WaveNet as a vocoder, beside Griffin-Lim.

    python examples/wavenet_vocoder.py                              the shipped voice
    python examples/wavenet_vocoder.py --checkpoint out/wavenet.npz   yours (train_wavenet.py)
    python examples/wavenet_vocoder.py --recording me.wav --temperature 0.6

A mel spectrum says how loud 40 bands are, every 8 ms. Phases are lost, and all within a band.
Griffin-Lim looks for phases that contradict each other least; WaveNet has learned how this voice
sounds and draws sample by sample what fits the spectrum. The sentence is one that it never heard,
said by the same voice. You will hear both, beside the original, and see how far the mel spectrum of
each lies from the one asked for. Griffin-Lim aims at just that number: trust your ears, too.

The page is out/wavenet_vocoder.html; the sounds are beside it in out/wavenet_vocoder/.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sample_coders import ORDER, linear_bits, unigram_bits
from train_wavenet import RECORDINGS, bits, read_voice

from scratchaudio import dsp, plot
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.io import load, save
from scratchaudio.models import load_model, load_pretrained
from scratchaudio.report import Report

# %% Settings
RECORDING = Path(__file__).parent.parent / "sounds" / "speech.wav"
SECONDS = 6.0  # at most, of the recording
TEMPERATURE = 0.6
N_UPDATES = 50  # from mel bands to bins
N_ITER = 60  # of Griffin-Lim
SEED = 0
OUT = Path("out/wavenet_vocoder.html")

ORIGINAL, GRIFFIN_LIM, WAVENET = "original", "Griffin-Lim", "WaveNet"
CODED = "original, coded"  # what WaveNet would say if it knew everything


# %% Two ways back


def by_wavenet(model, mel, n_samples, temperature, seed):
    """Draw the sound (N,) whose mel spectrum (F, T), as `condition_of` gives it, is asked for."""
    begin = time.perf_counter()

    def progress(done, of):
        if done % 8000 == 0:
            pace = done / (time.perf_counter() - begin)
            print(f"WaveNet: {done}/{of} samples, {pace:.0f} a second", flush=True)

    codes = model.generate(
        n_samples,
        local_condition=mel[None],
        temperature=temperature,
        rng=seed,
        progress=progress,
    )
    return dsp.mulaw_decode(codes[0], model.n_levels)


def by_griffin_lim(model, mel, n_samples, seed):
    """The same from the same: magnitudes that explain the mel spectrum, then phases for them.

    Many magnitudes explain it. Multiplicative updates, as of NMF with known spectra, begin with a
    flat spectrum and stay smooth; least squares (`scipy.optimize.nnls`) would leave most bins 0,
    and sound like a chord.
    """
    hop = model.hop_length
    n_fft = 4 * hop
    bands = dsp.mel_filterbank(sr=model.sample_rate, n_fft=n_fft, n_mels=len(mel))  # (F, bins)
    bands = bands.astype(np.float64)
    wanted = 10.0 ** (2 * (mel.astype(np.float64) - 1))
    S = np.ones((bands.shape[1], mel.shape[1]))  # (bins, T)
    reached = np.maximum(bands.sum(axis=0), 1e-10)[:, None]
    for _ in range(N_UPDATES):
        S *= bands.T @ (wanted / np.maximum(bands @ S, 1e-10)) / reached
    S = np.concatenate([S, S[:, -1:]], axis=1)  # the frame that is centred at the end
    return dsp.griffinlim(S, n_iter=N_ITER, hop_length=hop, length=n_samples, rng=seed)


def mel_distance(model, x, mel):
    """Mean difference between the mel spectrum of a sound (N,) and the one asked for, dB."""
    return float(40 * np.abs(model.condition_of(x.astype(np.float32)) - mel).mean())


# %% All of it


def wavenet_vocoder(
    recording=RECORDING,
    *,
    checkpoint=None,
    temperature=TEMPERATURE,
    seconds=SECONDS,
    seed=SEED,
    out=OUT,
    overwrite=False,
):
    """Copy a sentence by its mel spectrum, and write page and sounds; return {way: distance}."""
    out = Path(out)
    folder = out.with_suffix("")
    paths = {
        name: folder / f"{name.lower().replace('-', '_')}.wav"
        for name in (ORIGINAL, GRIFFIN_LIM, WAVENET)
    }
    existing = [str(path) for path in (out, *paths.values()) if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f"{', '.join(existing)} already there; --overwrite replaces them")
    model = load_model(checkpoint) if checkpoint else load_pretrained("wavenet")
    if not getattr(model, "n_local", 0) or model.n_global:
        raise ConfigError(f"{checkpoint} is no vocoder: it must be a WaveNet with n_local alone")
    sr = model.sample_rate
    x, own_sr = load(recording)
    x = dsp.resample(x if x.ndim == 1 else x.mean(axis=0), own_sr, sr)[: round(seconds * sr)]
    x = (x / max(1.0, float(np.abs(x).max()))).astype(np.float32)
    mel = model.condition_of(x)

    sounds = {
        ORIGINAL: x,
        GRIFFIN_LIM: by_griffin_lim(model, mel, len(x), seed),
        WAVENET: by_wavenet(model, mel, len(x), temperature, seed),
    }
    coded = dsp.mulaw_decode(dsp.mulaw_encode(x, model.n_levels), model.n_levels)
    compared = sounds | {CODED: coded}
    distances = {name: mel_distance(model, y, mel) for name, y in compared.items()}
    for name, distance in distances.items():
        print(f"{name:>15}  log-mel distance {distance:.2f} dB")
    costs = {WAVENET: bits(model, x)}
    if checkpoint is None:
        learned = read_voice(RECORDINGS[0], sr)
        costs = {
            "unigram": unigram_bits(learned, x),
            f"linear, {ORDER} samples": linear_bits(learned, x),
        } | costs
    for name, cost in costs.items():
        print(f"{name:>22}  {cost:.3f} bits a sample")

    page = Report(
        "A voice from its mel spectrum",
        "WaveNet, written by hand in NumPy, as a vocoder, beside Griffin-Lim",
    )
    page.text(
        f"The network never heard this sentence. It got {len(mel)} levels every "
        f"{1000 * model.hop_length / sr:g} ms and drew {len(x)} samples, one after another; "
        "Griffin-Lim got the same."
    )
    page.players(sounds, sr, "Listen for buzz and echo (Griffin-Lim) and for hiss (WaveNet).")
    levels = {
        name: dsp.amplitude_to_db(np.abs(dsp.stft(y, n_fft=256, hop_length=64)))
        for name, y in sounds.items()
    }
    figure, _ = plot.spectrograms(levels, sr, 64)
    page.figure(figure, "The three spectrograms.", "Spectrograms of original and both copies.")
    page.table(
        [[name, distances[name]] for name in (GRIFFIN_LIM, WAVENET, CODED)],
        ["way", "log-mel distance, dB"],
        "How far the mel spectrum of what came out lies from the one that went in. The last row is "
        "the rounding to codes alone",
        best={"log-mel distance, dB": min},
        digits=2,
    )
    page.table(
        [[name, cost] for name, cost in costs.items()],
        ["who foretells", "bits"],
        "Bits a sample of this sentence costs; WaveNet knows its mel spectrum, the others do not",
        best={"bits": min},
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, y in sounds.items():
        y = y / max(1.0, float(np.abs(y).max()))
        save(paths[name], y.astype(np.float32), sr, overwrite=overwrite)
    page.save(out, overwrite=overwrite)
    print(f"wrote {out} and the sounds in {folder}")
    return distances


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--checkpoint", type=Path, help="your own instead of the shipped one")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at most")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace page and sounds")
    wavenet_vocoder(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
