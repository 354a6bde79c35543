"""Open the page in a real browser: look, listen, press keys.

The page is one made here, and each of those that the variable SCRATCHAUDIO_PAGES names.
Screenshots at phone and desktop width, light and dark, are left in out/screenshots.
"""

from pathlib import Path

import numpy as np
import pytest
from browser.chromium import given_pages
from matplotlib.figure import Figure

from scratchaudio.report import Report

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"
PHONE, DESKTOP = 390, 1280
SR = 16_000
DURATIONS = [4.0, 4.0, 3.5, 2.0, 2.0]  # of the sounds of `small_page`, in seconds


def tone(seconds, frequency, level, rng):
    """A sung note, on and off, in noise."""
    time = np.arange(round(seconds * SR)) / SR
    on = np.sin(2 * np.pi * 0.5 * time) > 0
    note = sum(np.sin(2 * np.pi * frequency * k * time) / k for k in range(1, 6))
    return level * (on * note + 0.2 * rng.standard_normal(len(time)))


def small_page(path):
    rng = np.random.default_rng(7)
    noisy, network, short, one, two = (
        tone(seconds, frequency, level, rng)
        for seconds, frequency, level in zip(
            DURATIONS, [220, 330, 262, 440, 196], [0.1, 0.02, 0.2, 0.05, 0.05], strict=True
        )
    )
    page = Report("Finding speech in noise", "A network written by hand, against two thresholds")
    page.text(
        "A frame is **speech** or not. The network reads `log_mel` features forwards and "
        "backwards in time.\n\n- hysteresis first,\n- then gaps are filled ([here](#part-2))."
    )
    page.heading("Listen")
    page.players(
        {"Noisy": noisy, "Network": network, "Energy threshold": short},
        SR,
        "The recording, and what each method lets through. Shaded: detected speech.",
        segments={"Network": [(0, 1), (2, 3)], "Energy threshold": [(0.2, 1.3), (2.1, 3.5)]},
    )
    page.players({"Mask": one, "Complement": 0.1 * two}, SR, "One gain.", match_loudness=False)
    page.heading("Results")
    page.table(
        [["Network", 0.983, 0.941, -0.25, 12], ["Energy <b>", 0.801, 0.77, 3.5, 1250]],
        ["Method", "AUC", "F1", "Threshold (dB)", "Average time per recording (ms)"],
        "By frame, pooled over all test recordings.",
        best={"AUC": max, "F1": max},
    )
    page.heading("ROC curves", level=3)
    with page.side_by_side():
        for seed in (1, 2):
            figure = Figure(figsize=(5, 3.5), layout="constrained")
            ax = figure.subplots()
            ax.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** (1 / (1 + 9 * seed)))
            ax.set(xlabel="False positive rate", ylabel="True positive rate", title=f"{seed} dB")
            page.figure(figure, f"ROC at {seed} dB.", "A curve that bends to the upper left.")
    page.heading("A spectrogram", level=3)
    figure = Figure(figsize=(10, 3), layout="constrained")
    figure.subplots().pcolormesh(rng.standard_normal((128, 200)))
    page.figure(figure, "Noise.", "A spectrogram of noise: no structure.")
    page.heading("Reproduce")
    page.code("python examples/evaluate_vad.py --checkpoint out/vad.npz " + 8 * "--and-so-on ")
    page.note("Everything here was made by `make demo`.")
    page.save(path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_page(tmp_path_factory.mktemp("page") / "small.html")


@pytest.fixture(params=["small", *given_pages()], ids=str)
def path(request, small):
    path = small if request.param == "small" else request.param
    assert path.is_file(), f"SCRATCHAUDIO_PAGES names {path}, which is missing: run `make demo`"
    return path


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_looks(open_page, path, width, dark):
    page = open_page(path, width, dark=dark)
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    page.screenshot(SCREENSHOTS / f"{path.stem}-{width}-{'dark' if dark else 'light'}.png")

    assert page.problems() == []
    assert page.requests() == [page.url], "the page must ask for nothing but itself"
    content = page.evaluate("document.documentElement.scrollWidth")
    assert content <= width, f"the page is {content} px wide and scrolls sideways at {width} px"
    images = page.evaluate("[...document.images].map(i => [i.alt, i.naturalWidth])")
    assert all(alt.strip() and natural > 0 for alt, natural in images), images
    unseen = page.evaluate(  # a slider hides the pictures of all levels but one
        "[...document.images].filter(i => !i.closest('[hidden]') && i.clientWidth === 0)"
        ".map(i => i.alt)"
    )
    assert unseen == [], "nothing hides these pictures, but they have no size"
    too_wide = page.evaluate(
        "[...document.images].filter(i => i.clientWidth > Math.max(i.parentElement.clientWidth, "
        "i.getAttribute('width') / 2 + 1)).map(i => i.alt)"
    )
    assert too_wide == [], "wider than its card, although more than half of its size"
    unreachable = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth "
        "&& box.getAttribute('tabindex') !== '0').map(box => box.ariaLabel)"
    )
    assert unreachable == [], "scrolls sideways, but Tab does not lead there"


