"""Groups of players for `report`: sounds at one loudness, drawn, to switch between as they run.

A group holds several sounds of one moment: noisy, enhanced, clean. Each has a *card* with a button,
the drawing of its waveform to seek on, and the sound itself. Where a slider chooses one of several
levels (of noise, say), a card has several *takes*, one for each level, or a single one if the
sound is the same at all of them. `report_assets/page.js` plays them.

Sounds are compared fairly only when they are equally loud: of two equal sounds, people prefer the
louder one. So the sounds of a group, with all their takes, are brought to one loudness *at the
player*; nothing that is measured ever sees that gain, and the page states it for every sound.

Sounds are stored as 16-bit FLAC: every current browser decodes it, it has exactly as many samples
as the signal (MP3 and AAC add silence at both ends), and it is smaller than WAV.

N samples, sr sampling rate in Hz, L levels of a slider.
"""

import html
import io
import math
from typing import Any, NamedTuple

import numpy as np
import soundfile

from scratchaudio.dsp.loudness import loudness
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal
from scratchaudio.report_html import attribute, data_uri, inline, pictures, require_text, table

TARGET_LUFS = -20.0  # loudness at the player, if no sound of the group would clip
LOWEST_LUFS = -32.0  # a group is made no quieter than this for the sake of one click in it
PEAK = 10 ** (-1 / 20)  # -1 dBFS: the browser resamples, and that may overshoot a little
WAVE_COLUMNS, WAVE_HEIGHT = 300, 100  # units of the drawing of a waveform
LEVEL_SVG_LIMIT = 60_000  # bytes; there is a picture for each level, so they must be lighter


class Level(NamedTuple):
    """What there is to hear and to see at one position of a slider.

    Attributes
    ----------
    value : number, the position
    sounds : {label: (N,) or (2, N) signal}
    figure : matplotlib Figure or Axes, or None
    alt : what the figure shows, in words
    scores : {measure: {label: number}}, or None
    """

    value: float
    sounds: dict
    figure: Any = None
    alt: str | None = None
    scores: dict | None = None


# Groups ------------------------------------------------------------------------------------------


def player_cards(takes, sr, group, segments=None, match_loudness=True, marks=None):
    """Return the cards of a group as HTML.

    Parameters
    ----------
    takes : {label: list of one signal, or of one for each level}, all of them checked
    sr : sampling rate in Hz
    group : number of the group on its page
    segments : {label: [(start, end), ...]} in seconds
    match_loudness : as for `Report.players`; over all takes together
    marks : list of (attributes, name) for each level; None without levels
    """
    signals = [x for of_label in takes.values() for x in of_label]
    levels = [loudness(x, sr) for x in signals]
    gains = player_gains(signals, levels, match_loudness)
    longest = max(x.shape[-1] for x in signals)
    peak = max(g * abs(x).max() for g, x in zip(gains, signals, strict=True)) or 1.0

    measured = zip(levels, gains, strict=True)
    cards = []
    for key, (label, of_label) in enumerate(takes.items(), start=1):
        waves, facts, sounds = [], [], []
        for index, x in enumerate(of_label):
            level, gain = next(measured)
            extra, name = marks[index] if len(of_label) > 1 else ("", "")
            wave_id = f"wave-{group}-{key}-{index + 1}"
            shades = segments[label] if segments else []
            waves.append(_waveform(gain * x / peak, longest, shades, sr, wave_id, extra))
            facts.append(_gain_text(gain, level, extra))
            if name:
                sounds.append(_level_name(name))
            # A browser allows only so many players at a time: 40 on some phones.
            preload = "none" if name else "metadata"
            sounds.append(
                f'<audio controls preload="{preload}"{extra} src="{_flac(gain * x, sr)}"></audio>'
            )
        duration = of_label[0].shape[-1] / sr
        cards.append(_card(key, label, duration, longest / sr, waves, facts, sounds))
    return '<div class="cards">\n' + "\n".join(cards) + "\n</div>"


def level_views(levels, sr, group, name, unit, start, best, digits):
    """Return slider, cards, pictures and scores of all levels as HTML.

    What belongs to one level only carries its index in `data-level`: the script hides the others.
    The arguments are those of `Report.level_slider`, checked; `start` is an index.
    """
    texts = [_level_text(level.value, unit) for level in levels]
    names = [f"{name} {text}" for text in texts]
    marks = [
        f' data-level="{index}"' + (" data-start" if index == start else "")
        for index in range(len(levels))
    ]
    views = []
    if levels[0].figure is not None:
        views.append(_level_pictures(levels, names, marks))
    if levels[0].scores is not None:
        views += _level_scores(levels, names, marks, best, digits)
    takes = {}
    for label in levels[0].sounds:
        signals = [level.sounds[label] for level in levels]
        same = all(np.array_equal(signals[0], x) for x in signals[1:])
        takes[label] = signals[:1] if same else signals
    cards = player_cards(takes, sr, group, marks=list(zip(marks, names, strict=True)))
    shown = '\n<div class="views">\n' + "\n".join(views) + "\n</div>" if views else ""
    return f"{_slider(group, name, levels, texts, start)}\n{cards}{shown}"


