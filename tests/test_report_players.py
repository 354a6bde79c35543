"""Players and sliders as text: what is embedded, aligned, equally loud and refused."""

import base64
import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from outline import SR, Outline, decoded, noise
from PIL import Image

from scratchaudio import report_players
from scratchaudio.dsp.loudness import loudness
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError
from scratchaudio.report import Level, Report
from scratchaudio.report_players import player_gains

# Gains -------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.booleans())
def test_gains_make_a_group_equally_loud_and_never_clip(seed, n_sounds, with_click):
    rng = np.random.default_rng(seed)
    sounds = [
        10 ** rng.uniform(-2.5, 1) * rng.standard_normal(rng.integers(8_000, 20_000))
        for _ in range(n_sounds)
    ]
    if with_click:
        sounds[0][100] = 300 * np.abs(sounds[0]).max()
    gains = player_gains(sounds, [loudness(x, SR) for x in sounds])
    played = [gain * x for gain, x in zip(gains, sounds, strict=True)]
    levels = [loudness(x, SR) for x in played]
    peaks = [np.abs(x).max() for x in played]
    assert max(peaks) <= report_players.PEAK * (1 + 1e-12)
    assert max(levels) <= report_players.TARGET_LUFS + 1e-6
    limited = [peak > 0.999 * report_players.PEAK for peak in peaks]
    free = [level for level, is_limited in zip(levels, limited, strict=True) if not is_limited]
    assert not free or max(free) - min(free) <= 1e-6
    if not with_click:
        assert max(levels) - min(levels) <= 1e-6
    assert not free or min(free) >= report_players.LOWEST_LUFS - 1e-6


def test_a_group_goes_down_together_for_a_peak_but_not_for_ever():
    """A sound of -20 LUFS whose peak is 1 allows -21 LUFS; one of -40 LUFS is left behind."""
    flat, peaky, click = np.full(9, 0.1), np.array([1.0, 0.1]), np.array([0.0, -1.0])
    assert player_gains([flat], [-30]) == pytest.approx([10 ** (10 / 20)])
    gains = player_gains([flat, peaky], [-30, -20])
    assert gains == pytest.approx([10 ** (9 / 20), 10 ** (-1 / 20)])
    gains = player_gains([flat, peaky, click], [-30, -20, -40])
    assert gains == pytest.approx([10 ** (-2 / 20), 10 ** (-12 / 20), 10 ** (-1 / 20)])


def test_gains_of_silence_and_of_one_gain_for_all():
    loud, soft, silent = noise(1, 0.3, 1), noise(1, 0.003, 2), np.zeros(SR)
    levels = [loudness(x, SR) for x in (loud, soft, silent)]
    gains = player_gains([loud, soft, silent], levels)
    assert gains[2] == 1.0
    one = player_gains([loud, soft, silent], levels, match_loudness=False)
    assert one[0] == one[1] == one[2]
    assert abs(loudness(one[0] * loud, SR) - report_players.TARGET_LUFS) <= 1e-6
    assert player_gains([silent, silent], [-math.inf, -math.inf]) == [1.0, 1.0]


# Players -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(), (1,), (2,)])
@pytest.mark.parametrize("match", [True, False])
def test_players_hold_the_sound_times_the_gain_that_they_state(channels, match):
    sounds = {
        "a": noise(0.51, 0.1, 1, channels),
        "b": noise(0.47, 0.02, 2, channels).astype(np.float32),
    }
    copies = {label: x.copy() for label, x in sounds.items()}
    for x in sounds.values():
        x.flags.writeable = False
    page = Report("Title")
    page.players(sounds, SR, "Two.", match_loudness=match)
    outline = Outline(page.html())
    plain = [np.squeeze(x).astype(np.float64) for x in sounds.values()]
    gains = player_gains(plain, [loudness(x, SR) for x in plain], match)
    levels = []
    for label, x, gain, audio, stated in zip(
        sounds, plain, gains, outline.all("audio"), outline.all("span", "gain"), strict=True
    ):
        assert np.array_equal(sounds[label], copies[label]), "the sound itself must stay as it is"
        y, sr = decoded(audio)
        assert sr == SR and y.shape == x.shape
        assert np.abs(y - gain * x).max() <= 0.5001 / 32768, "more than rounding to 16 bits"
        stated_db = float(stated["text"].removesuffix(" dB").replace("\u2212", "-"))
        assert abs(20 * math.log10(gain) - stated_db) <= 0.06
        levels.append(loudness(y, SR))
    if match:
        assert abs(levels[0] - levels[1]) <= 0.1
        assert abs(levels[0] - report_players.TARGET_LUFS) <= 0.1
    else:
        expected = [loudness(x, SR) for x in sounds.values()]
        assert abs(np.diff(levels) - np.diff(expected)) <= 0.1


