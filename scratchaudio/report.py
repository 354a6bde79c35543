"""One HTML page to listen and look: players, figures and tables in a single file.

A result in audio has to be heard. A `Report` collects headings, text, figures, tables and groups
of audio players, and writes them as one file that needs nothing else: sounds, pictures, style and
script are inside it (as data URIs), and its content security policy forbids every network request.
It can be sent by mail, opened from a stick, and read on a phone or with the keyboard alone.

    page = Report("Finding speech in noise", subtitle="A recurrent network against two thresholds")
    page.heading("Listen")
    page.players({"Noisy": x, "Network": y}, sr, "Press 1 and 2 to compare.")
    page.heading("Results")
    page.table([["Network", 0.98], ["Energy", 0.80]], ["Method", "AUC"], "By frame.",
               best={"AUC": max})
    page.save("out/index.html")

Sounds are compared fairly only when they are equally loud: of two equal sounds, people prefer the
louder one. So the sounds of a group are brought to one loudness *at the player*; nothing that is
measured ever sees that gain, and the page states it for every sound.

Sounds are stored as 16-bit FLAC: every current browser decodes it, it has exactly as many samples
as the signal (MP3 and AAC add silence at both ends), and it is smaller than WAV.

N samples, sr sampling rate in Hz. The look is `report_assets/page.css`, what happens on a click or
a key is `report_assets/page.js`; both are copied into the page as they are.
"""

import base64
import contextlib
import hashlib
import html
import io
import math
import os
import re
from importlib import resources
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

import scratchaudio
from scratchaudio.errors import (
    ConfigError,
    ShapeError,
    require_positive_integer,
    require_signal,
)

TARGET_LUFS = -20.0  # loudness at the player, if no sound of the group would clip
LOWEST_LUFS = -32.0  # a group is made no quieter than this for the sake of one click in it
PEAK = 10 ** (-1 / 20)  # -1 dBFS: the browser resamples, and that may overshoot a little
SVG_LIMIT = 400_000  # bytes; a picture larger than this is smaller, and drawn faster, as PNG
WAVE_COLUMNS, WAVE_HEIGHT = 300, 100  # units of the drawing of a waveform


