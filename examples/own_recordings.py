"""What the examples share that process a user's own recordings, of any length and format.

Files: results replace nothing unasked, and keep the bits of a recording where they can. Pictures:
an hour of sound averaged into as many columns as a picture has. Command: one file after the other,
a line that says how far it is, and a line on what became of each.
"""

import sys
import time
from io import BytesIO

import numpy as np

from scratchaudio import dsp, plot
from scratchaudio.errors import AudioFileError, ScratchAudioError

# %% Settings
COLUMNS = 1000  # of the pictures, at most
FRAME = 0.03  # s analysed at a time for the pictures
DYNAMIC_RANGE = 80  # dB shown below the loudest


# %% Files


class BeyondFullScale(Exception):
    """The result reaches beyond -1 to 1, the most that integers hold."""


def require_scale(peak, subtype):
    """Raise if samples stored like this cannot reach so far."""
    if peak > 1 and subtype not in ("FLOAT", "DOUBLE"):
        raise BeyondFullScale


def storage(header):
    """Suffix and subtype of the result: those of the recording where they lose nothing."""
    if header.format == "FLAC":
        return ".flac", header.subtype if header.subtype != "PCM_S8" else "PCM_16"
    lossless = header.subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    return ".wav", header.subtype if lossless else "PCM_16"


def require_free(targets, recordings, overwrite, task):
    """Raise if a result would replace a recording to be `task`, or anything else unasked."""
    existing = [target for target in targets if target.exists()]
    for target in existing:
        if any(path.exists() and target.samefile(path) for path in recordings):
            raise AudioFileError(
                f"{target} is itself a recording to be {task}, and recordings are never written "
                f"over; choose another folder for --out"
            )
    if existing and not overwrite:
        names = ", ".join(map(str, existing))
        raise AudioFileError(f"{names} already there; --overwrite replaces them")


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


def draw_below_each_other(drawings, sr, n_samples):
    """Draw what happens over the time of a recording, from 0 Hz to sr / 2; return a PNG.

    Parameters
    ----------
    drawings : tuples of values (F, columns), their name, what they are with its unit, and the
        values of the darkest and the brightest colour
    sr, n_samples : of the recording
    """
    import matplotlib.pyplot as plt

    figure, axes = plot.subplots(len(drawings), height=2.2, sharex=True)
    for ax, (values, name, unit, darkest, brightest) in zip(axes, drawings, strict=True):
        plot.spectrogram(values, sr, n_samples / values.shape[1], scale="mel", ax=ax)
        ax.collections[0].set_clim(darkest, brightest)
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
        """Show that `done` of the recording's seconds are done."""
        spent = time.perf_counter() - self.start
        left = clock(spent * (seconds / done - 1))
        self.show(
            f"{self.label}: {done / seconds:.0%}, {left} left, {done / spent:.0f} x real time"
        )

    def show(self, line):
        """Replace what the line says."""
        if sys.stdout.isatty():
            print("\r" + line.ljust(79), end="\r", flush=True)

    def total(self, seconds, task):
        """Say that the whole recording is `task`, and how long it took."""
        spent = time.perf_counter() - self.start
        speed = f"{seconds / spent:.0f} x real time"
        return f"{self.label}: {clock(seconds)} {task} in {clock(spent)} ({speed})"


def clock(seconds):
    """Write a duration as 23:45, or 1:23:45 with hours."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def process_each(recordings, process, summary):
    """Process files one after the other, say what became of each, and end the program.

    It ends with code 0, with 1 if any file failed, and at Ctrl-C with 130.

    Parameters
    ----------
    recordings : their paths
    process : function of a path and its Progress
    summary : function of the Progress and what `process` returned; it returns the line to print
    """
    failures, names = 0, set()
    for number, path in enumerate(recordings, 1):
        progress = Progress(f"[{number}/{len(recordings)}] {path.name}")
        try:
            if path.stem in names:
                raise AudioFileError(f"{path}: another recording here is named {path.stem} too")
            names.add(path.stem)
            result = process(path, progress)
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
        print(summary(progress, result), flush=True)
    sys.exit(1 if failures else 0)