def _level_pictures(levels, names, marks):
    """One card with the pictures of all levels."""
    papers = pictures(
        [level.figure for level in levels],
        [level.alt for level in levels],
        names,
        limit=LEVEL_SVG_LIMIT,
        pixels="webp",
        extra=marks,
    )
    named = [f"{_level_name(name)}\n{paper}" for name, paper in zip(names, papers, strict=True)]
    return '<div class="card">\n' + "\n".join(named) + "\n</div>"


def _level_scores(levels, names, marks, best, digits):
    """A table for each level, with a row for each sound that has a score at any of them."""
    measures = list(levels[0].scores)
    scored = {label for level in levels for of_label in level.scores.values() for label in of_label}
    labels = [label for label in levels[0].sounds if label in scored]
    return [
        table(
            [[label, *(level.scores[m].get(label) for m in measures)] for label in labels],
            ["Sound", *measures],
            name,
            best,
            digits,
            mark,
        )
        for level, name, mark in zip(levels, names, marks, strict=True)
    ]


def _slider(group, name, levels, texts, start):
    """The slider, the value it has, and a tick for each level."""
    ticks = "".join(
        f'<span data-text="{html.escape(text)}">{_level_text(level.value, "")}</span>'
        for level, text in zip(levels, texts, strict=True)
    )
    return (
        '<div class="level">\n'
        f'<label for="level-{group}">{inline(name)}</label>\n'
        f'<output for="level-{group}" aria-live="off">{html.escape(texts[start])}</output>\n'
        f'<input type="range" id="level-{group}" min="0" max="{len(levels) - 1}" step="1" '
        f'value="{start}" aria-valuetext="{html.escape(texts[start])}" autocomplete="off">\n'
        f'<div class="ticks" aria-hidden="true">{ticks}</div>\n</div>'
    )


def _level_name(name):
    """What tells the levels apart where they are all shown: without script."""
    return f'<span class="level-name">{html.escape(name)}</span>'


def _level_text(value, unit):
    """A level as it is read: -5, "dB" -> a true minus sign, 5, a space, dB."""
    number = f"{value:g}".replace("-", "\u2212")
    return f"{number} {unit}" if unit else number


# Loudness ----------------------------------------------------------------------------------------


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


# One card ----------------------------------------------------------------------------------------


def _card(key, label, duration, longest, waves, facts, sounds):
    """The card of one sound: button, waveform to seek on, time, gain, and the sound itself."""
    name = attribute(label)
    hint = f"<kbd>{key}</kbd>" if key <= 9 else ""
    return (
        '<div class="player">\n'
        f'<button type="button" class="play" aria-pressed="false" aria-label="Play {name}">'
        f'<span class="icon"></span><span class="label">{html.escape(label)}</span>{hint}'
        "</button>\n"
        f'<div class="wave">{"".join(waves)}<input type="range" class="seek" min="0" '
        f'max="{longest:.6g}" step="any" value="0" aria-label="Position in {name}"></div>\n'
        f'<div class="facts"><span class="time">{clock(0)} / {clock(duration)}</span>'
        f"{''.join(facts)}</div>\n" + "\n".join(sounds) + "\n</div>"
    )


def _gain_text(gain, level, extra):
    """What the player adds to the sound, in dB."""
    if level == -math.inf:
        shown, why = "silent", "No part of this sound reaches \u221270 LUFS."
    else:
        shown = f"{20 * math.log10(gain):+.1f} dB".replace("-", "\u2212")
        why = f"Gain at this player only. The sound itself has {level:.1f} LUFS."
    return f'<span class="gain" title="{why}"{extra}>{shown}</span>'


def _flac(x, sr):
    """Encode a signal within [-1, 1) as a data URI of 16-bit FLAC."""
    pcm = np.rint(x.T * 32768).astype(np.int16)  # (N,) or (N, 2)
    file = io.BytesIO()
    soundfile.write(file, pcm, sr, format="FLAC", subtype="PCM_16")
    return data_uri("audio/flac", file.getvalue())


def _waveform(x, longest, segments, sr, name, extra):
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
        f'aria-hidden="true"{extra}>{shades}<clipPath id="{name}"><path d="M{"L".join(points)}Z"/>'
        f'</clipPath><g clip-path="url(#{name})"><rect class="to-come" {size}/>'
        f'<rect class="played" {size}/></g></svg>'
    )