class Report:
    """A page that grows from top to bottom by calls, and is written by `save`.

    Everything is escaped. `text`, captions and notes understand a small markup: an empty line
    starts a new paragraph, lines that start with "- " are a list, and **bold**, `code` and
    [links](https://example.org) are what they look like.

    Parameters
    ----------
    title : the main heading, and the name of the browser's tab
    subtitle : one line below it
    """

    def __init__(self, title, subtitle=None):
        self.title = _require_text("title", title)
        self.subtitle = subtitle
        self._parts = []
        self._headings = []  # (level, text)
        self._n_groups = 0  # of players
        self._n_sounds = 0

    # Words -----------------------------------------------------------------------------------

    def heading(self, text, level=2):
        """Add a heading; level 2 opens a section, 3 a section inside it, and so on down to 4."""
        _require_text("heading", text)
        require_positive_integer("level", level)
        deepest = min(self._headings[-1][0] + 1, 4) if self._headings else 2
        if not 2 <= level <= deepest:
            raise ConfigError(
                f"level of heading {text!r} must be from 2 to {deepest} here (a heading is at "
                f"most one level below the one before it), got {level!r}"
            )
        self._headings.append((level, text))
        self._parts.append(f'<h{level} id="part-{len(self._headings)}">{_inline(text)}</h{level}>')

    def text(self, text):
        """Add paragraphs and lists, in the markup that the class describes."""
        self._parts.append(_paragraphs(_require_text("text", text)))

    def note(self, text):
        """Add a remark that is set apart from the text."""
        paragraphs = _paragraphs(_require_text("note", text))
        self._parts.append(f'<div class="note" role="note">\n{paragraphs}\n</div>')

    def code(self, text):
        """Add source code or a command, letter by letter as it is."""
        self._parts.append(
            '<pre class="card scroll" role="group" aria-label="Code"><code>'
            f"{html.escape(_require_text('code', text))}</code></pre>"
        )

    @contextlib.contextmanager
    def side_by_side(self):
        """Lay out what is added inside this `with` in columns, as many as the screen is wide."""
        self._parts.append('<div class="side-by-side">')
        try:
            yield
        finally:
            self._parts.append("</div>")

    # Pictures and numbers --------------------------------------------------------------------

    def figure(self, figure, caption, alt):
        """Add a matplotlib figure, sharp on every screen: as SVG, or as PNG if that is lighter.

        Draw at most 7 inches wide for a phone: a figure is never shown at less than half its
        size, and a wider one scrolls sideways inside its card.

        Parameters
        ----------
        figure : a matplotlib Figure, or Axes, which stand for the whole figure that they are in
        caption : what to see in it
        alt : the same for someone who cannot see it: what is drawn, and what it shows
        """
        _require_text("caption", caption)
        if not isinstance(alt, str) or not alt.strip():
            raise ConfigError(
                f"alt of figure {caption!r} must say in words what the figure shows, got {alt!r}"
            )
        source, width, height = _picture(figure)
        self._parts.append(
            '<figure class="card">\n'
            f'<div class="paper scroll" role="group" aria-label="{_attribute(caption)}">'
            f'<img src="{source}" alt="{_attribute(alt)}" width="{width}" height="{height}" '
            f'style="--width: {width}px"></div>\n'
            f"<figcaption>{_inline(caption)}</figcaption>\n</figure>"
        )

    def table(self, rows, header, caption, best=None, digits=3):
        """Add a table whose first column names its rows.

        Parameters
        ----------
        rows : list of rows; a cell is a string or a number
        header : list of str, one for each column
        caption : what the numbers are
        best : {column: max or min}, the columns in which the best value is set in bold
        digits : decimals of floats
        """
        _require_text("caption", caption)
        rows, header, best = [list(row) for row in rows], list(header), best or {}
        if not header:
            raise ShapeError(f"header of table {caption!r} must name at least one column, got none")
        for index, row in enumerate(rows):
            if len(row) != len(header):
                raise ShapeError(
                    f"rows[{index}] of table {caption!r} has {len(row)} cells, "
                    f"header has {len(header)}: {header}"
                )
        texts = [[_cell_text(cell, digits) for cell in row] for row in rows]
        best_texts = {
            name: _cell_text(choose(_numbers(rows, header, name, caption)), digits)
            for name, choose in best.items()
        }
        self._parts.append(
            f'<div class="card table scroll" role="group" aria-label="{_attribute(caption)}">\n'
            f"<table>\n<caption>{_inline(caption)}</caption>\n"
            f"{_table_rows(texts, header, best_texts)}\n</table>\n</div>"
        )

    # Sounds ----------------------------------------------------------------------------------

    def players(self, sounds, sr, caption, segments=None, match_loudness=True):
        """Add a group of players that share one position, to switch between sounds while they run.

        With `match_loudness` every sound is brought to one loudness, `TARGET_LUFS` or the highest
        that no sound of the group has to clip for. Without, one gain serves the whole group, so
        that levels stay true to each other: right for a sound and what was removed from it.
        A silent sound stays silent.

        Parameters
        ----------
        sounds : {label: (N,) or (2, N) signal}, or a list of such pairs; the lengths may differ
        sr : sampling rate in Hz, from 4000 to 192000
        caption : what to listen for
        segments : [(start, end), ...] in seconds, shaded on every waveform; or
            {label: [(start, end), ...]}, shaded on the waveforms that it names
        match_loudness : False keeps the differences in level
        """
        _require_text("caption", caption)
        require_positive_integer("sr", sr)
        if not 4000 <= sr <= 192_000:
            raise ConfigError(f"sr must be from 4000 to 192000 Hz, got {sr}")
        sounds = _require_sounds(sounds)
        segments = _require_segments(segments, sounds, sr)
        levels = {label: loudness(x, sr) for label, x in sounds.items()}
        gains = player_gains(list(sounds.values()), list(levels.values()), match_loudness)
        scaled = {label: g * x for (label, x), g in zip(sounds.items(), gains, strict=True)}
        longest = max(x.shape[-1] for x in sounds.values())
        peak = max(abs(x).max() for x in scaled.values()) or 1.0

        cards = []
        for key, (label, x) in enumerate(scaled.items(), start=1):
            self._n_sounds += 1
            wave = _waveform(x / peak, longest, segments[label], sr, f"wave-{self._n_sounds}")
            cards.append(_player(key, label, x, sr, gains[key - 1], levels[label], wave, longest))
        self._n_groups += 1
        if match_loudness:
            facts = "Loudness-matched: each card shows the gain of its player."
        else:
            facts = "One gain for all: the levels are true to each other."
        if self._n_groups == 1:
            facts += (
                '<span class="keys"> Keys: <kbd>1</kbd> to <kbd>9</kbd> switch at the same moment, '
                "<kbd>space</kbd> plays and pauses, <kbd>←</kbd> <kbd>→</kbd> move.</span>"
            )
        self._parts.append(
            f'<figure class="players" role="group" aria-label="{_attribute(caption)}">\n'
            '<div class="cards">\n' + "\n".join(cards) + "\n</div>\n"
            f"<figcaption>{_inline(caption)} <small>{facts}</small></figcaption>\n"
            "</figure>"
        )

    # The file --------------------------------------------------------------------------------

    def html(self):
        """Return the whole page as one string."""
        assets = resources.files("scratchaudio") / "report_assets"
        css = (assets / "page.css").read_text(encoding="utf-8")
        script = (assets / "page.js").read_text(encoding="utf-8")
        # Only this very script may run: even a hole in the escaping could not bring in another.
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = (
            "default-src 'none'; img-src data:; media-src data: blob:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        )
        subtitle = f'<p class="subtitle">{_inline(self.subtitle)}</p>\n' if self.subtitle else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            '<link rel="icon" href="data:,">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>\n{css}</style>\n"
            "<noscript><style>.icon, kbd, .seek, .time { display: none; }</style></noscript>\n"
            f"</head>\n<body>\n<header>\n<h1>{_inline(self.title)}</h1>\n{subtitle}</header>\n"
            f"{self._contents()}<main>\n" + "\n".join(self._parts) + "\n</main>\n"
            f"<footer>Made with scratchaudio {scratchaudio.__version__}. "
            "Everything is in this one file.</footer>\n"
            f"<script>{script}</script>\n</body>\n</html>\n"
        )

    def save(self, path, overwrite=False):
        """Write the page to `path`, whole or not at all; its folder is made if it is missing."""
        path = Path(path)
        if path.exists() and not overwrite:
            raise ConfigError(f"cannot write {path}: it exists; pass overwrite=True to replace it")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(self.html().encode())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _contents(self):
        """Links to the sections, once there are enough of them to get lost."""
        links = [
            f'<a href="#part-{number}">{_inline(text)}</a>'
            for number, (level, text) in enumerate(self._headings, start=1)
            if level == 2
        ]
        if len(links) < 3:
            return ""
        return '<nav aria-label="Contents">\n' + "\n".join(links) + "\n</nav>\n"