def test_silent_and_one_sample_sounds_play():
    page = Report("Title")
    page.players({"silence": np.zeros(SR), "one": np.array([0.5]), "some": noise(1, 3, 1)}, SR, "?")
    outline = Outline(page.html())
    assert [e["text"] for e in outline.all("span", "gain")][0] == "silent"
    silence, one, some = (decoded(audio)[0] for audio in outline.all("audio"))
    assert len(silence) == SR and not silence.any()
    assert one.shape == (1,) and np.abs(some).max() < 0.9


def test_a_pair_list_is_a_dictionary_too():
    x, y = noise(0.2, 0.1, 1), noise(0.2, 0.1, 2)
    pages = Report("Title"), Report("Title")
    pages[0].players({"a": x, "b": y}, SR, "Two.")
    pages[1].players([("a", x), ("b", y)], SR, "Two.")
    assert pages[0].html() == pages[1].html()


def test_the_waveform_shows_where_the_sound_is():
    """A burst from 1 to 2 s of 4 s: high between columns 75 and 150, a hairline elsewhere."""
    x = np.zeros(4 * SR)
    x[SR : 2 * SR] = np.where(np.arange(SR) % 2, 0.5, -0.25)
    page = Report("Title")
    sounds = {"burst": x, "half": x[: 2 * SR]}
    page.players(sounds, SR, "One.", segments={"half": [(0.5, 2)]}, match_loudness=False)
    outline = Outline(page.html())
    for path, last in zip(outline.all("path"), (300, 150), strict=True):
        points = re.findall(r"[ML]([\d.]+) (\d+)", path["d"])
        columns = np.array([float(across) for across, _ in points])
        heights = np.array([int(height) for _, height in points])
        assert columns.min() >= 0 and last - 2 <= columns.max() <= last
        inside = (columns > 75) & (columns < 150)
        assert set(heights[inside]) == {0, 75}, "peak 1 up and half of it down, 50 the middle"
        assert set(heights[~inside]) == {49, 51}
    (segment,) = outline.all("rect", "segment")
    assert (float(segment["x"]), float(segment["width"])) == (37.5, 112.5)
    assert [e["max"] for e in outline.all("input")] == ["4", "4"], "one time axis for the group"
    assert [e["text"] for e in outline.all("span", "time")] == [
        "0:00.0 / 0:04.0",
        "0:00.0 / 0:02.0",
    ]


def test_segments_for_all_or_by_label():
    x = noise(1, 0.1, 1)
    page = Report("Title")
    page.players({"a": x, "b": x}, SR, "All.", segments=np.array([[0, 0.5], [0.75, 1.04]]))
    widths = [float(e["width"]) for e in Outline(page.html()).all("rect", "segment")]
    assert widths == [150, 75, 150, 75], "an end within the last frame is drawn to the end"


