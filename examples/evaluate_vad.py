"""How good is the detector? The network beside two energy detectors, on voices it never heard.

    python examples/evaluate_vad.py                                the shipped checkpoint
    python examples/evaluate_vad.py --checkpoint out/vad.npz       your own

Every test voice is put into three kinds of noise that no training example had, at 20, 10, 5 and
0 dB. Each method gets one threshold, tuned on the validation voices, and then everything is
measured on the same frames. You will see ROC and precision/recall curves, tables by noise level
with 95 % intervals, and one recording with what each method found; you will hear what each keeps
and what it throws away. All of it is written to one page, and the numbers to a CSV beside it.
"""

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from voice_data import SOUNDS, TEST_NOISES, TEST_SNRS, VALIDATION_NOISES, load_split, noisy, padded

from scratchaudio import dsp, metrics, plot
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.models import (
    adaptive_energy_score,
    energy_score,
    load_model,
    load_pretrained,
    segmentation,
    vad,
)
from scratchaudio.nn import sigmoid
from scratchaudio.report import Report

# %% Settings
OUT = Path("out/index.html")
SHOWN_SNR = 5  # dB: the recording on the page
SHOWN_NOISE = "music"
SHOWN_VOICE = "festival_ked"
SHOWN_SECONDS = 15
N_RESAMPLES = 1000  # test sets drawn for each interval
BATCH_SIZE = 16
SEED = 2

COLUMNS = (
    *("method", "snr_db", "threshold", "auc", "auc_low", "auc_high", "average_precision"),
    *("precision", "recall", "f1", "f1_low", "f1_high"),
    *("true_negatives", "false_positives", "false_negatives", "true_positives"),
)
ENERGY = {"energy": energy_score, "adaptive energy": adaptive_energy_score}


# %% Test sets and scores


@dataclass(frozen=True)
class Mixture:
    """A recording in noise with its truth."""

    name: str
    kind: str
    snr_db: int
    samples: np.ndarray  # (N,)
    labels: np.ndarray  # (T,) bool


def mixtures(recordings, kinds, rng):
    """Make every recording in every kind of noise at every level."""
    voices = [recording.samples for recording in recordings]
    return [
        Mixture(r.name, kind, snr_db, noisy(r, kind, snr_db, voices, rng), r.labels)
        for r in recordings
        for kind in kinds
        for snr_db in TEST_SNRS
    ]


def network_scores(model, sounds):
    """Speech logits of each mixture, (T,) each; several at a time, which is faster."""
    model.eval()
    logits = []
    for first in range(0, len(sounds), BATCH_SIZE):
        batch = [model.normalized_features(m.samples) for m in sounds[first : first + BATCH_SIZE]]
        x, lengths = padded(batch)
        together = model.forward(x, None, lengths)
        logits += [one[:length] for one, length in zip(together, lengths, strict=True)]
    return logits


def energy_scores(score, sounds):
    """Scores in dB of each mixture by one of the energy detectors, (T,) each."""
    return [score(mixture.samples) for mixture in sounds]


# %% Measures


@dataclass(frozen=True)
class Result:
    """All measures of one method on some mixtures; intervals are of 95 %, by recording."""

    auc: float
    auc_interval: tuple
    average_precision: float
    precision: float
    recall: float
    f1: float
    f1_interval: tuple
    confusion: np.ndarray  # [[TN, FP], [FN, TP]]


def measure(sounds, scores, threshold, rng):
    """Measure one method; mixtures of one recording share a voice, so they are drawn together."""
    names = sorted({mixture.name for mixture in sounds})
    labels, grouped = [], []
    for name in names:
        mine = [k for k, mixture in enumerate(sounds) if mixture.name == name]
        labels.append(np.concatenate([sounds[k].labels for k in mine]))
        grouped.append(np.concatenate([scores[k] for k in mine]))
    calls = [score >= threshold for score in grouped]
    y_true, y_score, y_call = (np.concatenate(arrays) for arrays in (labels, grouped, calls))

    def interval(statistic, tables):
        return metrics.bootstrap_ci(statistic, tables, n_resamples=N_RESAMPLES, rng=rng)

    return Result(
        metrics.roc_auc_score(y_true, y_score),
        interval(metrics.auc_of_counts, metrics.score_counts(labels, grouped)),
        metrics.average_precision_score(y_true, y_score),
        metrics.precision_score(y_true, y_call),
        metrics.recall_score(y_true, y_call),
        metrics.f1_score(y_true, y_call),
        interval(metrics.f1_of_counts, metrics.confusion_counts(labels, calls)),
        metrics.confusion_matrix(y_true, y_call),
    )