# Loudness ----------------------------------------------------------------------------------------


def loudness(x, sr):
    """Return the integrated loudness of a sound in LUFS; -inf if it is silent.

    The ear is less sensitive to low tones and a little more to those above 2 kHz, and we judge a
    sound by its louder parts, not by its pauses. So the signal passes two filters (a shelf that
    lifts the treble by 4 dB, and a high-pass at 38 Hz), its mean square z is taken in blocks of
    400 ms that overlap by 3/4, and quiet blocks are left out twice: those below -70 LUFS, and then
    those 10 dB below the mean of the rest,

        loudness = -0.691 + 10 log10(mean z over the blocks that remain)

    A sine of 997 Hz at full scale has -3.01 LUFS. A sound shorter than a block is one block.

    Parameters
    ----------
    x : (N,) or (channels, N) signal; the channels' powers add
    sr : sampling rate in Hz, at least 4000

    Returns
    -------
    float, in LUFS (dB relative to full scale, as heard)

    References
    ----------
    ITU-R BS.1770-4 (2015), Annex 1: K-weighting (tables 1 and 2) and gating (equations 2 to 7).
    """
    x = np.atleast_2d(require_signal("x", x)).astype(np.float64)
    weighted = scipy.signal.sosfilt(k_weighting(sr), x)  # (channels, N)
    power = (weighted**2).sum(axis=0)  # (N,)
    block = min(round(0.4 * sr), len(power))
    starts = np.arange(0, len(power) - block + 1, round(0.1 * sr))
    energy = np.concatenate([[0.0], np.cumsum(power)])  # (N + 1,)
    z = (energy[starts + block] - energy[starts]) / block  # (blocks,)
    z = z[z > 10 ** ((-70 + 0.691) / 10)]
    if len(z) == 0:
        return -math.inf
    z = z[z > 0.1 * z.mean()]
    return -0.691 + 10 * math.log10(z.mean())


