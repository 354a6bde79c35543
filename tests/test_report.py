"""The page as text: what is escaped, embedded, aligned and refused. `tests/browser` opens it."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from scratchaudio import report
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError
from scratchaudio.report import Report, k_weighting, loudness, player_gains

SR = 16_000
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Outline(HTMLParser):
    """Every element with its attributes and text; fails on a tag that is not closed in order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {[element['tag'] for element in self.open]}"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):  # <path .../>
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1]["tag"] == tag, f"</{tag}> inside <{self.open[-1]['tag']}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, css=None):
        return [
            element
            for element in self.elements
            if element["tag"] == tag and (css is None or css in element.get("class", "").split())
        ]


def curve(width=4):
    figure = Figure(figsize=(width, 3))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def noise(seconds, level, seed, channels=()):
    return level * np.random.default_rng(seed).standard_normal((*channels, round(seconds * SR)))


def full_page():
    page = Report("A & B", subtitle="x < y")
    page.text("One\nparagraph.\n\n- first\n- second")
    page.heading("Sounds")
    page.players({"Left <b>": noise(1, 0.1, 1), "Right": noise(1, 0.01, 2)}, SR, "Two noises.")
    page.heading("Pictures", level=3)
    with page.side_by_side():
        page.figure(curve(), "A line.", "A line that falls.")
        page.table([["a", 1.0], ["b", 2.0]], ["row", "value"], "Values.", best={"value": max})
    page.heading("More")
    page.note("Remember.")
    page.code("if a < b: print('&')")
    page.heading("End")
    return page


def decoded(element):
    """The samples and rate inside an <audio> element."""
    kind, data = element["src"].split(";base64,")
    assert kind == "data:audio/flac"
    samples, sr = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float64")
    return samples.T, sr


# The page ----------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_structured():
    page = Outline(full_page().html())
    assert page.elements[0]["lang"] == "en"
    assert [e["text"] for e in page.all("title")] == ["A & B"]
    assert [e["text"] for e in page.all("h1")] == ["A & B"]
    assert [e["text"] for e in page.all("p", "subtitle")] == ["x < y"]
    assert [e["tag"] for e in page.elements if re.fullmatch("h[2-4]", e["tag"])] == [
        "h2",
        "h3",
        "h2",
        "h2",
    ]
    assert any(e.get("name") == "viewport" for e in page.all("meta"))
    assert [e["text"] for e in page.all("li")] == ["first", "second"]
    assert [e["text"] for e in page.all("code")] == ["if a < b: print('&')"]
    identifiers = [e["id"] for e in page.elements if "id" in e]
    assert len(identifiers) == len(set(identifiers)), "an id must be there only once"


def test_the_contents_link_to_the_sections():
    page = Outline(full_page().html())
    targets = {e["id"]: e["text"] for e in page.all("h2")}
    links = {e["href"].removeprefix("#"): e["text"] for e in page.all("a")}
    assert links == targets and len(links) == 3


def test_nothing_is_loaded_from_anywhere():
    html = full_page().html()
    page = Outline(html)
    for element in page.elements:
        for name in ("src", "srcset", "poster", "data", "action"):
            assert element.get(name, "data:").startswith("data:"), element
    assert all(e["href"].startswith("data:") for e in page.all("link"))
    assert "http" not in re.sub(r"data:[^\"]*|http-equiv", "", html)
    assert "@import" not in html and not re.search(r"url\((?!#)", html)
    assert not any(name.startswith("on") for e in page.elements for name in e), "inline handler"


def test_the_policy_allows_this_script_and_no_request():
    page = Outline(full_page().html())
    (policy,) = [e["content"] for e in page.all("meta") if "http-equiv" in e]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy and "script-src 'unsafe-inline'" not in policy


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '" onload="x', "a & b <!-- '"])
def test_everything_is_escaped(evil):
    page = Report(evil, subtitle=evil)
    page.heading(evil)
    page.text(evil + f" **{evil}**")
    page.note(evil)
    page.code(evil)
    page.players({evil: noise(0.1, 0.1, 1)}, SR, evil, segments={evil: [(0, 0.05)]})
    page.table([[evil, evil]], [evil, "x"], evil)
    page.figure(curve(), evil, evil)
    outline = Outline(page.html())
    assert len(outline.all("script")) == 1
    assert not any("onload" in element for element in outline.elements)
    assert outline.all("span", "label")[0]["text"] == evil
    assert outline.all("img")[0]["alt"] == evil
    assert outline.all("td")[0]["text"] == evil
    for tag in ("title", "h1", "h2", "code", "caption"):
        assert outline.all(tag)[0]["text"] == evil


def test_markup():
    page = Report("Title")
    page.text("**a `b` c** and `**d**`, see [the paper](https://doi.org/10.1/x?a=1&b=2), 2 ** 3.")
    page.text("[no](javascript:alert(1))")
    outline = Outline(page.html())
    assert [e["text"] for e in outline.all("strong")] == ["a b c"]
    assert [e["text"] for e in outline.all("code")] == ["b", "**d**"]
    (link,) = outline.all("a")
    assert link["href"] == "https://doi.org/10.1/x?a=1&b=2"
    assert "[no](javascript:alert(1))" in outline.all("p")[-1]["text"]


