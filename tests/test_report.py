"""The page as text: what is escaped, embedded, aligned and refused. `tests/browser` opens it."""

import base64
import io
import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from outline import SR, Outline, noise
from PIL import Image

from scratchaudio import report
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.report import Report


def curve(width=4):
    figure = Figure(figsize=(width, 3))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


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
