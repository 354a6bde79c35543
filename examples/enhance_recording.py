"""Take the noise out of your own recordings of speech, however long.

    python examples/enhance_recording.py interview.mp3 lecture.wav --out cleaned

For each recording NAME you get, in the folder given:
    NAME.wav    the recording, cleaned: same length, rate and channels (NAME.flac for a FLAC)
    NAME.png    before, after, and the gain in between

What you will hear: hiss, hum and traffic behind the voice softer or gone, in the pauses most of
all. A voice that noise had covered sounds duller than a clean one, and music counts as noise: the
model knows speech only. If it takes too much, `--mix 0.2` leaves a fifth of the recording in; to
hear what was done before neural networks, use `--method wiener` or `--method subtraction`, which
clean each channel by itself (the network gives all channels one mask, so that every voice stays
in its place between the loudspeakers).

What you will see: the haze between the stripes of the voice goes dark from the first drawing to the
second; the third is bright where sound was kept and dark where it was taken away.

The recording is never held whole: chunks of half a minute are cleaned and joined without a seam, so
an hour takes no more memory than a minute. Recordings of 16, 24 or 32 bits or floats keep them, as
.wav or .flac; what has 8 bits, too few for the softer pauses, or was compressed with loss becomes a
16-bit .wav. If the result reaches beyond full scale, which integers cannot hold, it becomes a .wav
of 32-bit floats.
"""

import argparse
import os
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchaudio import dsp, plot
from scratchaudio.errors import AudioFileError, ConfigError, ScratchAudioError
from scratchaudio.io import blocks, info, writer
from scratchaudio.models import load_model, load_pretrained
from scratchaudio.streaming import process_in_chunks

# %% Settings
CHUNK = 30.0  # s cleaned at a time
OVERLAP = 2.0  # s in which one chunk fades into the next
METHOD = "network"  # or "wiener", "subtraction": without a network
MIX = 0.0  # share of the recording left in the result: 0 cleans, 1 changes nothing
COLUMNS = 1000  # of the pictures, at most
FRAME = 0.03  # s analysed at a time for the pictures
DYNAMIC_RANGE = 80  # dB shown below the loudest
GAIN_RANGE = 30  # dB shown below "kept as it was"


# %% Sound


class Cleaned(NamedTuple):
    """What became of a recording."""

    sound: Path
    seconds: float
    peak: float  # of the result
    softer: float  # dB by which the quietest tenth of the recording fell


def enhance_file(path, folder, model, mix=MIX, overwrite=False, recordings=(), progress=None):
    """Write a cleaned recording and its picture into a folder.

    Parameters
    ----------
    path : the recording
    folder : where to
    model : object with enhance(x, sr), which takes (N,) or (C, N) and returns as much
    mix : share of the recording left in the result, 0 to 1
    overwrite : replace results that are there already
    recordings : files that must not be written over, whatever `overwrite` says, besides `path`
    progress : function called with the seconds done and those of the recording, or None

    Returns
    -------
    Cleaned
    """
    require_share("mix", mix)
    header = info(path)

    def attempt(suffix, subtype):
        target = folder / f"{path.stem}{suffix}"
        picture = folder / f"{path.stem}.png"
        require_free([target, picture], [path, *recordings], overwrite)
        image, cleaned = clean(path, header, model, mix, target, subtype, progress, overwrite)
        write_whole(picture, image)
        return cleaned

    try:
        return attempt(*storage(header))
    except BeyondFullScale:
        return attempt(".wav", "FLOAT")


class Classical:
    """A method from before neural networks, as an object like the network."""

    def __init__(self, method):
        self.method = method

    def enhance(self, x, sr):
        """Clean (N,) or (C, N), one channel after the other, which saves memory."""
        y = [dsp.denoise(channel, sr, method=self.method) for channel in np.atleast_2d(x)]
        return np.reshape(y, x.shape)


class BeyondFullScale(Exception):
    """The result reaches beyond -1 to 1, the most that integers hold."""