def test_player_errors_name_the_label():
    page, x = Report("Title"), noise(1, 0.1, 1)
    bad = x.copy()
    bad[3] = np.nan
    for sounds, error, message in [
        ({"b": bad}, ShapeError, r"sounds\['b'\] must be finite, but sounds\['b'\]\[3\] is nan"),
        ({"b": x[:0]}, ShapeError, r"sounds\['b'\] must hold at least one sample"),
        ({"b": np.zeros(9, np.int16)}, ShapeError, r"sounds\['b'\] .* got dtype int16"),
        ({"b": np.zeros((9, 2))}, ShapeError, r"sounds\['b'\] .* channels, got \(9, 2\)"),
        ({"a": x, "b": np.stack([x, x])}, ShapeError, "all mono or all stereo, got {'a'"),
        ([("b", x), ("b", x)], ConfigError, "the label 'b' twice"),
        ({"": x}, ConfigError, "label of a sound must be a string that is not empty, got ''"),
        ({}, ConfigError, "at least one sound, got none"),
    ]:
        with pytest.raises(error, match=message):
            page.players(sounds, SR, "Caption.")
    for sr, message in [
        (2000, "from 4000 to 192000 Hz, got 2000"),
        (16e3, "sr must be an integer"),
    ]:
        with pytest.raises(ConfigError, match=message):
            page.players({"a": x}, sr, "Caption.")
    for segments, message in [
        ({"c": [(0, 1)]}, r"segments names \['c'\], but the sounds are \['a'\]"),
        ([(0.5, 1.5)], r"segments of 'a' must satisfy .* <= 1.000 s, got \(0.5, 1.5\)"),
        ([(0.5, 0.2)], r"segments of 'a'"),
        ([(0.5, math.nan)], r"segments of 'a'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            page.players({"a": x}, SR, "Caption.", segments=segments)
    with pytest.raises(ScratchAudioError, match="caption must be a string that is not empty"):
        page.players({"a": x}, SR, "")
    assert Outline(page.html()).all("audio") == [], "what was refused leaves no trace"


@given(st.floats(0, 36_000))
def test_clock(seconds):
    text = report_players.clock(seconds)
    minutes, rest = re.fullmatch(r"(\d+):(\d\d\.\d)", text).groups()
    assert float(rest) < 60
    assert abs(60 * int(minutes) + float(rest) - seconds) <= 0.05 + 1e-6


# Levels ------------------------------------------------------------------------------------------

VALUES = (-5, 0, 0.125, 10)


def drawing(value, width=4.0):
    figure = Figure(figsize=(width, 2))
    figure.subplots().plot([0, 1], [value, 1])
    return figure


def four_levels(**changes):
    """A sound that changes, a shorter one of another loudness, and one that is always the same."""
    clean = np.sin(2 * np.pi * 440 * np.arange(SR) / SR)
    return [
        Level(
            value,
            {
                "Noisy": 0.1 * clean + noise(1, 0.02 * (k + 1), k),
                "Short": noise(0.6, 0.3 / (k + 1), 9 + k).astype(np.float32),
                "Clean": 0.1 * clean,
            },
            drawing(value),
            f"A line from {value}.",
            {"SNR (dB)": {"Noisy": 5.0 - k, "Clean": math.inf}, "STOI": {"Noisy": 0.9 - 0.1 * k}},
        )._replace(**changes)
        for k, value in enumerate(VALUES)
    ]


def level_page(levels=None, **options):
    page = Report("Title")
    options = {"name": "Noise <level>", "unit": "dB", **options}
    page.level_slider(four_levels() if levels is None else levels, SR, "Slide.", **options)
    return Outline(page.html())


def of_levels(elements):
    """{level: [elements that belong to it alone]}, and None for those that belong to all."""
    groups = {}
    for element in elements:
        level = element.get("data-level")
        groups.setdefault(None if level is None else int(level), []).append(element)
    return groups


def test_each_level_holds_its_sounds_and_what_never_changes_is_stored_once():
    levels = four_levels()
    copies = [{label: x.copy() for label, x in level.sounds.items()} for level in levels]
    for level in levels:
        for x in level.sounds.values():
            x.flags.writeable = False
    outline = level_page(levels)
    audio = of_levels(outline.all("audio"))
    assert sorted(audio, key=str) == [0, 1, 2, 3, None]
    signals = [level.sounds[label] for label in ("Noisy", "Short") for level in levels]
    signals.append(levels[0].sounds["Clean"])
    gains = player_gains(signals, [loudness(x, SR) for x in signals])
    elements = [audio[k][j] for j in (0, 1) for k in range(4)] + audio[None]
    for x, gain, element in zip(signals, gains, elements, strict=True):
        y, sr = decoded(element)
        assert sr == SR and y.shape == x.shape
        assert np.abs(y - gain * x).max() <= 0.5001 / 32768, "more than rounding to 16 bits"
    for level, copy in zip(levels, copies, strict=True):
        assert all(np.array_equal(level.sounds[label], copy[label]) for label in copy)


def test_all_levels_have_one_loudness():
    """Even where one take has a click, which takes all the others down with it."""
    levels = four_levels()
    levels[2].sounds["Noisy"][100] = 3.0
    played = [loudness(decoded(audio)[0], SR) for audio in level_page(levels).all("audio")]
    assert len(played) == 9
    assert max(played) - min(played) <= 0.1
    assert max(played) <= report_players.TARGET_LUFS - 1


def test_every_level_has_its_waveforms_gains_picture_and_scores():
    outline = level_page()
    for tag, css, at_each, at_all in [
        ("svg", None, 2, 1),
        ("span", "gain", 2, 1),
        ("div", "paper", 1, 0),
        ("div", "table", 1, 0),
    ]:
        groups = of_levels(outline.all(tag, css))
        assert [len(groups[k]) for k in range(4)] == 4 * [at_each], (tag, css)
        assert len(groups.get(None, [])) == at_all, (tag, css)
    assert [e["alt"] for e in outline.all("img")] == [f"A line from {v}." for v in VALUES]
    assert len(outline.all("div", "player")) == len(outline.all("button")) == 3
    assert [e["text"] for e in outline.all("span", "time")][1] == "0:00.0 / 0:00.6"
    assert [e["max"] for e in outline.all("input", "seek")] == ["1", "1", "1"]
    identifiers = [e["id"] for e in outline.elements if "id" in e]
    assert len(identifiers) == len(set(identifiers)), "an id must be there only once"
    first = [e["d"] for e in outline.all("path")][:4]
    assert len(set(first)) == 4, "the drawing of each level is its own"


def test_the_slider_says_name_level_and_unit():
    outline = level_page(start=0.125)
    (slider,) = [e for e in outline.all("input") if e.get("class") != "seek"]
    assert (slider["min"], slider["max"], slider["step"], slider["value"]) == ("0", "3", "1", "2")
    assert slider["aria-valuetext"] == "0.125 dB"
    (label,) = outline.all("label")
    assert (label["for"], label["text"]) == (slider["id"], "Noise <level>")
    (output,) = outline.all("output")
    assert output["text"] == "0.125 dB"
    (ticks,) = outline.all("div", "ticks")
    ticks = [e for e in outline.all("span") if "data-text" in e]
    assert [e["text"] for e in ticks] == ["\u22125", "0", "0.125", "10"]
    assert [e["data-text"] for e in ticks] == ["\u22125 dB", "0 dB", "0.125 dB", "10 dB"]
    assert {e["data-level"] for e in outline.elements if "data-start" in e} == {"2"}
    assert [e["text"] for e in level_page(unit="").all("output")] == ["\u22125"]


def test_without_script_each_part_is_named_by_its_level():
    outline = level_page()
    names = [f"Noise <level> {text} dB" for text in ("\u22125", "0", "0.125", "10")]
    shown = [e["text"] for e in outline.all("span", "level-name")]
    assert sorted(shown) == sorted(3 * names), "two sounds and a picture; tables have captions"
    assert [e["text"] for e in outline.all("caption")] == names
    (style,) = outline.all("noscript")
    assert "[data-level] { display: block !important; }" in style["text"]
    assert all("controls" in audio for audio in outline.all("audio"))
    preload = [audio["preload"] for audio in outline.all("audio")]
    assert preload == 8 * ["none"] + ["metadata"], "phones allow few players at a time"


def test_scores_are_tables_with_dashes_for_what_was_not_measured():
    levels = four_levels()
    levels[1] = levels[1]._replace(scores={"SNR (dB)": {"Short": -3.0}, "STOI": {"Noisy": 0.5}})
    outline = level_page(levels, best={"SNR (dB)": min}, digits=1)
    rows = ["Noisy", "Short", "Clean"]
    assert [e["text"] for e in outline.all("th") if e["scope"] == "row"] == 4 * rows
    texts = [e["text"] for e in outline.all("td")]
    assert texts[:6] == ["5.0", "0.9", "\u2013", "\u2013", "\u221e", "\u2013"]
    assert texts[6:12] == ["\u2013", "0.5", "\u22123.0", "\u2013", "\u2013", "\u2013"]
    assert [e["text"] for e in outline.all("strong")] == ["5.0", "\u22123.0", "3.0", "2.0"]


def test_pictures_are_light_and_cut_to_one_frame():
    rng = np.random.default_rng(4)
    levels = four_levels()
    for k, level in enumerate(levels):
        heavy = Figure(figsize=(5, 3))
        ax = heavy.subplots()
        ax.pcolormesh(rng.standard_normal((128, 300)), rasterized=True)
        ax.set_ylabel(k * "\n")  # the wider the label, the wider the picture
        levels[k] = level._replace(figure=heavy if k else drawing(0, width=5.0))
    images = level_page(levels).all("img")
    alone = []
    for level in levels:
        page = Report("Title")
        page.figure(level.figure, "Alone.", level.alt)
        alone += Outline(page.html()).all("img")
    assert int(images[0]["width"]) >= max(int(image["width"]) for image in alone)
    assert int(images[0]["height"]) >= max(int(image["height"]) for image in alone)
    assert len({image["width"] for image in alone}) > 1, "or the test would show nothing"
    assert len({(image["width"], image["height"]) for image in images}) == 1
    assert images[0]["src"].startswith("data:image/svg+xml;base64,")
    for image in images[1:]:
        assert image["src"].startswith("data:image/webp;base64,")
        assert len(image["src"]) <= 300_000
        picture = Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))
        for shown, true in zip((image["width"], image["height"]), picture.size, strict=True):
            assert abs(2 * int(shown) - true) <= 2