def k_weighting(sr):
    """Return the two filters of BS.1770 as (2, 6) second-order sections, for any sampling rate.

    The standard gives coefficients for 48 kHz only. They are the bilinear transform, with
    k = tan(pi f / sr), of an analogue shelf and high-pass with the constants below, which
    therefore give the same filters at every rate.
    """
    k, q, gain = math.tan(math.pi * 1681.974450955533 / sr), 0.7071752369554196, 1.584864701130855
    middle = gain**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (gain + middle * k / q + k * k) / a0,
        2 * (k * k - gain) / a0,
        (gain - middle * k / q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    k, q = math.tan(math.pi * 38.13547087602444 / sr), 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, high_pass])


def player_gains(sounds, levels, match_loudness=True):
    """Return the gain of each sound of a group, such that no sample exceeds `PEAK`.

    One click needs much headroom. Rather than leave its sound quieter than the others, the whole
    group goes down together, but not below `LOWEST_LUFS`: from there on, that sound alone.

    Parameters
    ----------
    sounds : list of signals
    levels : list of their loudnesses in LUFS
    match_loudness : False: one gain for all, that of the loudest
    """
    peaks = [float(abs(x).max()) for x in sounds]
    ceilings = [PEAK / peak if peak > 0 else math.inf for peak in peaks]  # highest gains allowed
    audible = [i for i, level in enumerate(levels) if level > -math.inf]
    if not audible:
        return [min(1.0, ceiling) for ceiling in ceilings]
    if not match_loudness:
        common = min(10 ** ((TARGET_LUFS - max(levels)) / 20), *ceilings)
        return [common] * len(sounds)
    reachable = min(levels[i] + 20 * math.log10(ceilings[i]) for i in audible)
    target = min(TARGET_LUFS, max(reachable, LOWEST_LUFS))
    wanted = [10 ** ((target - level) / 20) if level > -math.inf else 1.0 for level in levels]
    return [min(gain, ceiling) for gain, ceiling in zip(wanted, ceilings, strict=True)]


# Pieces of HTML ----------------------------------------------------------------------------------


def _table_rows(texts, header, best_texts):
    """The head and the body of a table of strings."""
    # Numbers stand below each other digit by digit only when they are aligned to the right.
    number = re.compile(r"[-+\u2212]?\.?\d|\u2013$|$")
    css = [
        ' class="number"' if j > 0 and all(number.match(row[j]) for row in texts) else ""
        for j in range(len(header))
    ]
    names = [f'<th scope="col"{css[j]}>{_inline(name)}</th>' for j, name in enumerate(header)]
    lines = ["<thead><tr>" + "".join(names) + "</tr></thead>", "<tbody>"]
    for row in texts:
        cells = [f'<th scope="row">{_inline(row[0])}</th>']
        for j, text in enumerate(row[1:], start=1):
            is_best = best_texts.get(header[j]) == text
            content = f"<strong>{_inline(text)}</strong>" if is_best else _inline(text)
            cells.append(f"<td{css[j]}>{content}</td>")
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</tbody>"])