def clean(path, header, model, mix, target, subtype, progress, overwrite):
    """Read, clean and write chunk by chunk; return the picture and what became of the sound."""
    sr, channels, frames = header.sr, header.channels, header.frames
    before, after = Columns(frames, sr), Columns(frames, sr)
    chunk, overlap = round(CHUNK * sr), round(OVERLAP * sr)
    peak, done = 0.0, 0

    def recording():
        for x in blocks(path):  # (n,) or (C, n)
            before.add(x)
            yield x

    def process(x):
        y = model.enhance(x, sr)
        return y if mix == 0 else mix * x + (1 - mix) * y

    with writer(target, sr, channels, overwrite=overwrite, subtype=subtype, frames=frames) as write:
        for y in process_in_chunks(process, recording(), chunk=chunk, overlap=overlap):
            peak = max(peak, float(np.abs(y).max()))
            if peak > 1 and subtype not in ("FLOAT", "DOUBLE"):
                raise BeyondFullScale
            write(y)
            after.add(y)
            done += y.shape[-1]
            if progress:
                progress(done / sr, header.seconds)
        image = draw(before, after)  # before the sound appears: both or neither
    softer = before.quietest_tenth() - after.quietest_tenth()
    return image, Cleaned(target, header.seconds, peak, softer)


def storage(header):
    """Suffix and subtype of the result: those of the recording where they lose nothing."""
    if header.format == "FLAC":
        return ".flac", header.subtype if header.subtype != "PCM_S8" else "PCM_16"
    lossless = header.subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    return ".wav", header.subtype if lossless else "PCM_16"


def require_free(targets, recordings, overwrite):
    """Raise if a result would replace a recording, or anything else unasked."""
    existing = [target for target in targets if target.exists()]
    for target in existing:
        if any(path.exists() and target.samefile(path) for path in recordings):
            raise AudioFileError(
                f"{target} is itself a recording to be cleaned, and recordings are never written "
                f"over; choose another folder for --out"
            )
    if existing and not overwrite:
        names = ", ".join(map(str, existing))
        raise AudioFileError(f"{names} already there; --overwrite replaces them")


def require_share(name, value):
    """Raise unless a setting is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must be from 0 to 1, got {value}")


def write_whole(path, content):
    """Write bytes beside their place and rename, so that there is never half a file."""
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


# %% Pictures


class Columns:
    """Spectrogram of a signal that passes by, averaged into few columns: small for any length."""

    def __init__(self, n_samples, sr):
        self.sr, self.n_samples = sr, n_samples
        self.n_fft = 2 ** round(np.log2(FRAME * sr))
        self.hop = self.n_fft // 2
        self.n_frames = 1 + max(0, n_samples - self.n_fft) // self.hop
        self.power = np.zeros((1 + self.n_fft // 2, min(COLUMNS, self.n_frames)))  # (F, columns)
        self.count = np.zeros(self.power.shape[1])  # frames in each column
        self.t = 0  # next frame
        self.rest = None  # (C, n) samples from its start on

    def add(self, x):
        """Take the next samples, (n,) or (C, n)."""
        x = np.atleast_2d(x)
        x = x if self.rest is None else np.concatenate([self.rest, x], axis=-1)
        if x.shape[-1] == self.n_samples < self.n_fft:
            x = np.pad(x, [(0, 0), (0, self.n_fft - self.n_samples)])  # the only frame
        if x.shape[-1] >= self.n_fft:
            self._add_frames(x)
            T = 1 + (x.shape[-1] - self.n_fft) // self.hop
            x = x[:, T * self.hop :]
        self.rest = x.copy()

    def _add_frames(self, x):
        power = 0
        for channel in x:
            X = dsp.stft(channel, n_fft=self.n_fft, hop_length=self.hop, center=False)  # (F, T)
            power = power + np.square(np.abs(X), dtype=np.float64) / len(x)
        t = self.t + np.arange(power.shape[1])
        column = t * len(self.count) // self.n_frames  # (T,) not decreasing
        first = np.flatnonzero(np.diff(column, prepend=-1))  # frame that begins each column
        self.power[:, column[first]] += np.add.reduceat(power, first, axis=1)
        self.count[column[first]] += np.diff(first, append=len(t))
        self.t = t[-1] + 1

    def decibels(self):
        """Return (F, columns) levels in dB; a tone of amplitude 1 has 0 dB."""
        scale = (self.n_fft / 4) ** 2  # |X|^2 of such a tone: (sum of the Hann window / 2)^2
        return dsp.power_to_db(self.power / (self.count * scale), amin=1e-14, top_db=None)

    def quietest_tenth(self):
        """Level in dB that a tenth of the columns stay below: mostly the background."""
        power = self.power.sum(axis=0) / (self.count * self.n_fft**2)
        return float(dsp.power_to_db(np.percentile(power, 10), amin=1e-14, top_db=None))


def draw(before, after):
    """Draw the spectrograms before and after in the same colours, and the gain; return a PNG."""
    import matplotlib.pyplot as plt

    old, new = before.decibels(), after.decibels()
    figure, axes = plot.subplots(3, height=2.2, sharex=True)
    hop_length = before.n_samples / old.shape[1]
    for ax, values, name, unit, top, bottom in (
        (axes[0], old, "before", "level (dB)", old.max(), old.max() - DYNAMIC_RANGE),
        (axes[1], new, "after", "level (dB)", old.max(), old.max() - DYNAMIC_RANGE),
        (axes[2], new - old, "gain", "gain (dB)", 0, -GAIN_RANGE),
    ):
        plot.spectrogram(values, before.sr, hop_length, scale="mel", ax=ax)
        ax.collections[0].set_clim(bottom, top)
        ax.child_axes[0].set_ylabel(unit)
        ax.set_title(name, loc="left", fontsize=plot.LETTERS)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=200)
    plt.close(figure)
    return png.getvalue()


# %% Command


class Progress:
    """One line that says how far it is, renewed in place; none if the output goes to a file."""

    def __init__(self, label):
        self.label, self.start = label, time.perf_counter()

    def __call__(self, done, seconds):
        """Show that `done` of the recording's seconds are cleaned."""
        spent = time.perf_counter() - self.start
        left = clock(spent * (seconds / done - 1))
        self.show(
            f"{self.label}: {done / seconds:.0%}, {left} left, {done / spent:.0f} x real time"
        )

    def show(self, line):
        """Replace what the line says."""
        if sys.stdout.isatty():
            print("\r" + line.ljust(79), end="\r", flush=True)