def evaluate(networks, sounds_folder=SOUNDS, seed=SEED):
    """Score all methods on the validation and test sets.

    Parameters
    ----------
    networks : {name: VoiceActivityDetector}

    Returns
    -------
    test : list of Mixture
    scores : {method: list of (T,) scores, one for each mixture}
    thresholds : {method: float}, the best F1 on the validation set
    results : {(method, snr_db or "all"): Result}
    """
    rng = np.random.default_rng(seed)
    validation = mixtures(load_split("validation", sounds_folder), VALIDATION_NOISES, rng)
    test = mixtures(load_split("test", sounds_folder), TEST_NOISES, rng)
    y_validation = np.concatenate([mixture.labels for mixture in validation])
    scores, thresholds, results = {}, {}, {}
    for method in (*networks, *ENERGY):
        start = time.perf_counter()
        function, *argument = (
            (network_scores, networks[method]) if method in networks
            else (energy_scores, ENERGY[method])
        )  # fmt: skip
        thresholds[method] = metrics.best_f1_threshold(
            y_validation, np.concatenate(function(*argument, validation))
        )
        scores[method] = function(*argument, test)
        for snr_db in ("all", *TEST_SNRS):
            chosen = at_level(test, snr_db)
            results[method, snr_db] = measure(
                [test[k] for k in chosen],
                [scores[method][k] for k in chosen],
                thresholds[method],
                np.random.default_rng(seed),
            )
        pooled = results[method, "all"]
        print(
            f"{method:>24}: AUC {pooled.auc:.4f}  F1 {pooled.f1:.4f}  "
            f"({time.perf_counter() - start:.0f} s)",
            flush=True,
        )
    return test, scores, thresholds, results


# %% The page and the table