def test_groups_of_one_page_share_no_id():
    page, levels = Report("Title"), four_levels(figure=None, alt=None)
    page.level_slider(levels, SR, "One.", name="Level")
    page.players(levels[0].sounds, SR, "Two.")
    page.level_slider(levels, SR, "Three.", name="Level")
    outline = Outline(page.html())
    identifiers = [e["id"] for e in outline.elements if "id" in e]
    assert len(identifiers) == len(set(identifiers)) == 9 + 3 + 9 + 2
    assert len(outline.all("span", "keys")) == 1, "the keys are explained once"


def test_a_slider_needs_neither_pictures_nor_scores():
    outline = level_page(four_levels(figure=None, alt=None, scores=None))
    assert not outline.all("img") and not outline.all("table") and not outline.all("div", "views")
    assert len(outline.all("audio")) == 9


def test_level_names_are_escaped():
    evil = "<script>alert(1)</script>\" onload='x"
    levels = [
        Level(value, {evil: noise(0.1, 0.1, value)}, drawing(value), evil, {evil: {evil: 1.5}})
        for value in (0, 1)
    ]
    outline = level_page(levels, name=evil, unit=evil)
    assert len(outline.all("script")) == 1
    assert not any("onload" in element for element in outline.elements)
    assert outline.all("label")[0]["text"] == evil
    assert outline.all("output")[0]["text"] == f"0 {evil}"
    assert outline.all("span", "level-name")[0]["text"] == f"{evil} 0 {evil}"