def clock(seconds):
    """Write a duration as 23:45, or 1:23:45 with hours."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path, help="WAV, FLAC, OGG, MP3, Opus, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--model", type=Path, help="your own checkpoint instead of the shipped one")
    parser.add_argument("--method", choices=("network", "wiener", "subtraction"), default=METHOD)
    parser.add_argument("--mix", type=float, default=MIX, help="share of the recording left in")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()

    try:
        model = load_enhancer(args.method, args.model)
        require_share("--mix", args.mix)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")

    failures, names = 0, set()
    for number, path in enumerate(args.recordings, 1):
        progress = Progress(f"[{number}/{len(args.recordings)}] {path.name}")
        try:
            if path.stem in names:
                raise AudioFileError(f"{path}: another recording here is named {path.stem} too")
            names.add(path.stem)
            cleaned = enhance_file(
                path, args.out, model, args.mix, args.overwrite, args.recordings, progress
            )
        except (ScratchAudioError, OSError) as error:
            failures += 1
            progress.show("")
            where = "" if str(path) in str(error) else f"{path}: "
            print(f"error: {where}{error}", file=sys.stderr, flush=True)
            continue
        except KeyboardInterrupt:
            progress.show("")
            print(f"stopped: nothing of {path.name} was written", file=sys.stderr)
            sys.exit(130)  # as shells say it
        progress.show("")
        print(summary(progress, cleaned), flush=True)
    sys.exit(1 if failures else 0)


def load_enhancer(method, path):
    """Make what cleans: a classical method, or the network at `path` (None: the shipped one)."""
    if method != "network":
        if path:
            raise ConfigError(f"--model is for --method network, not for {method}")
        return Classical(method)
    model = load_model(path) if path else load_pretrained("enhancer")
    if not hasattr(model, "enhance"):
        raise ConfigError(f"{path} holds a {type(model).__name__}, which does not clean recordings")
    return model


def summary(progress, cleaned):
    """Say in one line what became of a recording."""
    spent = time.perf_counter() - progress.start
    beyond = f"; 32-bit floats, for it reaches {cleaned.peak:.2f}" if cleaned.peak > 1 else ""
    return (
        f"{progress.label}: {clock(cleaned.seconds)} cleaned in {clock(spent)} "
        f"({cleaned.seconds / spent:.0f} x real time), pauses {cleaned.softer:.1f} dB softer -> "
        f"{cleaned.sound}{beyond}"
    )


if __name__ == "__main__":
    main()
