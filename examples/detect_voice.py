"""Find the speech in your own recordings.

    python examples/detect_voice.py talk.mp3 interview.wav --out found

For each recording NAME you get, in the folder given:
    NAME.frames.csv     time in s and probability of speech, every 10 ms
    NAME.segments.csv   start and end of each stretch of speech, in s
    NAME.labels.txt     the same as a label track for Audacity
    NAME.png            the recording, what was found, and the probability
    NAME.speech.wav     the recording with everything else silenced: same length, rate and channels
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from scratchaudio import dsp, plot
from scratchaudio.errors import AudioFileError, ScratchAudioError
from scratchaudio.io import load, save
from scratchaudio.models import load_model, load_pretrained, segmentation, vad

# %% Settings
ONSET = 0.5  # speech starts where the probability reaches this
OFFSET = 0.35  # and ends where it falls below this
MIN_SILENCE = 0.15  # s; shorter gaps are filled
MIN_SPEECH = 0.1  # s; shorter segments are dropped
PAD = 0.0  # s added at both ends of each segment


def detect(path, folder, model, settings, overwrite):
    """Write all results of one recording; return its duration and segments."""
    targets = {
        kind: folder / f"{path.stem}.{kind}"
        for kind in ("frames.csv", "segments.csv", "labels.txt", "png", "speech.wav")
    }
    existing = [str(target) for target in targets.values() if target.exists()]
    if existing and not overwrite:
        raise AudioFileError(f"{', '.join(existing)} already there; --overwrite replaces them")

    x, sr = load(path)  # (N,) or (channels, N), at the file's own rate
    mono = x if x.ndim == 1 else x.mean(axis=0)
    probabilities = model.probabilities(dsp.resample(mono, orig_sr=sr, target_sr=vad.SAMPLE_RATE))
    duration = len(mono) / sr
    segments = [
        (start, min(end, duration))
        for start, end in segmentation.frames_to_segments(
            segmentation.decide(probabilities, settings)
        )
    ]

    draw(targets["png"], mono, sr, probabilities, segments, settings, path.name)
    # Compressed formats may decode to peaks above full scale, which integers cannot hold.
    subtype = "FLOAT" if np.abs(x).max() > 1 else "PCM_16"
    speech = segmentation.keep_segments(x, sr, segments)
    save(targets["speech.wav"], speech, sr, overwrite=overwrite, subtype=subtype)
    frames = (f"{t / vad.FRAME_RATE:.2f},{p:.4f}" for t, p in enumerate(probabilities))
    write_lines(targets["frames.csv"], ["time,probability", *frames])
    spans = [f"{start:.3f},{end:.3f}" for start, end in segments]
    write_lines(targets["segments.csv"], ["start,end", *spans])
    labels = [f"{start:.3f}\t{end:.3f}\tspeech" for start, end in segments]
    write_lines(targets["labels.txt"], labels)
    return duration, segments


def write_lines(path, lines):
    """Write a text file."""
    path.write_text("".join(f"{line}\n" for line in lines))


def draw(path, x, sr, probabilities, segments, settings, title):
    """Draw the waveform with the speech shaded, above the probability with its threshold."""
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(10, 4.5), sharex=True, layout="constrained")
    plot.waveform(*outline(x, sr), ax=top)
    plot.segments(segments, ax=top)
    plot.probabilities(probabilities, threshold=settings.onset, ax=bottom)
    top.set_title(title, loc="left")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def outline(x, sr, n_spans=4000):
    """Keep the lowest and highest sample of each of n_spans spans: looks the same, draws fast."""
    span = len(x) // n_spans
    if span < 2:
        return x, sr
    spans = x[: span * n_spans].reshape(n_spans, span)
    return np.stack([spans.min(axis=1), spans.max(axis=1)], axis=1).ravel(), 2 * sr / span


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path, help="WAV, FLAC, OGG, MP3, Opus, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--checkpoint", type=Path, help="your own instead of the shipped one")
    parser.add_argument("--onset", type=float, default=ONSET)
    parser.add_argument("--offset", type=float, default=OFFSET)
    parser.add_argument("--min-silence", type=float, default=MIN_SILENCE, help="s")
    parser.add_argument("--min-speech", type=float, default=MIN_SPEECH, help="s")
    parser.add_argument("--pad", type=float, default=PAD, help="s")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()

    try:
        model = load_model(args.checkpoint) if args.checkpoint else load_pretrained("vad")
        settings = segmentation.SegmentSettings(
            args.onset, args.offset, args.min_silence, args.min_speech, args.pad
        )
        args.out.mkdir(parents=True, exist_ok=True)
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")

    failures, names = 0, set()
    for number, path in enumerate(args.recordings, 1):
        start = time.perf_counter()
        try:
            if path.stem in names:
                raise AudioFileError(f"{path}: another recording here is named {path.stem} too")
            names.add(path.stem)
            duration, segments = detect(path, args.out, model, settings, args.overwrite)
        except (ScratchAudioError, OSError) as error:
            failures += 1
            where = "" if str(path) in str(error) else f"{path}: "
            print(f"error: {where}{error}", file=sys.stderr, flush=True)
            continue
        speech = sum(end - start for start, end in segments)
        print(
            f"[{number}/{len(args.recordings)}] {path.name}: {speech:.1f} of {duration:.1f} s are "
            f"speech, in {len(segments)} segments ({time.perf_counter() - start:.1f} s)",
            flush=True,
        )
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