def test_headings_cannot_leave_out_a_level():
    page = Report("Title")
    with pytest.raises(ConfigError, match="level of heading 'Deep' must be from 2 to 2 .* got 3"):
        page.heading("Deep", level=3)
    page.heading("Section")
    page.heading("Deeper", level=3)
    with pytest.raises(ConfigError, match="from 2 to 4 .* got 1"):
        page.heading("Title again", level=1)
    page.heading("Section")
    with pytest.raises(ConfigError, match="from 2 to 3 .* got 4"):
        page.heading("Too deep", level=4)


def test_contrast_is_that_of_wcag_aa():
    """Every pair of a text colour and its ground has a contrast of at least 4.5, in both modes."""
    css = full_page().html()
    modes = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    assert len(modes) == 2
    for mode in modes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6});", mode))
        for text, ground in [
            ("text", "background"),
            ("text", "card"),
            ("muted", "background"),
            ("muted", "card"),
            ("accent", "background"),
            ("accent", "card"),
            ("on-accent", "accent"),
        ]:
            light, dark = sorted(map(luminance, (colours[text], colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def luminance(colour):
    """The relative luminance of WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_same_calls_make_the_same_bytes():
    assert full_page().html() == full_page().html()


# Saving ------------------------------------------------------------------------------------------


def test_save_makes_the_folder_and_refuses_to_overwrite(tmp_path):
    path = tmp_path / "new" / "folder" / "index.html"
    page = Report("First")
    page.save(path)
    with pytest.raises(
        ConfigError, match=r"cannot write .*index\.html: it exists; pass overwrite=True"
    ):
        Report("Second").save(path)
    assert path.read_text(encoding="utf-8") == page.html()
    Report("Second").save(path, overwrite=True)
    assert "<h1>Second</h1>" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]


def test_a_failed_save_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "index.html"
    Report("Old").save(path)
    before = path.read_bytes()

    def full(*paths):
        raise OSError("disk full")

    monkeypatch.setattr(report.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        Report("New").save(path, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


# Figures and tables ------------------------------------------------------------------------------


def test_a_figure_is_svg_and_a_heavy_one_png():
    page = Report("Title")
    figure = curve(width=5)
    page.figure(figure.axes[0], "Light.", "A line.")
    heavy = Figure(figsize=(5, 3))
    heavy.subplots().plot(np.random.default_rng(3).standard_normal((200, 200)), "o")
    page.figure(heavy, "Heavy.", "Dots.")
    light, dots = Outline(page.html()).all("img")
    assert light["src"].startswith("data:image/svg+xml;base64,")
    assert dots["src"].startswith("data:image/png;base64,")
    # Two pixels for each CSS pixel, and the size that the browser is told is the true one.
    picture = Image.open(io.BytesIO(base64.b64decode(dots["src"].split(",")[1])))
    for shown, true in zip((dots["width"], dots["height"]), picture.size, strict=True):
        assert abs(2 * int(shown) - true) <= 2
    svg = base64.b64decode(light["src"].split(",")[1]).decode()
    points = float(re.search(r'width="([\d.]+)pt"', svg)[1])
    assert abs(int(light["width"]) - points * 96 / 72) <= 1


def test_a_figure_needs_an_alt_text_and_is_left_as_it_was():
    page, figure = Report("Title"), curve()
    before = figure.dpi, tuple(figure.get_size_inches()), figure.get_facecolor()
    page.figure(figure, "A line.", "It falls.")
    assert before == (figure.dpi, tuple(figure.get_size_inches()), figure.get_facecolor())
    with pytest.raises(ConfigError, match="alt of figure 'A line.' must say in words .* got ''"):
        page.figure(figure, "A line.", "")
    with pytest.raises(ConfigError, match="figure must be a matplotlib Figure or Axes, got list"):
        page.figure([1, 2], "A line.", "It falls.")


def test_a_table_aligns_numbers_and_marks_the_best():
    page = Report("Title")
    rows = [
        ["Network", 0.98349, "0.94 ± 0.01", -3, math.nan],
        ["Energy", 0.8, "0.77 ± 0.02", 12, 0.5],
        ["Floor", 0.98351, "0.80 ± 0.02", 12, None],
    ]
    header = ["Method", "AUC", "F1", "dB", "Words"]
    page.table(rows, header, "All.", best={"AUC": max, "dB": min, "Words": max}, digits=2)
    outline = Outline(page.html())
    assert [e["text"] for e in outline.all("th") if e["scope"] == "col"] == header
    assert [e["text"] for e in outline.all("th") if e["scope"] == "row"] == [r[0] for r in rows]
    texts = [e["text"] for e in outline.all("td")]
    assert texts[:4] == ["0.98", "0.94 ± 0.01", "\u22123", "\u2013"]
    assert all("number" in e["class"] for e in outline.all("td"))
    # What looks equal is marked as equal.
    assert [e["text"] for e in outline.all("strong")] == ["0.98", "\u22123", "0.50", "0.98"]
    page = Report("Title")
    page.table([["a", "yes"], ["b", "3"]], ["name", "word"], "Words.")
    assert not any("class" in e for e in Outline(page.html()).all("td"))


def test_table_errors():
    page = Report("Title")
    with pytest.raises(ShapeError, match=r"rows\[1\] of table 'T' has 1 cells, header has 2"):
        page.table([["a", 1], ["b"]], ["x", "y"], "T")
    with pytest.raises(ShapeError, match="header of table 'T' must name at least one column"):
        page.table([], [], "T")
    with pytest.raises(ConfigError, match=r"best names 'z', but the columns of 'T' are \['x', 'y'"):
        page.table([["a", 1]], ["x", "y"], "T", best={"z": max})
    with pytest.raises(ConfigError, match="best names 'y', a column of table 'T' without numbers"):
        page.table([["a", "b"]], ["x", "y"], "T", best={"y": max})


# Loudness ----------------------------------------------------------------------------------------


def test_k_weighting_is_the_table_of_the_standard():
    """ITU-R BS.1770-4, Annex 1, tables 1 and 2: the coefficients at 48 kHz."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    shelf += [1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    assert np.abs(k_weighting(48_000) - [shelf, high_pass]).max() <= 1e-8


@pytest.mark.parametrize("sr", [16_000, 44_100, 48_000])
def test_a_full_scale_sine_has_minus_three_lufs(sr):
    """BS.1770: "If a 0 dB FS, 997 Hz sine wave is applied to the left input: -3.01 LKFS"."""
    x = np.sin(2 * np.pi * 997 * np.arange(5 * sr) / sr)
    assert abs(loudness(x, sr) - -3.01) <= 0.05
    assert abs(loudness(np.stack([x, x]), sr) - loudness(x, sr) - 10 * math.log10(2)) <= 1e-9
    assert abs(loudness(x / 100, sr) - loudness(x, sr) + 40) <= 1e-9
    assert loudness(x.astype(np.float32), sr) == pytest.approx(loudness(x, sr), abs=1e-4)


def test_pauses_do_not_count():
    x = np.sin(2 * np.pi * 997 * np.arange(10 * SR) / SR)
    # The blocks that straddle the edge count: of some 103 blocks, 3 lie half in the pause.
    assert abs(loudness(np.concatenate([x, np.zeros(30 * SR)]), SR) - -3.01) <= 0.15
    assert abs(loudness(np.concatenate([x, 0.05 * x]), SR) - -3.01) <= 0.15  # 26 dB below
    both = 10 * math.log10((1 + 0.25) / 2)  # 6 dB below: counts
    assert abs(loudness(np.concatenate([x, 0.5 * x]), SR) - (-3.01 + both)) <= 0.1


def test_loudness_block_by_block():
    """The same by the words of the standard, one block after another."""
    x = noise(2.537, 0.1, 5) * np.linspace(0, 1, round(2.537 * SR)) ** 3
    y = x
    for section in k_weighting(SR):
        y = scipy.signal.lfilter(section[:3], section[3:], y)
    z = []
    start = 0
    while start + 6400 <= len(y):
        z.append(np.mean(y[start : start + 6400] ** 2))
        start += 1600
    z = [one for one in z if -0.691 + 10 * math.log10(one) > -70]
    gate = -0.691 + 10 * math.log10(np.mean(z)) - 10
    z = [one for one in z if -0.691 + 10 * math.log10(one) > gate]
    assert abs(loudness(x, SR) - (-0.691 + 10 * math.log10(np.mean(z)))) <= 1e-9


def test_silence_and_very_short_sounds():
    assert loudness(np.zeros(SR), SR) == -math.inf
    assert loudness(np.zeros(1), SR) == -math.inf
    assert math.isfinite(loudness(noise(0.01, 0.1, 1), SR))


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
    assert max(peaks) <= report.PEAK * (1 + 1e-12)
    assert max(levels) <= report.TARGET_LUFS + 1e-6
    limited = [peak > 0.999 * report.PEAK for peak in peaks]
    free = [level for level, is_limited in zip(levels, limited, strict=True) if not is_limited]
    assert not free or max(free) - min(free) <= 1e-6
    if not with_click:
        assert max(levels) - min(levels) <= 1e-6
    assert not free or min(free) >= report.LOWEST_LUFS - 1e-6


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
    assert abs(loudness(one[0] * loud, SR) - report.TARGET_LUFS) <= 1e-6
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
        assert abs(levels[0] - report.TARGET_LUFS) <= 0.1
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
    text = report._clock(seconds)
    minutes, rest = re.fullmatch(r"(\d+):(\d\d\.\d)", text).groups()
    assert float(rest) < 60
    assert abs(60 * int(minutes) + float(rest) - seconds) <= 0.05 + 1e-6