def test_every_sound_loads(open_page, path):
    page = open_page(path)
    page.evaluate("document.querySelectorAll('audio').forEach(audio => { audio.preload = 'auto' })")
    page.wait_for("[...document.querySelectorAll('audio')].every(a => a.readyState >= 1)")
    durations = page.evaluate("[...document.querySelectorAll('audio')].map(a => a.duration)")
    shown = page.evaluate(
        "[...document.querySelectorAll('audio')].map(a => "
        "a.closest('.player').querySelector('.time').textContent.split(' / ')[1])"
    )
    stated = [60 * int(text.split(":")[0]) + float(text.split(":")[1]) for text in shown]
    expected = DURATIONS if path.stem == "small" else stated
    assert len(durations) == len(expected) > 0
    for got, wanted, stated_one in zip(durations, expected, stated, strict=True):
        assert abs(got - wanted) <= 0.05, f"a sound of {wanted} s plays for {got} s"
        assert abs(got - stated_one) <= 0.0501, f"a sound of {got} s is said to have {stated_one} s"


def test_a_sound_plays(open_page, path):
    page = open_page(path)
    assert page.evaluate("document.querySelectorAll('audio[controls]').length") == 0
    page.evaluate("document.querySelector('.play').click()")
    page.wait_for(  # of a slider's card, the take of the level that is set
        "[...document.querySelector('.player').querySelectorAll('audio')]"
        ".some(a => !a.paused && a.currentTime > 0.2)"
    )
    assert len(playing(page)) == 1, "one sound is heard at a time"
    assert page.evaluate("document.querySelector('.play').ariaPressed") == "true"
    page.wait_for("Number(document.querySelector('.seek').value) > 0.2")
    assert page.problems() == []


def playing(page):
    """The numbers of the sounds that play, from 1 in the order of the page."""
    return page.evaluate(
        "[...document.querySelectorAll('audio')].flatMap((a, i) => a.paused ? [] : [i + 1])"
    )


def position(page, number):
    return page.evaluate(f"document.querySelectorAll('audio')[{number - 1}].currentTime")


def test_keys(open_page, small):
    page = open_page(small)
    page.evaluate("document.querySelector('.play').focus()")
    page.press(" ")
    page.wait_for("document.querySelector('audio').currentTime > 0.3")
    assert playing(page) == [1]

    before = position(page, 1)
    page.press("2")
    page.wait_for("document.querySelectorAll('audio')[0].paused")
    assert playing(page) == [2]
    assert before <= position(page, 2) < before + 1, "switching must go on at the same position"
    assert page.evaluate("document.activeElement.ariaLabel") == "Play Network"

    page.press(" ")
    assert playing(page) == [], "space must pause"
    page.wait_for("document.querySelectorAll('.play')[1].ariaPressed === 'false'")
    before = position(page, 2)
    page.press("ArrowRight")
    assert abs(position(page, 2) - (before + 2)) < 0.05
    page.press("ArrowLeft")
    assert abs(position(page, 2) - before) < 0.05
    page.press("3")
    assert playing(page) == [], "choosing another sound must not start it"
    assert abs(position(page, 3) - before) < 0.05
    page.press("Enter")
    page.wait_for("!document.querySelectorAll('audio')[2].paused")

    page.evaluate("document.activeElement.blur()")
    page.press(" ")
    assert playing(page) == [], "with the focus nowhere, keys go to the group used last"