def _player(key, label, x, sr, gain, level, wave, longest):
    """The card of one sound: button, waveform to seek on, time, gain, and the sound itself."""
    name = _attribute(label)
    if level == -math.inf:
        shown, why = "silent", "No part of this sound reaches \u221270 LUFS."
    else:
        shown = f"{20 * math.log10(gain):+.1f} dB".replace("-", "\u2212")
        why = f"Gain at this player only. The sound itself has {level:.1f} LUFS."
    hint = f"<kbd>{key}</kbd>" if key <= 9 else ""
    return (
        '<div class="player">\n'
        f'<button type="button" class="play" aria-pressed="false" aria-label="Play {name}">'
        f'<span class="icon"></span><span class="label">{html.escape(label)}</span>{hint}'
        "</button>\n"
        f'<div class="wave">{wave}<input type="range" class="seek" min="0" '
        f'max="{longest / sr:.6g}" step="any" value="0" aria-label="Position in {name}"></div>\n'
        f'<div class="facts"><span class="time">{_clock(0)} / {_clock(x.shape[-1] / sr)}</span>'
        f'<span class="gain" title="{why}">{shown}</span></div>\n'
        f'<audio controls preload="metadata" src="{_flac(x, sr)}"></audio>\n</div>'
    )


def _flac(x, sr):
    """Encode a signal within [-1, 1) as a data URI of 16-bit FLAC."""
    pcm = np.rint(x.T * 32768).astype(np.int16)  # (N,) or (N, 2)
    file = io.BytesIO()
    soundfile.write(file, pcm, sr, format="FLAC", subtype="PCM_16")
    return _data_uri("audio/flac", file.getvalue())


def _waveform(x, longest, segments, sr, name):
    """Draw the envelope of x (peak 1) as SVG on a time axis of `longest` samples."""
    n = x.shape[-1]
    width = WAVE_COLUMNS * n / longest
    columns = max(1, min(round(width), n))
    starts = np.arange(columns) * n // columns
    x = np.atleast_2d(x)  # (channels, N)
    top = np.maximum.reduceat(x.max(axis=0), starts)
    bottom = np.minimum.reduceat(x.min(axis=0), starts)
    middle = WAVE_HEIGHT / 2
    upper = np.rint(middle - np.maximum(top * middle, 1)).astype(int)  # a hairline in silence
    lower = np.rint(middle - np.minimum(bottom * middle, -1)).astype(int)
    across = np.round((np.arange(columns) + 0.5) * width / columns, 1)
    points = [f"{a:g} {y}" for a, y in zip(across, upper, strict=True)]
    points += [f"{a:g} {y}" for a, y in zip(across[::-1], lower[::-1], strict=True)]
    per_second = WAVE_COLUMNS * sr / longest
    shades = "".join(
        f'<rect class="{css}" x="{start * per_second:.1f}" y="{y}" '
        f'width="{(end - start) * per_second:.1f}" height="{WAVE_HEIGHT - y}"/>'
        for start, end in segments
        for css, y in (("segment", 0), ("edge", WAVE_HEIGHT - 4))
    )
    size = f'width="{WAVE_COLUMNS}" height="{WAVE_HEIGHT}"'
    return (
        f'<svg viewBox="0 0 {WAVE_COLUMNS} {WAVE_HEIGHT}" preserveAspectRatio="none" '
        f'aria-hidden="true">{shades}<clipPath id="{name}"><path d="M{"L".join(points)}Z"/>'
        f'</clipPath><g clip-path="url(#{name})"><rect class="to-come" {size}/>'
        f'<rect class="played" {size}/></g></svg>'
    )


def _picture(figure):
    """Draw a matplotlib figure; return a data URI, and its width and height in CSS pixels."""
    import matplotlib

    figure = getattr(figure, "figure", figure)  # Axes know their figure
    if not hasattr(figure, "savefig"):
        raise ConfigError(
            f"figure must be a matplotlib Figure or Axes, got {type(figure).__name__}"
        )
    figure.draw_without_rendering()
    box = figure.get_tightbbox().padded(0.08)  # inches
    # A fixed salt and no date: the same figure gives the same bytes.
    settings = {"svg.hashsalt": "scratchaudio", "svg.fonttype": "path"}
    options = {"bbox_inches": box, "dpi": 192, "facecolor": "white"}  # 192: two per CSS pixel
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(settings):
        figure.savefig(svg, format="svg", metadata={"Date": None}, **options)
    if svg.tell() <= SVG_LIMIT:
        source = _data_uri("image/svg+xml", svg.getvalue())
    else:
        figure.savefig(png, format="png", **options)
        source = _data_uri("image/png", png.getvalue())
    return source, round(96 * box.width), round(96 * box.height)


