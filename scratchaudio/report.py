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

A slider over pre-rendered levels lets one hear and see what a setting does, as it is moved:

    levels = [Level(v, {"Noisy": noisy(v), "Network": enhanced(v)}) for v in (0, 0.05, 0.1)]
    page.level_slider(levels, sr, "More noise, same voice.", name="Noise level")

N samples, sr sampling rate in Hz. The groups of players are made in `report_players.py` (how sounds
are compared fairly stands there), words, tables and pictures in `report_html.py`. The look is
`report_assets/page.css`, what happens on a click or a key is `report_assets/page.js`; both are
copied into the page as they are.
"""

import base64
import contextlib
import hashlib
import html
import os
from importlib import resources
from pathlib import Path

import scratchaudio
from scratchaudio.errors import ConfigError, require_positive_integer
from scratchaudio.report_html import attribute, inline, paragraphs, pictures, require_text, table
from scratchaudio.report_players import (
    Level,
    level_views,
    player_cards,
    require_levels,
    require_rate,
    require_segments,
    require_sounds,
    require_start,
)

__all__ = ["Level", "Report"]

# Without script: the browser's own players, and all levels of a slider one below the other.
NO_SCRIPT = (
    ".icon, kbd, .seek, .time, .level, .levels .wave, .levels .facts { display: none; } "
    ".levels .level-name, .levels [data-level] { display: block !important; }"
)


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
        self.title = require_text("title", title)
        self.subtitle = subtitle
        self._parts = []
        self._headings = []  # (level, text)
        self._n_groups = 0  # of players

    # Words -----------------------------------------------------------------------------------

    def heading(self, text, level=2):
        """Add a heading; level 2 opens a section, 3 a section inside it, and so on down to 4."""
        require_text("heading", text)
        require_positive_integer("level", level)
        deepest = min(self._headings[-1][0] + 1, 4) if self._headings else 2
        if not 2 <= level <= deepest:
            raise ConfigError(
                f"level of heading {text!r} must be from 2 to {deepest} here (a heading is at "
                f"most one level below the one before it), got {level!r}"
            )
        self._headings.append((level, text))
        self._parts.append(f'<h{level} id="part-{len(self._headings)}">{inline(text)}</h{level}>')

    def text(self, text):
        """Add paragraphs and lists, in the markup that the class describes."""
        self._parts.append(paragraphs(require_text("text", text)))

    def note(self, text):
        """Add a remark that is set apart from the text."""
        remark = paragraphs(require_text("note", text))
        self._parts.append(f'<div class="note" role="note">\n{remark}\n</div>')

    def code(self, text):
        """Add source code or a command, letter by letter as it is."""
        self._parts.append(
            '<pre class="card scroll" role="group" aria-label="Code"><code>'
            f"{html.escape(require_text('code', text))}</code></pre>"
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
        require_text("caption", caption)
        (paper,) = pictures([figure], [alt], [caption])
        self._parts.append(
            f'<figure class="card">\n{paper}\n<figcaption>{inline(caption)}</figcaption>\n</figure>'
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
        self._parts.append(table(rows, header, caption, best, digits))

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
        require_text("caption", caption)
        require_rate(sr)
        sounds = require_sounds(sounds)
        segments = require_segments(segments, sounds, sr)
        takes = {label: [x] for label, x in sounds.items()}
        cards = player_cards(takes, sr, self._n_groups + 1, segments, match_loudness)
        if match_loudness:
            facts = "Loudness-matched: each card shows the gain of its player."
        else:
            facts = "One gain for all: the levels are true to each other."
        self._add_group(cards, caption, facts)

    def level_slider(self, levels, sr, caption, *, name, unit="", start=None, best=None, digits=2):
        """Add a group of players with a slider that takes all of them to another level at once.

        Everything is made beforehand, for each of the levels; the page only chooses. When the
        slider moves while a sound plays, the same sound of the new level goes on at the same
        position, and waveforms, picture and scores change with it. All sounds of all levels have
        one loudness, so that the slider changes the sound and not the volume. A sound that is the
        same at every level is stored once.

        A second of 16 kHz sound takes some 30 kB for each label and level. Pictures that are not
        simple drawings are stored as WebP, which loses a little.

        Without JavaScript there is no slider: each card then lists its sounds level by level
        with the browser's own controls, and pictures and scores stand one below the other.

        Parameters
        ----------
        levels : list of at least two `Level`, their values rising, with the same sounds at every
            level; a figure (with its alt) and scores at all levels or at none
        sr : sampling rate in Hz, from 4000 to 192000
        caption : what to listen for
        name : what the slider sets: "Noise level"
        unit : of its values, such as "dB"
        start : value of the level shown first; None: that of the first level
        best : {measure: max or min}, the scores of which the best value is set in bold
        digits : decimals of scores
        """
        require_text("caption", caption)
        require_text("name", name)
        if not isinstance(unit, str):
            raise ConfigError(f"unit must be a string, got {unit!r}")
        require_rate(sr)
        levels = require_levels(levels)
        start = require_start(start, levels)
        views = level_views(levels, sr, self._n_groups + 1, name, unit, start, best, digits)
        facts = "Loudness-matched over all levels: each card shows the gain of its player."
        self._add_group(views, caption, facts, css="players levels")

    def _add_group(self, content, caption, facts, css="players"):
        """Add a group of players; the first of the page explains the keys."""
        self._n_groups += 1
        if self._n_groups == 1:
            facts += (
                '<span class="keys"> Keys: <kbd>1</kbd> to <kbd>9</kbd> switch at the same moment, '
                "<kbd>space</kbd> plays and pauses, <kbd>←</kbd> <kbd>→</kbd> move.</span>"
            )
        self._parts.append(
            f'<figure class="{css}" role="group" aria-label="{attribute(caption)}">\n{content}\n'
            f"<figcaption>{inline(caption)} <small>{facts}</small></figcaption>\n</figure>"
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
        subtitle = f'<p class="subtitle">{inline(self.subtitle)}</p>\n' if self.subtitle else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            '<link rel="icon" href="data:,">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>\n{css}</style>\n"
            f"<noscript><style>{NO_SCRIPT}</style></noscript>\n"
            f"</head>\n<body>\n<header>\n<h1>{inline(self.title)}</h1>\n{subtitle}</header>\n"
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
            f'<a href="#part-{number}">{inline(text)}</a>'
            for number, (level, text) in enumerate(self._headings, start=1)
            if level == 2
        ]
        if len(links) < 3:
            return ""
        return '<nav aria-label="Contents">\n' + "\n".join(links) + "\n</nav>\n"
