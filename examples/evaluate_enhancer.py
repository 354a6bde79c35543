"""How good is the enhancer? The Transformer on the ladder between the noise and the truth.

    python examples/evaluate_enhancer.py                              the shipped checkpoint
    python examples/evaluate_enhancer.py --checkpoint out/enhancer.npz     your own

Every test voice is put into three kinds of noise that no training example had, at 0, 5 and 10 dB.
What each method makes of it is measured against the clean voice. Two rows at the end know the
truth and show how far any method of this kind could come: the best mask, and the true magnitude
with the noisy phase. You will see tables by noise and by level, spectrograms and attention maps;
you will hear a voice in each noise before and after. All of it is written to one page, and the
numbers to a CSV beside it.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
from voice_data import SOUNDS, TEST_NOISES, beginning, load_split, noisy

from scratchaudio import dsp, metrics, plot
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.models import load_model, load_pretrained
from scratchaudio.models.enhancer import HOP_LENGTH, N_FFT, SAMPLE_RATE, WINDOW, features
from scratchaudio.report import Report

# %% Settings
OUT = Path("out/enhancer.html")
SNRS = (0, 5, 10)  # dB over the active speech
SECONDS = 15  # of each recording
SHOWN_VOICE = "festival_ked"
SHOWN_SNR = 5  # dB: the recordings on the page
SHOWN_SECONDS = 8
ATTENTION_SECONDS = 4
N_RESAMPLES = 1000  # sets of voices drawn for each interval
SEED = 3

MEASURES = ("SI-SDR", "STOI", "LSD")


# %% The ladder


def spectra(x):
    """STFT of a sound, (F, T)."""
    return dsp.stft(x, n_fft=N_FFT, hop_length=HOP_LENGTH)


def oracle_mask(clean, x):
    """Apply the best real mask from 0 to 1 there is, which needs the truth."""
    S, X = spectra(clean), spectra(x)
    masked = dsp.apply_mask(X, dsp.phase_sensitive_mask(S, X))
    return dsp.istft(masked, n_fft=N_FFT, hop_length=HOP_LENGTH, length=len(x))


def true_magnitude(clean, x):
    """Give the truth's magnitude the noisy phase."""
    Y = dsp.with_phase(abs(spectra(clean)), spectra(x))
    return dsp.istft(Y, n_fft=N_FFT, hop_length=HOP_LENGTH, length=len(x))


def ladder(model):
    """Return the methods from the noise to the truth: name -> function (clean, x) -> estimate."""
    return {
        "noisy": lambda clean, x: x,
        "spectral subtraction": lambda clean, x: dsp.denoise(x, SAMPLE_RATE, method="subtraction"),
        "Wiener filter": lambda clean, x: dsp.denoise(x, SAMPLE_RATE, method="wiener"),
        "Transformer": lambda clean, x: model.enhance(x, SAMPLE_RATE),
        "oracle mask": oracle_mask,
        "true magnitude, noisy phase": true_magnitude,
    }


def scores_of(clean, estimate):
    """SI-SDR in dB, STOI (0 to 1), log-spectral distance in dB."""
    return (
        metrics.si_sdr(clean, estimate),
        metrics.stoi(clean, estimate, SAMPLE_RATE),
        metrics.log_spectral_distance(clean, estimate),
    )


def evaluate(methods, sounds=SOUNDS, seed=SEED):
    """Measure every method, `{name: function (clean, x) -> estimate}`, on every mixture.

    Returns
    -------
    rows : list of (method, voice, noise, snr_db, SI-SDR, STOI, LSD)
    shown : {noise: {method: estimate}} of the voice that the page plays, with "clean"
    """
    rng = np.random.default_rng(seed)
    whole = load_split("test", sounds)
    if len(whole) < 2:
        raise ConfigError(f"{sounds} has {len(whole)} test voice; an interval needs two or more")
    voices = [recording.samples for recording in whole]
    recordings = [beginning(recording, SECONDS) for recording in whole]
    names = [recording.name for recording in recordings]
    shown_voice = SHOWN_VOICE if SHOWN_VOICE in names else names[0]
    rows, shown = [], {}
    begin = time.monotonic()
    for index, recording in enumerate(recordings):
        for kind in TEST_NOISES:
            for snr_db in SNRS:
                clean, x = recording.samples, noisy(recording, kind, snr_db, voices, rng)
                sounds_of = {name: method(clean, x) for name, method in methods.items()}
                for name, estimate in sounds_of.items():
                    rows.append((name, recording.name, kind, snr_db, *scores_of(clean, estimate)))
                if recording.name == shown_voice and snr_db == SHOWN_SNR:
                    shown[kind] = sounds_of | {"clean": clean}
        done = (index + 1) / len(recordings)
        left = (time.monotonic() - begin) * (1 - done) / done
        print(f"{recording.name}: measured, {left:.0f} s left", flush=True)
    return rows, shown


# %% Means and intervals


def mean(rows, method, measure, kind=None, snr_db=None):
    """Mean of a measure of a method, over all noises and levels or those named."""
    return float(np.mean([row[4 + MEASURES.index(measure)] for row in rows
                          if row[0] == method and kind in (None, row[2])
                          and snr_db in (None, row[3])]))  # fmt: skip


def improvement_interval(rows, method, seed=SEED):
    """95 % interval of the mean SI-SDR improvement, by resampling voices."""
    before = {row[1:4]: row[4] for row in rows if row[0] == "noisy"}
    gains = {}
    for row in rows:
        if row[0] == method:
            gains.setdefault(row[1], []).append(row[4] - before[row[1:4]])
    table = np.array([[sum(g), len(g)] for g in gains.values()])  # (voices, 2)
    return metrics.bootstrap_ci(
        lambda total: total[..., 0] / total[..., 1], table, n_resamples=N_RESAMPLES, rng=seed
    )