def clock(seconds):
    """Seconds -> "1:07.4"."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


# Checks of arguments -----------------------------------------------------------------------------


def require_rate(sr):
    """Raise `ConfigError` unless browsers play this sampling rate."""
    require_positive_integer("sr", sr)
    if not 4000 <= sr <= 192_000:
        raise ConfigError(f"sr must be from 4000 to 192000 Hz, got {sr}")


def require_sounds(sounds, where="sounds"):
    """Return {label: float64 signal} after every check."""
    pairs = list(sounds.items()) if hasattr(sounds, "items") else list(sounds)
    if not pairs:
        raise ConfigError(f"{where} must hold at least one sound, got none")
    checked = {}
    for label, x in pairs:
        require_text("label of a sound", label)
        if label in checked:
            raise ConfigError(f"{where} has the label {label!r} twice; each needs its own")
        x = require_signal(f"{where}[{label!r}]", x)
        if x.ndim > 2 or (x.ndim == 2 and x.shape[0] not in (1, 2)):
            raise ShapeError(
                f"{where}[{label!r}] must have shape (N,) or (channels, N) with one or two "
                f"channels, got {x.shape}"
            )
        checked[label] = (x[0] if x.shape[0] == 1 and x.ndim == 2 else x).astype(np.float64)
    if len({x.ndim for x in checked.values()}) > 1:
        shapes = {label: x.shape for label, x in checked.items()}
        raise ShapeError(f"the sounds of a group must be all mono or all stereo, got {shapes}")
    return checked


def require_segments(segments, sounds, sr):
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


def require_levels(levels):
    """Return the levels with checked sounds: rising values, and the same kinds of things in all."""
    levels = [_require_level(index, level) for index, level in enumerate(levels)]
    if len(levels) < 2:
        raise ConfigError(f"levels must hold at least 2 levels to slide between, got {len(levels)}")
    for index in range(1, len(levels)):
        _require_rising(index, levels[index - 1].value, levels[index].value)
        _require_alike(index, levels[0], levels[index])
    return levels


def _require_rising(index, before, value):
    if not value > before:
        raise ConfigError(
            f"the values of levels must rise, but levels[{index}] has {value!r} after {before!r}"
        )
    if _level_text(value, "") == _level_text(before, ""):
        raise ConfigError(
            f"levels[{index - 1}] and levels[{index}] would both be called "
            f"{_level_text(value, '')}: six digits are shown"
        )


def _require_alike(index, first, level):
    """A level must have what the first one has."""
    if list(level.sounds) != list(first.sounds):
        raise ConfigError(
            f"every level must have the same sounds in the same order: levels[0] has "
            f"{list(first.sounds)}, levels[{index}] has {list(level.sounds)}"
        )
    for label, x in level.sounds.items():
        if x.shape != first.sounds[label].shape:
            raise ShapeError(
                f"{label!r} must have the same shape at every level, to go on at the same "
                f"position: levels[0] has {first.sounds[label].shape}, levels[{index}] has "
                f"{x.shape}"
            )
    if (level.figure is None) != (first.figure is None):
        has, lacks = (index, 0) if first.figure is None else (0, index)
        raise ConfigError(
            f"every level must have a figure, or none: levels[{has}] has one, levels[{lacks}] not"
        )
    if _measures(level) != _measures(first):
        raise ConfigError(
            f"every level must have the same scores in the same order: levels[0] has "
            f"{_measures(first)}, levels[{index}] has {_measures(level)}"
        )


def _measures(level):
    return None if level.scores is None else list(level.scores)


def _require_level(index, level):
    """Return one level with its sounds checked."""
    if not isinstance(level, Level):
        raise ConfigError(
            f"levels[{index}] must be a Level(value, sounds, ...), got {type(level).__name__}"
        )
    number = isinstance(level.value, int | float | np.number) and not isinstance(level.value, bool)
    if not number or not math.isfinite(level.value):
        raise ConfigError(f"value of levels[{index}] must be a finite number, got {level.value!r}")
    sounds = require_sounds(level.sounds, f"levels[{index}].sounds")
    if level.scores is not None and not level.scores:
        raise ConfigError(f"scores of levels[{index}] must be None or name a measure, got {{}}")
    for measure, of_label in (level.scores or {}).items():
        require_text(f"a measure in scores of levels[{index}]", measure)
        if not hasattr(of_label, "items"):
            raise ConfigError(
                f"scores of levels[{index}] must be {{measure: {{label: number}}}}, but there is "
                f"{measure!r}: {of_label!r}"
            )
        unknown = [label for label in of_label if label not in sounds]
        if unknown:
            raise ConfigError(
                f"scores of levels[{index}] has {measure!r} of {unknown}, but the sounds are "
                f"{list(sounds)}"
            )
    return level._replace(sounds=sounds)


def require_start(start, levels):
    """Return the index of the level whose value is `start`; without one, that of the first."""
    values = [level.value for level in levels]
    if start is None:
        return 0
    if start not in values:
        raise ConfigError(f"start must be the value of a level, one of {values}, got {start!r}")
    return values.index(start)