def write_scores(path, results, thresholds):
    """Write every measure to a CSV: one row for each method and level."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for (method, snr_db), r in results.items():
            numbers = (
                thresholds[method], r.auc, *r.auc_interval, r.average_precision,
                r.precision, r.recall, r.f1, *r.f1_interval,
            )  # fmt: skip
            counts = r.confusion.ravel().tolist()
            writer.writerow([method, snr_db, *(f"{n:.4f}" for n in numbers), *counts])


def add_curves(page, test, scores):
    """ROC and precision/recall curves: all test recordings together, then level by level."""
    page.heading("All thresholds at once")
    page.text(
        "Each method gives every 10 ms frame a score; a threshold turns scores into decisions. "
        "A low threshold finds all speech and much noise, a high one the opposite. The curves "
        "show every threshold: first on all test recordings together, then at each noise level."
    )
    pooled, by_level = [], []
    for curve, draw in (
        (metrics.roc_curve, plot.roc),
        (metrics.precision_recall_curve, plot.precision_recall),
    ):
        _, ax = plot.subplots(height=4.2)
        draw_curves(test, scores, range(len(test)), curve, draw, ax)
        pooled.append(ax)
        figure, axes = plot.subplots(2, 2, height=2.8)
        for ax, snr_db in zip(axes.ravel(), TEST_SNRS, strict=True):
            draw_curves(test, scores, at_level(test, snr_db), curve, draw, ax)
            ax.set_title(f"{snr_db} dB", fontsize=plot.LETTERS)
        by_level.append(figure)
    captions = (
        "ROC: up is speech found, right is noise taken for speech. The area under the curve (AUC) "
        "is the chance that a speech frame scores above a noise frame.",
        "Precision against recall: of what was called speech, how much is; of all speech, how "
        "much was found.",
    )
    alts = ("ROC curves of all methods", "Precision-recall curves of all methods")
    with page.side_by_side():
        for ax, caption, alt in zip(pooled, captions, alts, strict=True):
            show(page, ax, caption, f"{alt} on all test recordings.")
    with page.side_by_side():
        for figure, alt in zip(by_level, alts, strict=True):
            show(page, figure, f"{alt}, by noise level.", f"{alt} at 20, 10, 5 and 0 dB.")


def draw_curves(test, scores, chosen, curve, draw, ax):
    """Draw a curve of all methods, by a metric and its plot, on some of the mixtures."""
    y_true = np.concatenate([test[k].labels for k in chosen])
    for method in scores:
        y_score = np.concatenate([scores[method][k] for k in chosen])
        x, y, _ = curve(y_true, y_score)
        draw(*thinned(x, y), label=method, ax=ax)


def add_levels(page, test, results):
    """Measures with intervals, and the kinds of mistakes, at each noise level."""
    methods = list(dict.fromkeys(method for method, _ in results))
    share = np.concatenate([mixture.labels for mixture in test]).mean()
    page.heading("Noise level by noise level")
    page.text(
        "Here each method has one threshold, tuned on the validation voices. Intervals are of "
        "95 %, from resampling whole recordings: frames of one voice are not independent. With "
        "some ten voices they are rather too narrow than too wide."
    )
    drawings = []
    for field, name in (("auc", "AUC"), ("f1", "F1")):
        _, ax = plot.subplots(height=3.4)
        for method in methods:
            rows = [results[method, snr_db] for snr_db in TEST_SNRS]
            plot.by_snr(
                TEST_SNRS,
                [getattr(r, field) for r in rows],
                [getattr(r, f"{field}_interval") for r in rows],
                label=method,
                ylabel=f"{name} (0 to 1)",
                ax=ax,
            )
        drawings.append((ax, name))
    with page.side_by_side():
        for ax, name in drawings:
            caption = f"{name} at each noise level, with its interval."
            if name == "F1":
                caption += f" Calling every frame speech gives {2 * share / (1 + share):.2f}."
            show(page, ax, caption, f"{name} of each method at 20, 10, 5 and 0 dB.")

    header = ["method", "AUC", "AUC 95 %", "AP", "precision", "recall", "F1", "F1 95 %"]
    for snr_db in ("all", *TEST_SNRS):
        rows = []
        for method in methods:
            r = results[method, snr_db]
            rows.append(
                [method, r.auc, span(r.auc_interval), r.average_precision,
                 r.precision, r.recall, r.f1, span(r.f1_interval)]
            )  # fmt: skip
        caption = f"Measures, {where(snr_db)}"
        page.table(rows, header, caption, best={"AUC": max, "AP": max, "F1": max})

    page.heading("What kind of mistakes?")
    page.text("Frames by truth (rows) and decision (columns).")
    for snr_db in ("all", *TEST_SNRS):
        with page.side_by_side():
            for method in methods:
                _, ax = plot.subplots(height=3.0)
                plot.confusion(results[method, snr_db].confusion, ax=ax)
                caption = f"{method}, {where(snr_db)}"
                show(page, ax, caption, f"Confusion matrix: {caption}.")


def add_voices(page, test, scores, thresholds):
    """AUC and F1 on each voice, all its mixtures together; also printed for the first network."""
    page.heading("Voice by voice")
    page.text(
        "What the pooled numbers hide: some voices are harder, and most test voices come from a "
        "synthesiser that also made training voices. In the bundled set, `flite_awb` and "
        "`festival_ked` are humans heard nowhere else, cut into pieces and joined again."
    )
    first, rows = next(iter(scores)), []
    for name in sorted({mixture.name for mixture in test}):
        chosen = [k for k, mixture in enumerate(test) if mixture.name == name]
        y_true = np.concatenate([test[k].labels for k in chosen])
        row = [name]
        for method in scores:
            y_score = np.concatenate([scores[method][k] for k in chosen])
            row.append(metrics.roc_auc_score(y_true, y_score))
            row.append(metrics.f1_score(y_true, y_score >= thresholds[method]))
        rows.append(row)
        print(f"{name:>24}: AUC {row[1]:.4f}  F1 {row[2]:.4f}  ({first})")
    header = ["voice", *(f"{method}: {name}" for method in scores for name in ("AUC", "F1"))]
    page.table(rows, header, "Measures on each test voice, all noises and levels together")


def where(snr_db):
    """Name a noise level."""
    return "all noise levels together" if snr_db == "all" else f"{snr_db} dB"


def at_level(test, snr_db):
    """Indices of the mixtures at a noise level, or at "all"."""
    return [k for k, mixture in enumerate(test) if snr_db in ("all", mixture.snr_db)]


def add_example(page, test, scores, thresholds, picture):
    """One recording: what each method found in it, to see and to hear; saves the figure too."""

    def likeness(k):
        wanted = (SHOWN_NOISE, SHOWN_SNR, SHOWN_VOICE)
        return sum(
            a == b
            for a, b in zip((test[k].kind, test[k].snr_db, test[k].name), wanted, strict=True)
        )

    shown = max(range(len(test)), key=likeness)
    mixture = test[shown]
    sr, n = vad.SAMPLE_RATE, SHOWN_SECONDS * vad.SAMPLE_RATE
    x, truth = mixture.samples[:n], mixture.labels[: SHOWN_SECONDS * vad.FRAME_RATE]
    found = {}
    for method in scores:
        calls = scores[method][shown][: len(truth)] >= thresholds[method]
        found[method] = segmentation.frames_to_segments(segmentation.decide(calls.astype(float)))
    network = next(iter(scores))

    page.heading("One recording, to see and to hear")
    page.text(
        f"`{mixture.name}` in {mixture.kind} noise at {mixture.snr_db} dB. Decisions are smoothed "
        "alike for all methods: gaps under 0.15 s filled, pieces under 0.1 s dropped."
    )
    figure, axes = plot.subplots(len(found) + 2, height=1.9, sharex=True)
    X = dsp.stft(x, n_fft=vad.N_FFT, hop_length=vad.HOP_LENGTH)  # (F, T)
    plot.spectrogram(dsp.amplitude_to_db(np.abs(X)), sr, vad.HOP_LENGTH, ax=axes[0])
    for ax, (method, segments) in zip(axes[1:-1], found.items(), strict=True):
        plot.waveform(x, sr, ax=ax)
        plot.segments(segmentation.frames_to_segments(truth), label="truth", lane=(0.5, 1), ax=ax)
        plot.segments(segments, label=method, color=plot.SKY, lane=(0, 0.5), ax=ax)
    plot.probabilities(
        sigmoid(scores[network][shown][: len(truth)]),
        truth,
        threshold=float(sigmoid(thresholds[network])),
        ax=axes[-1],
    )
    figure.savefig(picture, dpi=110)
    show(
        page,
        figure,
        "The spectrogram; the waveform with the truth (upper half) and what each method found "
        f"(lower half); last the probability given by the {network}.",
        "Spectrogram, waveforms with truth and detections shaded, and the network's probability.",
    )
    kept = {
        method: segmentation.keep_segments(x, sr, segments) for method, segments in found.items()
    }
    page.players(
        {"noisy recording": x} | {f"kept by {method}": y for method, y in kept.items()},
        sr,
        "What each method keeps. Words that start late or end early were missed.",
        segments={f"kept by {m}": s for m, s in found.items()},
        match_loudness=False,
    )
    page.players(
        {f"thrown away by {method}": x - y for method, y in kept.items()},
        sr,
        "The complement: what each method throws away. You should hear noise alone.",
        match_loudness=False,
    )


def show(page, drawing, caption, alt):
    """Add a figure to the page, and let go of it."""
    import matplotlib.pyplot as plt

    page.figure(drawing, caption, alt)
    plt.close(getattr(drawing, "figure", drawing))


def thinned(x, y, n=500):
    """Keep about n points of a curve, spread evenly along its length: no difference to see."""
    length = np.cumsum(np.hypot(np.diff(x, prepend=x[0]), np.diff(y, prepend=y[0])))
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], n)).clip(0, len(x) - 1))
    return x[kept], y[kept]


def span(interval):
    """Write an interval as text."""
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def write_page(path, test, scores, thresholds, results, opening=None):
    """Write the page, and beside it the CSV; `opening(page)` may add something at the top."""
    page = Report(
        "Finding speech in noise",
        "A recurrent network written by hand in NumPy, beside two energy detectors",
    )
    names = {mixture.name for mixture in test}
    page.text(
        f"{len(names)} voices that were never trained on, {len(test)} noisy recordings: each "
        f"voice in {', '.join(TEST_NOISES)} noise, which no training example had, at "
        f"{', '.join(str(snr_db) for snr_db in TEST_SNRS)} dB."
    )
    if opening:
        opening(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    add_example(page, test, scores, thresholds, path.with_suffix(".png"))
    add_curves(page, test, scores)
    add_levels(page, test, results)
    add_voices(page, test, scores, thresholds)
    page.save(path, overwrite=True)
    write_scores(path.with_suffix(".csv"), results, thresholds)
    print(f"wrote {path} and {path.with_suffix('.csv')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="your own instead of the shipped one")
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--overwrite", action="store_true", help="replace the page")
    args = parser.parse_args()
    if args.out.exists() and not args.overwrite:
        raise ConfigError(f"{args.out} is already there; --overwrite replaces it")
    model = load_model(args.checkpoint) if args.checkpoint else load_pretrained("vad")
    write_page(args.out, *evaluate({"network": model}, args.sounds, args.seed))


if __name__ == "__main__":
    try:
        main()
    except ScratchAudioError as error:
        sys.exit(f"error: {error}")