def print_table(rows, methods):
    """Print the ladder."""
    print(f"{'SI-SDR, dB':>28}" + "".join(f"{s:>5} dB" for s in SNRS) + "    all   STOI    LSD")
    for method in methods:
        by_level = "".join(f"{mean(rows, method, 'SI-SDR', snr_db=s):8.2f}" for s in SNRS)
        overall = [mean(rows, method, measure) for measure in MEASURES]
        print(f"{method:>28}{by_level}{overall[0]:7.2f}{overall[1]:7.3f}{overall[2]:7.2f}")


# %% The page


def write_page(path, model, rows, shown):
    """Write the page, and beside it the CSV."""
    methods = list(ladder(model))
    page = Report(
        "Taking the noise away",
        "A Transformer written by hand in NumPy, between the noise and the truth",
    )
    n_voices = len({row[1] for row in rows})
    low, high = improvement_interval(rows, "Transformer")
    gain = mean(rows, "Transformer", "SI-SDR") - mean(rows, "noisy", "SI-SDR")
    page.text(
        f"{n_voices} voices that were never trained on, each in {', '.join(TEST_NOISES)} noise, "
        f"which no training example had, at {', '.join(map(str, SNRS))} dB. The Transformer "
        f"improves SI-SDR by **{gain:.1f} dB** on average ({low:.1f} to {high:.1f} dB: 95 %, from "
        "resampling voices)."
    )
    page.heading("Listen")
    for kind, sounds in shown.items():
        add_sounds(page, kind, sounds)
    add_tables(page, rows, methods)
    add_attention(page, model, next(iter(shown.values()))["noisy"])
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, overwrite=True)
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "voice", "noise", "snr_db", *MEASURES])
        writer.writerows([*row[:4], *(f"{value:.4f}" for value in row[4:])] for row in rows)
    print(f"wrote {path} and {path.with_suffix('.csv')}")


def add_sounds(page, kind, sounds):
    """One voice in one noise: players and spectrograms."""
    n = SHOWN_SECONDS * SAMPLE_RATE
    heard = ("noisy", "spectral subtraction", "Wiener filter", "Transformer", "clean")
    page.heading(f"In {kind} noise", level=3)
    page.players(
        {name: sounds[name][:n] for name in heard},
        SAMPLE_RATE,
        f"In {kind} at {SHOWN_SNR} dB: listen to the pauses, then to the "
        "consonants. What warbles is musical noise.",
    )
    drawn = ("noisy", "Wiener filter", "Transformer", "clean")
    S_db = {name: dsp.amplitude_to_db(abs(spectra(sounds[name][:n])), ref=10) for name in drawn}
    figure, _ = plot.spectrograms(S_db, SAMPLE_RATE, HOP_LENGTH)
    show(page, figure, "The same in pictures.", f"Spectrograms of a voice in {kind}: {drawn}.")


def add_tables(page, rows, methods):
    """The ladder by level and by noise."""
    page.heading("The ladder")
    page.text(
        "From the noisy recording up to what only someone who knows the truth can do. SI-SDR: "
        "energy of the voice over the energy of all that is not the voice. STOI: intelligibility, "
        "0 to 1. LSD: distance of the log spectra; lower is better."
    )
    by_level = [
        [
            m,
            *(mean(rows, m, "SI-SDR", snr_db=s) for s in SNRS),
            *(mean(rows, m, x) for x in MEASURES),
        ]
        for m in methods
    ]
    header = ["method", *(f"{s} dB" for s in SNRS), "SI-SDR, all", "STOI", "LSD"]
    page.table(by_level, header, "SI-SDR in dB by noise level, and all measures", digits=2)
    by_noise = [[m, *(mean(rows, m, "SI-SDR", kind=k) for k in TEST_NOISES)] for m in methods]
    page.table(by_noise, ["method", *TEST_NOISES], "SI-SDR in dB by kind of noise", digits=2)


def add_attention(page, model, x):
    """What the last block looks at, drawn over the sound."""
    X = spectra(x[: ATTENTION_SECONDS * SAMPLE_RATE])[:, :WINDOW]  # (F, T)
    weights = []
    model.eval().forward(features(np.square(abs(X)).T)[None], weights)
    page.heading("What it looks at")
    page.text(
        "Each map: the frame whose mask is made from top to bottom, the frames it looks at from "
        "left to right, below the sound that they hold. A vertical line is a frame that all others "
        "consult; a diagonal looks at neighbours."
    )
    for block in (0, len(weights) - 1):
        figure, _ = plot.attention(
            weights[block][0], dsp.amplitude_to_db(abs(X)), SAMPLE_RATE, HOP_LENGTH
        )
        caption = f"Attention of block {block + 1} of {len(weights)}, head by head."
        show(page, figure, caption, "Attention maps of each head under the spectrogram.")


def show(page, drawing, caption, alt):
    """Add a figure to the page, and let go of it."""
    import matplotlib.pyplot as plt

    page.figure(drawing, caption, alt)
    plt.close(getattr(drawing, "figure", drawing))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="your own instead of the shipped one")
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--overwrite", action="store_true", help="replace the page")
    args = parser.parse_args()
    for path in (args.out, args.out.with_suffix(".csv")):
        if path.exists() and not args.overwrite:
            raise ConfigError(f"{path} is already there; --overwrite replaces it")
    model = load_model(args.checkpoint) if args.checkpoint else load_pretrained("enhancer")
    methods = ladder(model)
    rows, shown = evaluate(methods, args.sounds, args.seed)
    print_table(rows, list(methods))
    write_page(args.out, model, rows, shown)


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