def test_every_control_is_reached_by_tab(open_page, small):
    page = open_page(small)
    seen = []
    for _ in range(40):
        page.press("Tab")
        seen.append(page.evaluate("document.activeElement.ariaLabel"))
    for label in ("Noisy", "Network", "Energy threshold", "Mask", "Complement"):
        assert f"Play {label}" in seen
        assert f"Position in {label}" in seen


def test_arrow_keys_seek_on_a_slider_too(open_page, small):
    page = open_page(small)
    page.evaluate("document.querySelector('.seek').focus()")
    page.press("ArrowRight")
    assert position(page, 1) == 2
    assert page.evaluate("document.querySelector('.seek').ariaValueText") == "0:02.0 of 0:04.0"


def test_a_click_on_the_waveform_seeks_and_chooses(open_page, small):
    page = open_page(small)
    box = page.evaluate(
        "(b => [b.left, b.top, b.width, b.height])"
        "(document.querySelectorAll('.seek')[1].getBoundingClientRect())"
    )
    page.click(box[0] + box[2] / 4, box[1] + box[3] / 2)
    assert abs(position(page, 2) - 1) < 0.05, "a quarter of 4 s"
    drawn = page.evaluate("[...document.querySelectorAll('.seek')].map(s => Number(s.value))")
    assert np.allclose(drawn[:3], 1, atol=0.05), "the group shares its position"
    assert drawn[3:] == [0, 0], "the other group keeps its own"
    page.press(" ")
    assert playing(page) == [2]


def test_one_group_plays_at_a_time(open_page, small):
    page = open_page(small)
    page.evaluate("document.querySelectorAll('.play')[0].click()")
    page.wait_for("document.querySelectorAll('audio')[0].currentTime > 0.1")
    page.evaluate("document.querySelectorAll('.play')[3].click()")
    page.wait_for("document.querySelectorAll('audio')[0].paused")
    assert playing(page) == [4]
    pressed = page.evaluate("[...document.querySelectorAll('.play')].map(b => b.ariaPressed)")
    assert pressed == ["false", "false", "false", "true", "false"]


def test_a_sound_that_ended_starts_again(open_page, small):
    page = open_page(small)
    page.evaluate("document.querySelectorAll('.play')[4].focus()")
    page.press("ArrowRight")
    page.press("5")  # there is no fifth sound in this group
    page.press(" ")
    page.wait_for("!document.querySelectorAll('audio')[4].paused")
    page.wait_for("document.querySelectorAll('audio')[4].currentTime < 1")
    page.wait_for("document.querySelectorAll('audio')[4].currentTime > 0.1")
    page.press("ArrowRight")
    page.wait_for("document.querySelectorAll('audio')[4].ended")
    assert page.evaluate("document.querySelectorAll('.play')[4].ariaPressed") == "false"


def test_without_script_the_browsers_own_players_are_shown(browser, small, tmp_path):
    silent = tmp_path / "no_script.html"  # the policy blocks a script whose hash has changed
    silent.write_text(small.read_text().replace('"use strict";', '"use strict"; '))
    page = browser.open(silent, DESKTOP)
    assert page.evaluate("document.querySelectorAll('audio[controls]').length") == len(DURATIONS)
    assert any("Content Security Policy" in text for text in page.problems())
    page.close()