@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**32 - 1), st.booleans())
def test_any_levels_make_a_well_formed_group(n_levels, n_sounds, seed, stereo):
    rng = np.random.default_rng(seed)
    shapes = [(2, n)[not stereo :] for n in rng.integers(1, 900, n_sounds)]
    values = np.cumsum(rng.uniform(0.1, 2, n_levels)).astype(np.float32)
    levels = [
        Level(value, {f"s{j}": rng.standard_normal(shape) for j, shape in enumerate(shapes)})
        for value in values
    ]
    outline = level_page(levels, start=values[-1])
    assert len(outline.all("audio")) == n_levels * n_sounds
    starts = [e["data-level"] for e in outline.all("audio") if "data-start" in e]
    assert starts == n_sounds * [str(n_levels - 1)]


def changed(index, **changes):
    levels = four_levels()
    levels[index] = levels[index]._replace(**changes)
    return levels


@pytest.mark.parametrize(
    ("levels", "error", "message"),
    [
        ([], ConfigError, "levels must hold at least 2 levels to slide between, got 0"),
        (four_levels()[:1], ConfigError, "at least 2 levels to slide between, got 1"),
        ([(0, {}), (1, {})], ConfigError, r"levels\[0\] must be a Level\(value, .* got tuple"),
        (
            changed(1, value="1"),
            ConfigError,
            r"value of levels\[1\] must be a finite number, got '1'",
        ),
        (changed(1, value=True), ConfigError, r"value of levels\[1\] must be a finite .* got True"),
        (changed(3, value=math.nan), ConfigError, r"value of levels\[3\] must be a .* got nan"),
        (changed(3, value=math.inf), ConfigError, r"value of levels\[3\] must be a .* got inf"),
        (changed(2, value=0), ConfigError, r"must rise, but levels\[2\] has 0 after 0"),
        (changed(2, value=-1), ConfigError, r"must rise, but levels\[2\] has -1 after 0"),
        (changed(3, value=0.1250000001), ConfigError, "both be called 0.125: six digits"),
        (changed(1, sounds={}), ConfigError, r"levels\[1\].sounds must hold at least one sound"),
        (
            changed(1, sounds={"Noisy": noise(1, 1, 1)}, scores=None),
            ConfigError,
            r"\['Noisy', 'Short', 'Clean'\]",
        ),
        (
            changed(2, sounds={k: v[:-1] for k, v in four_levels()[2].sounds.items()}),
            ShapeError,
            r"'Noisy' must have the same shape at every level.*\(16000,\), levels\[2\].*\(15999,\)",
        ),
        (
            changed(2, sounds={**four_levels()[2].sounds, "Clean": np.full(SR, np.nan)}),
            ShapeError,
            r"levels\[2\].sounds\['Clean'\] must be finite",
        ),
        (changed(2, figure=None), ConfigError, r"levels\[0\] has one, levels\[2\] not"),
        (changed(0, figure=None), ConfigError, r"levels\[1\] has one, levels\[0\] not"),
        (
            changed(2, alt=" "),
            ConfigError,
            "alt of figure 'Noise <level> 0.125 dB' must say in words",
        ),
        (
            changed(2, figure=[1]),
            ConfigError,
            "figure must be a matplotlib Figure or Axes, got list",
        ),
        (changed(1, scores=None), ConfigError, r"same scores .*'STOI'\], levels\[1\] has None"),
        (
            changed(1, scores={}),
            ConfigError,
            r"scores of levels\[1\] must be None or name a measure",
        ),
        (
            changed(1, scores={"STOI": [0.5]}),
            ConfigError,
            r"scores of levels\[1\] must be {measure: {label: number}}, .* 'STOI': \[0.5\]",
        ),
        (
            changed(3, scores={"STOI": {}, "SNR (dB)": {}}),
            ConfigError,
            r"in the same order: levels\[0\] has \['SNR .* levels\[3\] has \['STOI', 'SNR",
        ),
        (
            changed(3, scores={"SNR (dB)": {"Nosy": 1}, "STOI": {}}),
            ConfigError,
            r"scores of levels\[3\] has 'SNR \(dB\)' of \['Nosy'\], but the sounds are \['Noisy'",
        ),
    ],
)
def test_level_errors(levels, error, message):
    page = Report("Title")
    with pytest.raises(error, match=message):
        page.level_slider(levels, SR, "Slide.", name="Noise <level>", unit="dB")
    assert Outline(page.html()).all("audio") == [], "what was refused leaves no trace"


def test_slider_errors():
    page, levels = Report("Title"), four_levels()
    for options, message in [
        ({"name": ""}, "name must be a string that is not empty, got ''"),
        ({"name": "N", "unit": None}, "unit must be a string, got None"),
        (
            {"name": "N", "start": 1},
            r"start must be the value of a level, one of \[-5, 0, .* got 1",
        ),
        ({"name": "N", "best": {"PESQ": max}}, "best names 'PESQ', but the columns"),
    ]:
        with pytest.raises(ConfigError, match=message):
            page.level_slider(levels, SR, "Slide.", **options)
    with pytest.raises(ConfigError, match="sr must be from 4000 to 192000 Hz, got 100"):
        page.level_slider(levels, 100, "Slide.", name="N")
    with pytest.raises(ConfigError, match="caption must be a string that is not empty"):
        page.level_slider(levels, SR, "", name="N")
