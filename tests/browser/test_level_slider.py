"""Move the slider over levels in a real browser: what plays, where, and what is shown.

Each sound of the page is a tone whose frequency tells its label and level, so that what the browser
decodes says which sound it is.
"""

from pathlib import Path

import numpy as np
import pytest
from browser.chromium import given_pages
from matplotlib.figure import Figure

from scratchaudio.report import Level, Report

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"
PHONE, DESKTOP = 390, 1280
SR, SECONDS = 16_000, 6
VALUES = (0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
START = 4
LABELS = ("Noisy", "Enhanced (mapping)", "Enhanced (mask)", "Clean")


def frequency(label, level):
    """Hz of the tone that stands for a sound; Clean is the same at every level."""
    return 400 if label == "Clean" else 400 + 600 * (LABELS.index(label) + 1) + 50 * level


def level_page(path):
    rng = np.random.default_rng(3)
    time = np.arange(SECONDS * SR) / SR
    levels = []
    for k, value in enumerate(VALUES):
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        figure.subplots().pcolormesh(value + 0.05 * rng.standard_normal((64, 128)), vmin=0, vmax=1)
        sounds = {label: np.sin(2 * np.pi * frequency(label, k) * time) / 2 for label in LABELS}
        scores = {
            "SI-SDR (dB)": {label: 20.0 - k - j for j, label in enumerate(LABELS[:3])},
            "STOI": {label: 0.9 - 0.02 * k + 0.01 * j for j, label in enumerate(LABELS[:3])},
        }
        levels.append(Level(value, sounds, figure, f"Spectrograms at {value}.", scores))
    page = Report("Speech out of noise", "A Transformer written by hand")
    page.players({"One": sounds["Noisy"], "Two": sounds["Clean"]}, SR, "Two sounds, no slider.")
    page.level_slider(
        levels,
        SR,
        "More noise, and what the network makes of it.",
        name="Noise level",
        start=VALUES[START],
        best={"SI-SDR (dB)": max},
    )
    pair = [Level(v, {"Noisy": sounds["Noisy"], "Clean": sounds["Clean"] / 2}) for v in (-5, 5)]
    page.level_slider(pair, SR, "Without pictures.", name="SNR", unit="dB")
    page.save(path)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return level_page(tmp_path_factory.mktemp("page") / "levels.html")


@pytest.fixture
def page(open_page, path):
    return open_page(path)


GROUP = "document.querySelectorAll('.levels')[0]"
SLIDER = f"{GROUP}.querySelector('.level input')"
AUDIO = f"[...{GROUP}.querySelectorAll('audio')]"


def number(label, level):
    """Index of a sound among the audio elements of the group."""
    return 9 * LABELS.index(label) + (0 if label == "Clean" else level)


def slide(page, level):
    page.evaluate(
        f"{SLIDER}.value = {level}; {SLIDER}.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def play(page, label):
    page.evaluate(f"{GROUP}.querySelectorAll('.play')[{LABELS.index(label)}].click()")


def playing(page):
    return page.evaluate(f"{AUDIO}.flatMap((a, i) => a.paused ? [] : [i])")


def wait_until_only(page, sound):
    """Until this sound of the group is heard and no other of the whole page."""
    page.wait_for(
        f"[...document.querySelectorAll('audio')].every(a => a.paused === (a !== {AUDIO}[{sound}]))"
    )


def position(page, sound):
    return page.evaluate(f"{AUDIO}[{sound}].currentTime")


def tone_of(page, sound):
    """Hz and amplitude of what the browser decodes from an audio element."""
    hertz, peak = page.evaluate(f"""(async () => {{
        const text = atob({AUDIO}[{sound}].currentSrc.split(",")[1]);
        const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
        const context = new OfflineAudioContext(1, 1, {SR});
        const x = (await context.decodeAudioData(bytes.buffer)).getChannelData(0);
        let crossings = 0, peak = 0;
        for (let n = 1; n < x.length; n++) {{
            if (x[n - 1] < 0 && x[n] >= 0) crossings++;
            peak = Math.max(peak, Math.abs(x[n]));
        }}
        return [crossings / (x.length / {SR}), peak];
    }})()""")
    return hertz, peak


HEARD = f"{AUDIO}.filter((audio) => !audio.paused && audio.volume > 0.5)"


def clocks(page):
    """Seconds of the sound that is heard, and of the computer's clock, read at one moment."""
    return np.array(page.evaluate(f"[{HEARD}[0].currentTime, performance.now() / 1000]"))


def test_the_slider_goes_on_at_the_same_position_with_the_same_label(page):
    play(page, "Enhanced (mapping)")
    page.wait_for(f"{AUDIO}[{number('Enhanced (mapping)', START)}].currentTime > 0.5")
    slide(page, START + 1)  # from here on the page knows how long this browser takes to start
    wait_until_only(page, number("Enhanced (mapping)", START + 1))
    loudest = []
    for level in (6, 7, 2, 0, 8):
        position_before, clock_before = clocks(page)
        slide(page, level)
        sound = number("Enhanced (mapping)", level)
        wait_until_only(page, sound)
        at = position(page, sound)
        page.wait_for(f"{AUDIO}[{sound}].currentTime > {at + 0.1}")  # and it goes on
        position_after, clock_after = clocks(page)
        late = (clock_after - clock_before) - (position_after - position_before)
        assert abs(late) <= 0.1, "the new sound must be heard from where the old one was"
        hertz, peak = tone_of(page, sound)
        assert abs(hertz - frequency("Enhanced (mapping)", level)) <= 1
        loudest.append(peak)
    assert max(loudest) - min(loudest) <= 0.01, "tones this near to each other weigh the same"
    assert page.problems() == []
    pressed = page.evaluate(f"[...{GROUP}.querySelectorAll('.play')].map(b => b.ariaPressed)")
    assert pressed == ["false", "true", "false", "false"]


@pytest.mark.parametrize("rest", [6, 60], ids=["fast", "slow"])
def test_there_is_no_hole_while_the_slider_is_dragged(page, rest):
    """Looked at every few milliseconds, one sound is heard, and its clock runs with ours."""
    play(page, "Noisy")
    page.wait_for(f"{AUDIO}[{number('Noisy', START)}].currentTime > 0.3")
    slide(page, START + 1)
    wait_until_only(page, number("Noisy", START + 1))
    record = page.evaluate(f"""(async () => {{
        const slider = {SLIDER}, record = [], start = performance.now();
        const began = {HEARD}[0].currentTime;
        for (const level of [6, 7, 8, 7, 6, 5, 4, 3]) {{
            slider.value = level;
            slider.dispatchEvent(new Event("input"));
            for (let n = 0; n < {rest}; n++) {{
                await new Promise((done) => setTimeout(done, 4));
                const heard = {HEARD};
                record.push([heard.length, performance.now() - start,
                             1000 * (heard[0]?.currentTime - began)]);
            }}
        }}
        return record;
    }})()""")
    assert {n for n, _, _ in record} == {1}, "one sound must be heard all the time"
    late = [clock - shown for _, clock, shown in record]  # ms
    assert max(np.abs(late)) <= 200, "eight switches may add up to no more than this"
    wait_until_only(page, number("Noisy", 3))
    volumes = page.evaluate(f"{AUDIO}.filter(audio => !audio.paused).map(audio => audio.volume)")
    assert volumes == [1]
    assert page.problems() == []


def test_back_to_the_sound_that_is_still_heard(page):
    play(page, "Noisy")
    start = number("Noisy", START)
    page.wait_for(f"{AUDIO}[{start}].currentTime > 0.3")
    page.evaluate(f"window.seeks = 0; {AUDIO}[{start}].onseeking = () => {{ window.seeks++; }}")
    slide(page, START + 1)
    slide(page, START)
    wait_until_only(page, start)
    assert page.evaluate("window.seeks") == 0, "it was never left"
    assert page.evaluate(f"{AUDIO}[{start}].volume") == 1


def test_a_jump_back_right_after_a_switch_does_not_hold_it_up(page):
    play(page, "Noisy")
    page.wait_for(f"{AUDIO}[{number('Noisy', START)}].currentTime > 2")
    page.evaluate(f"window.seek = {GROUP}.querySelector('.seek')")
    page.evaluate(
        f"{SLIDER}.value = 7; {SLIDER}.dispatchEvent(new Event('input'));"
        "window.seek.value = 0.5; window.seek.dispatchEvent(new Event('input'))"
    )
    wait_until_only(page, number("Noisy", 7))
    assert position(page, number("Noisy", 7)) <= 1.5


def test_a_pause_right_after_a_switch_is_a_pause(page):
    play(page, "Noisy")
    page.wait_for(f"{AUDIO}[{number('Noisy', START)}].currentTime > 0.3")
    page.evaluate(  # at one moment: to another level, and the button of the sound that plays
        f"{SLIDER}.value = 7; {SLIDER}.dispatchEvent(new Event('input'));"
        f"{GROUP}.querySelector('.play').click()"
    )
    page.wait_for(f"{AUDIO}.every(audio => audio.paused)")
    page.evaluate("new Promise(done => setTimeout(done, 400))")
    assert playing(page) == []
    play(page, "Noisy")
    wait_until_only(page, number("Noisy", 7))
    assert page.evaluate(f"{AUDIO}[{number('Noisy', 7)}].volume") == 1


def test_what_is_shown_belongs_to_the_level(page):
    for level in (START, 0, 8, 1):
        slide(page, level)
        for kind in ("svg", ".gain", ".paper", ".table"):
            shown = page.evaluate(
                f"[...{GROUP}.querySelectorAll('{kind}[data-level]')]"
                ".filter(part => part.getClientRects().length).map(part => part.dataset.level)"
            )
            expected = 3 if kind in ("svg", ".gain") else 1
            assert shown == expected * [str(level)], (kind, level)
        assert page.evaluate(f"{GROUP}.querySelector('output').textContent") == f"{VALUES[level]}"
        assert page.evaluate(f"{SLIDER}.ariaValueText") == f"{VALUES[level]}"
        assert page.evaluate(f"{GROUP}.querySelector('.ticks .here').textContent") == (
            f"{VALUES[level]}"
        )
        visible = f"[...{GROUP}.querySelectorAll('img')].find(i => i.getClientRects().length)"
        assert page.evaluate(f"{visible}.alt") == f"Spectrograms at {VALUES[level]}."
        table = f"[...{GROUP}.querySelectorAll('.table')].find(t => t.getClientRects().length)"
        cells = page.evaluate(f"[...{table}.querySelectorAll('td')].map(td => td.textContent)")
        assert cells[0] == f"{20 - level:.2f}" and cells[3] == f"{0.9 - 0.02 * level + 0.01:.2f}"
        assert page.evaluate(f"{table}.querySelector('caption').textContent") == (
            f"Noise level {VALUES[level]}"
        )
    assert playing(page) == [], "moving the slider must not start a sound"


def test_arrow_keys_move_the_slider_and_numbers_switch(page):
    page.evaluate(f"{SLIDER}.focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("ArrowLeft")
    assert page.evaluate(f"Number({SLIDER}.value)") == START + 1
    page.press("3")
    page.press(" ")
    wait_until_only(page, number("Enhanced (mask)", START + 1))
    page.press("ArrowRight")
    wait_until_only(page, number("Enhanced (mask)", START + 2))
    before = position(page, number("Enhanced (mask)", START + 2))
    page.press("1")
    wait_until_only(page, number("Noisy", START + 2))
    assert before <= position(page, number("Noisy", START + 2)) <= before + 1
    page.press(" ")
    page.wait_for(f"{AUDIO}.every(audio => audio.paused)")
    held = position(page, number("Noisy", START + 2))
    page.press("Home")
    assert page.evaluate(f"Number({SLIDER}.value)") == 0
    assert abs(position(page, number("Noisy", 0)) - held) <= 0.05, "the position is kept in silence"
    shown = page.evaluate(f"Number({GROUP}.querySelector('.seek').value)")
    assert abs(shown - held) <= 0.05
    page.press(" ")
    page.wait_for(f"{AUDIO}[{number('Noisy', 0)}].currentTime > {held + 0.1}")
    assert position(page, number("Noisy", 0)) <= held + 1.5
    assert page.problems() == []


def test_what_is_the_same_at_every_level_plays_on_untouched(page):
    play(page, "Clean")
    clean = number("Clean", START)
    page.wait_for(f"{AUDIO}[{clean}].currentTime > 0.3")
    page.evaluate(f"window.seeks = 0; {AUDIO}[{clean}].onseeking = () => {{ window.seeks++; }}")
    for level in (7, 1):
        slide(page, level)
        assert playing(page) == [clean]
    page.wait_for(f"{AUDIO}[{clean}].currentTime > 0.8")
    assert page.evaluate("window.seeks") == 0
    before = position(page, clean)
    play(page, "Noisy")
    wait_until_only(page, number("Noisy", 1))
    assert before <= position(page, number("Noisy", 1)) <= before + 1


def test_the_mouse_moves_the_slider(page):
    x, y, width = page.evaluate(
        f"(b => [b.left, b.top + b.height / 2, b.width])({SLIDER}.getBoundingClientRect())"
    )
    play(page, "Noisy")
    page.wait_for(f"{AUDIO}[{number('Noisy', START)}].currentTime > 0.2")
    page.drag([(x + share * width, y) for share in (0.5, 0.6, 0.7, 0.8, 0.99)])
    assert page.evaluate(f"Number({SLIDER}.value)") == 8
    wait_until_only(page, number("Noisy", 8))
    x, y = page.evaluate(
        f"(b => [b.left + b.width / 2, b.top + b.height / 2])"
        f"({GROUP}.querySelectorAll('.ticks span')[2].getBoundingClientRect())"
    )
    page.click(x, y)
    assert page.evaluate(f"Number({SLIDER}.value)") == 2
    wait_until_only(page, number("Noisy", 2))


def test_thumb_and_number_stand_one_above_the_other(open_page, path):
    for width in (PHONE, DESKTOP):
        page = open_page(path, width)
        box = page.evaluate(f"(b => [b.left, b.width])({SLIDER}.getBoundingClientRect())")
        centres = page.evaluate(
            f"[...{GROUP}.querySelectorAll('.ticks span')].map(t => t.getBoundingClientRect())"
            ".map(b => b.left + b.width / 2)"
        )
        thumb = 24
        expected = box[0] + thumb / 2 + np.arange(9) / 8 * (box[1] - thumb)
        assert np.abs(np.array(centres) - expected).max() <= 1
        numbers = page.evaluate(f"""[...{GROUP}.querySelectorAll('.ticks span')].map((tick) => {{
            const range = document.createRange();
            range.selectNodeContents(tick);
            const box = range.getBoundingClientRect();
            return [box.left, box.right];
        }})""")
        gaps = [right[0] - left[1] for left, right in zip(numbers, numbers[1:], strict=False)]
        assert min(gaps) >= 2, "numbers run into each other"


def test_groups_do_not_disturb_each_other(page):
    play(page, "Noisy")
    page.wait_for(f"{AUDIO}[{number('Noisy', START)}].currentTime > 0.1")
    other = "document.querySelectorAll('.levels')[1]"
    page.evaluate(f"{other}.querySelector('.play').click()")
    page.wait_for(f"{AUDIO}.every(audio => audio.paused)")
    page.evaluate(f"{other}.querySelector('.level input').focus()")
    page.press("ArrowRight")
    assert page.evaluate(f"{other}.querySelector('output').textContent") == "5 dB"
    assert page.evaluate(f"{other}.querySelector('.level input').ariaValueText") == "5 dB"
    assert page.evaluate(f"Number({SLIDER}.value)") == START
    page.press("2")
    page.wait_for(f"!{other}.querySelectorAll('audio')[1].paused")
    slide(page, 0)
    assert playing(page) == []
    assert page.evaluate(f"!{other}.querySelectorAll('audio')[1].paused"), "the other goes on"


def test_only_as_many_sounds_are_loaded_as_may_be_needed_soon(page):
    loaded = "[...document.querySelectorAll('audio')].map(a => a.preload).filter(p => p != 'none')"
    assert len(page.evaluate(loaded)) == 2 + 3 + 1 + 2
    play(page, "Enhanced (mask)")
    slide(page, 8)
    assert len(page.evaluate(loaded)) == 2 + 3 + 1 + 2 + 3 + 2


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_looks(open_page, path, width, dark):
    page = open_page(path, width, dark=dark)
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    play(page, "Enhanced (mapping)")
    page.wait_for(f"{AUDIO}[{number('Enhanced (mapping)', START)}].currentTime > 0.5")
    page.screenshot(SCREENSHOTS / f"levels-{width}-{'dark' if dark else 'light'}.png")
    assert page.problems() == []
    assert page.requests() == [page.url]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(f"{SLIDER}.focus({{focusVisible: true}})")
    assert page.evaluate(f"getComputedStyle({SLIDER}).outlineStyle") == "solid"
    assert page.evaluate(
        f"document.querySelector('label[for=' + {SLIDER}.id + ']').textContent"
    ) == ("Noise level")


def test_without_script_all_levels_stand_one_below_the_other(open_page, path):
    page = open_page(path, PHONE, script=False)
    shown = "filter(part => part.getClientRects().length).length"
    assert page.evaluate(f"{AUDIO}.{shown}") == 3 * 9 + 1
    assert page.evaluate(f"{AUDIO}.every(audio => audio.controls)")
    assert page.evaluate(f"[...{GROUP}.querySelectorAll('.paper, .table')].{shown}") == 18
    assert page.evaluate(f"[...{GROUP}.querySelectorAll('.level-name')].{shown}") == 36
    assert page.evaluate(f"[...{GROUP}.querySelectorAll('.level, .wave, .seek')].{shown}") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    page.screenshot(SCREENSHOTS / "levels-no-script.png")


@pytest.mark.parametrize("path", given_pages(), ids=str)
def test_the_slider_of_a_given_page_changes_what_plays(open_page, path):
    page = open_page(path)
    if not page.evaluate("document.querySelector('.levels') !== null"):
        pytest.skip("this page has no slider")
    sounds = "[...document.querySelectorAll('audio')]"
    page.evaluate("document.querySelector('.levels .play').click()")
    page.wait_for(f"{sounds}.some(audio => audio.currentTime > 0.5)")
    heard = [page.evaluate(f"{sounds}.find(audio => !audio.paused).currentSrc")]
    n_levels = page.evaluate(f"Number({SLIDER}.max) + 1")
    assert n_levels >= 8
    for level in (0, n_levels - 1):
        slide(page, level)
        page.wait_for(
            f"{sounds}.filter(audio => !audio.paused).length === 1 && "
            f"{sounds}.find(audio => !audio.paused).currentSrc !== {heard[-1]!r}"
        )
        assert page.evaluate(f"{sounds}.find(audio => !audio.paused).currentTime") > 0.5
        heard.append(page.evaluate(f"{sounds}.find(audio => !audio.paused).currentSrc"))
    assert len(set(heard)) == 3
    assert page.problems() == []