def _paragraphs(text):
    """Markup -> <p> and <ul>."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if all(line.startswith("- ") for line in lines):
            items = "\n".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
            blocks.append(f"<ul>\n{items}\n</ul>")
        else:
            blocks.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(blocks)


_MARKUP = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|\[(?P<words>[^\]]+)\]\((?P<address>(?:https?://|#)[^\s)]+)\)"
)


def _inline(text):
    """Escape, then turn `code`, **bold** and [links](...) into elements."""

    def element(match):
        if match["code"]:
            return f"<code>{match['code']}</code>"
        if match["bold"]:
            return f"<strong>{_MARKUP.sub(element, match['bold'])}</strong>"
        return f'<a href="{match["address"]}">{match["words"]}</a>'

    return _MARKUP.sub(element, html.escape(text))


def _attribute(text):
    """Text for an attribute: markup signs dropped, escaped."""
    plain = _MARKUP.sub(lambda match: match["code"] or match["bold"] or match["words"], text)
    return html.escape(plain)


def _data_uri(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _clock(seconds):
    """Seconds -> "1:07.4"."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _cell_text(cell, digits):
    """A number or a string -> what stands in the table; what is not a number is a dash."""
    if isinstance(cell, str):
        return cell
    if cell is None or cell != cell:
        return "\u2013"
    if isinstance(cell, float | np.floating):
        return f"{cell:.{digits}f}".replace("-", "\u2212")
    return str(cell).replace("-", "\u2212")


# Checks of arguments -----------------------------------------------------------------------------


def _require_text(name, text):
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{name} must be a string that is not empty, got {text!r}")
    return text


def _numbers(rows, header, name, caption):
    """The numbers of the column that `best` names."""
    if name not in header:
        raise ConfigError(f"best names {name!r}, but the columns of {caption!r} are {header}")
    cells = [row[header.index(name)] for row in rows]
    numbers = [cell for cell in cells if isinstance(cell, int | float | np.number) and cell == cell]
    if not numbers:
        raise ConfigError(f"best names {name!r}, a column of table {caption!r} without numbers")
    return numbers


def _require_sounds(sounds):
    """Return {label: float64 signal} after every check."""
    pairs = list(sounds.items()) if hasattr(sounds, "items") else list(sounds)
    if not pairs:
        raise ConfigError("sounds must hold at least one sound, got none")
    checked = {}
    for label, x in pairs:
        _require_text("label of a sound", label)
        if label in checked:
            raise ConfigError(f"sounds has the label {label!r} twice; each needs its own")
        x = require_signal(f"sounds[{label!r}]", x)
        if x.ndim > 2 or (x.ndim == 2 and x.shape[0] not in (1, 2)):
            raise ShapeError(
                f"sounds[{label!r}] must have shape (N,) or (channels, N) with one or two "
                f"channels, got {x.shape}"
            )
        checked[label] = (x[0] if x.shape[0] == 1 and x.ndim == 2 else x).astype(np.float64)
    if len({x.ndim for x in checked.values()}) > 1:
        shapes = {label: x.shape for label, x in checked.items()}
        raise ShapeError(f"the sounds of a group must be all mono or all stereo, got {shapes}")
    return checked


def _require_segments(segments, sounds, sr):
    """Return {label: [(start, end), ...]} for every sound."""
    if segments is None:
        segments = {}
    elif not hasattr(segments, "items"):
        segments = dict.fromkeys(sounds, segments)
    unknown = sorted(set(segments) - set(sounds))
    if unknown:
        raise ConfigError(f"segments names {unknown}, but the sounds are {list(sounds)}")
    checked = {label: [] for label in sounds}
    for label, pairs in segments.items():
        duration = sounds[label].shape[-1] / sr
        for start, end in pairs:
            if not 0 <= start < end <= duration + 0.1:  # a last frame may stand out a little
                raise ConfigError(
                    f"segments of {label!r} must satisfy 0 <= start < end <= {duration:.3f} s, "
                    f"got ({start}, {end})"
                )
            checked[label].append((float(start), min(float(end), duration)))
    return checked
