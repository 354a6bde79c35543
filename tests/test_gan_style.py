"""The demo of style transfer: its instruments, its measures, its training loop, its page."""

import contextlib
import importlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import nn, plot
from scratchaudio.errors import ConfigError
from scratchaudio.models import CycleGAN, PatchDiscriminator, cyclegan, load_model

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY = {"width": 3, "n_blocks": 1, "n_fft": 32, "hop_length": 8, "sample_rate": 8000}
SR = 8000


@pytest.fixture(scope="module")
def demo():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.reload(importlib.import_module("gan_style"))


# Melodies and instruments ------------------------------------------------------------------------


def test_melodies_keep_to_their_range_and_scale(demo):
    drawn = [demo.draw_melody(np.random.default_rng(seed)) for seed in range(40)]
    for melody in drawn:
        for note, following in zip(melody, melody[1:], strict=False):
            assert note.start + note.seconds <= following.start + 1e-9
        assert melody[-1].start + melody[-1].seconds <= demo.SECONDS
        assert any({(n.midi - key) % 12 for n in melody} <= set(demo.SCALE) for key in range(12))
    notes = [note for melody in drawn for note in melody]
    assert {demo.LOWEST, demo.HIGHEST} <= {n.midi for n in notes}
    assert min(n.midi for n in notes) >= demo.LOWEST and max(n.midi for n in notes) <= demo.HIGHEST
    assert {n.seconds for n in notes} == set(demo.DURATIONS)
    assert -9 <= min(n.level for n in notes) < -8 and -1 < max(n.level for n in notes) <= 0
    assert demo.Note(0, 1, 69, 0).frequency == 440
    assert demo.Note(0, 1, 57, 0).frequency == pytest.approx(220)


def envelope(x):
    """RMS of tenths of a sound."""
    return np.sqrt([np.square(part).mean() for part in np.array_split(x, 10)])


@pytest.mark.parametrize("midi", [55, 67, 79])
def test_a_string_dies_away_and_a_flute_lasts(demo, midi):
    note = demo.Note(0, 0.6, midi, 0)
    string, flute = (play(note, np.random.default_rng(0)) for play in (demo.pluck, demo.blow))
    assert len(string) == len(flute) == 4800
    s, f = envelope(string), envelope(flute)
    assert s[0] > 2.5 * s[8] and (np.diff(s[:9]) < 0.02).all()
    assert f[0] < 0.8 * f[4] and f[2:9].min() > 0.9 * f[2:9].max()
    for x in (string, flute):
        assert abs(x[0]) < 1e-3 and abs(x[-1]) < 1e-2
        assert 0.2 < abs(x).max() <= 1
    # At the beginning, the string has more than a tenth of its power above the second harmonic.
    share = []
    for x in (string[:1024], flute[600:1624]):
        power = np.abs(np.fft.rfft(x * np.hanning(1024))) ** 2
        share.append(power[round(2.5 * note.frequency / SR * 1024) :].sum() / power.sum())
    assert share[0] > 0.1 > 3 * share[1]


def test_another_take_is_the_same_melody_and_another_sound(demo):
    melody = demo.draw_melody(np.random.default_rng(0))
    for play in (demo.pluck, demo.blow):
        one, two, again = (demo.render(melody, play, np.random.default_rng(s)) for s in (1, 2, 1))
        assert one.dtype == np.float32 and one.shape == (4 * SR,) and abs(one).max() <= 1
        np.testing.assert_array_equal(one, again)
        assert 0.05 < demo.log_mel_distance(one, two) < 1.5
    notes = melody[2]
    within = slice(round(notes.start * SR), round((notes.start + notes.seconds) * SR))
    alone = demo.render([notes], demo.blow, np.random.default_rng(1))
    assert abs(alone[: within.start]).max() < 1e-3 and abs(alone[within]).max() > 0.05
    louder = demo.render([notes._replace(level=notes.level + 6)], demo.blow, 
                         np.random.default_rng(1))  # fmt: skip
    assert abs(louder).max() / abs(alone).max() == pytest.approx(2, rel=0.01)


def test_no_melody_is_learnt_by_both_and_none_is_held_out(demo, monkeypatch):
    """Every melody that is drawn is drawn once."""
    drawn = []
    draw_melody = demo.draw_melody
    monkeypatch.setattr(
        demo, "draw_melody", lambda rng: drawn.append(draw_melody(rng)) or drawn[-1]
    )
    rng = np.random.default_rng(0)
    a, b = (demo.learning_pictures(5, play, rng) for play in (demo.pluck, demo.blow))
    held_out = demo.held_out_melodies(3, np.random.default_rng(1))
    assert len({tuple(melody) for melody in drawn}) == 5 + 5 + 3
    assert a.shape == b.shape == (5, 128, 1 + 4 * SR // 64) and a.dtype == np.float32
    for h in held_out:
        assert demo.melody_kept(h.a, h.melody) == demo.melody_kept(h.b, h.melody) == 1
        assert demo.log_mel_distance(h.b, h.other_b) < 0.3 * demo.log_mel_distance(h.b, h.a)
        assert demo.log_mel_distance(h.a, h.other_a) < 0.3 * demo.log_mel_distance(h.b, h.a)


# Measures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("midi", range(55, 80, 3))
def test_the_pitch_of_both_instruments(demo, midi):
    note = demo.Note(0, 0.6, midi, 0)
    for play in (demo.pluck, demo.blow):
        x = play(note, np.random.default_rng(midi))
        f = demo.pitch(x[800 : 800 + demo.PITCH_FRAME])
        assert abs(1200 * np.log2(f / note.frequency)) < 20, (midi, play)


def test_silence_has_no_pitch_and_a_wrong_note_is_heard(demo):
    assert demo.pitch(np.zeros(demo.PITCH_FRAME)) == 0
    melody = [demo.Note(0.1, 0.6, 60, 0), demo.Note(0.8, 0.6, 64, 0)]
    rng = np.random.default_rng(0)
    assert demo.melody_kept(demo.render(melody, demo.blow, rng), melody) == 1
    for cents, kept in ((40, 1.0), (60, 0.5)):
        detuned = [melody[0], melody[1]._replace(midi=64 + cents / 100)]
        assert demo.melody_kept(demo.render(detuned, demo.pluck, rng), melody) == kept
    assert demo.melody_kept(np.zeros(4 * SR, np.float32), melody) == 0
    assert demo.melody_kept(np.zeros(4 * SR, np.float32), []) == 1


def test_the_distance_is_in_decibels(demo):
    x = 0.1 * np.random.default_rng(0).standard_normal(SR).astype(np.float32)
    assert demo.log_mel_distance(x, x) == 0
    assert demo.log_mel_distance(x, 2 * x) == pytest.approx(20 * np.log10(2), abs=1e-3)
    silence = np.zeros_like(x)
    assert (demo.log_mel(silence) == demo.FLOOR).all()
    assert demo.log_mel_distance(silence, 1e-6 * x) == 0
    # a sine at full scale lies at 0 dB in the band it falls into, up to the triangle's slope
    sine = np.sin(2 * np.pi * 1000 * np.arange(SR) / SR)
    assert -3 < demo.log_mel(sine)[:, 20].max() < 3


def test_the_filter_brings_mean_and_spread(demo):
    rng = np.random.default_rng(0)
    a = rng.random((6, 16, 40)) + np.arange(16)[:, None]
    b = 3 * rng.random((6, 16, 40)) - 1
    model = CycleGAN(**TINY, rng=0)
    ways = demo.directions(model, [], a, b)
    assert ways[0].generator is model.to_b and ways[1].generator is model.to_a
    for way, given, wanted in zip(ways, (a, b), (b, a), strict=True):
        made = demo.filtered(given, way.statistics)
        np.testing.assert_allclose(made.mean(axis=(0, 2)), wanted.mean(axis=(0, 2)))
        np.testing.assert_allclose(made.std(axis=(0, 2)), wanted.std(axis=(0, 2)))


def test_patches_come_from_everywhere(demo, monkeypatch):
    monkeypatch.setattr(demo, "PATCH", 3)
    pictures = np.arange(4 * 2 * 5).reshape(4, 2, 5)
    patches = demo.draw_patches(pictures, 200, np.random.default_rng(0))
    assert patches.shape == (200, 1, 2, 3)
    wanted = {pictures[i, :, s : s + 3].tobytes() for i in range(4) for s in range(3)}
    assert {patch[0].tobytes() for patch in patches} == wanted


# The training loop -------------------------------------------------------------------------------


class Spy(nn.Adam):
    """Adam that tells before and after it moves its parameters."""

    def step(self):
        self.watch(self, "before")
        super().step()
        self.watch(self, "after")


@pytest.fixture
def loop(demo, monkeypatch):
    """Run the example's training loop on small networks; `watch(optimizer, when)` sees each step.

    Returns run(watch, steps, dtype) -> (model, discriminators A and B, patches a and b, history).
    """
    monkeypatch.setattr(demo, "PATCH", 12)
    monkeypatch.setattr(demo, "Adam", Spy)

    def run(watch, steps=1, dtype=np.float32):
        monkeypatch.setattr(Spy, "watch", staticmethod(watch), raising=False)
        rng = np.random.default_rng(0)
        model = CycleGAN(**TINY, rng=rng).astype(dtype)
        critics = [PatchDiscriminator(3, 1, rng=rng).astype(dtype) for _ in range(2)]
        for layer in (model, *critics):
            for p in layer.parameters():
                p.value += (0.1 * rng.standard_normal(p.value.shape)).astype(dtype)
                p.grad[...] = rng.standard_normal(p.grad.shape)  # of an earlier step
        players.update(model=model, D_A=critics[0], D_B=critics[1])
        queue = list(critics)
        monkeypatch.setattr(demo, "PatchDiscriminator", lambda **settings: queue.pop(0))
        pictures = rng.random((2, 5, 16, 30)).astype(dtype)
        a, b = (demo.draw_patches(p, 3, r) for r in [np.random.default_rng(8)] for p in pictures)
        history = demo.train(
            model, *pictures, lambda step, model: None,
            steps=steps, batch_size=3, lr=1e-3, cycle=7.0, spectral=False,
            rng=np.random.default_rng(8),
        )  # fmt: skip
        return a, b, history

    players = {}
    run.players = players
    return run


def test_each_update_moves_one_player_and_leaves_no_trace_in_the_others(loop):
    """Values and gradients of the players whose turn it is not: bit for bit the same."""
    turns, before_turn = [], {}

    def state(name):
        return [(p.value.tobytes(), p.grad.tobytes()) for p in loop.players[name].parameters()]

    def watch(optimizer, when):
        (owner,) = (
            name for name, player in loop.players.items()
            if player.parameters()[0] is optimizer.parameters[0]
        )  # fmt: skip
        now = {name: state(name) for name in loop.players}
        if when == "before":
            for name in loop.players:
                if name == owner:
                    assert all(g[1] != h[1] for g, h in zip(now[name], last[name], strict=True))
                    assert [v for v, _ in now[name]] == [v for v, _ in last[name]]
                else:
                    assert now[name] == last[name], f"{owner}'s turn touches {name}"
            turns.append(owner)
        else:
            for name in loop.players:
                if name == owner:
                    pairs = zip(now[name], before_turn[name], strict=True)
                    assert all(g[0] != h[0] for g, h in pairs)
                else:
                    assert now[name] == before_turn[name], f"{owner}'s step moves {name}"
            last.update(now)
        before_turn.clear()
        before_turn.update(now)

    class Last(dict):
        def __missing__(self, name):  # before the first turn
            self[name] = [(v, b"none") if name == "model" else (v, g) for v, g in state(name)]
            return self[name]

    last = Last()
    loop(watch, steps=3)
    assert turns == ["model", "D_B", "D_A"] * 3


def test_the_gradients_are_those_of_the_losses(loop):
    """Along a random direction through all parameters, by differences, in float64."""
    seen = {}

    def watch(optimizer, when):
        if when == "before":
            seen[id(optimizer.parameters[0])] = [p.grad.copy() for p in optimizer.parameters]
            optimizer.lr = 0.0

    a, b, history = loop(watch, dtype=np.float64)
    model, D_A, D_B = (loop.players[name] for name in ("model", "D_A", "D_B"))
    G, F = model.to_b.forward, model.to_a.forward

    def generators():
        fool = ((D_B.forward(G(a)) - 1) ** 2).mean() + ((D_A.forward(F(b)) - 1) ** 2).mean()
        cycle = abs(F(G(a)) - a).mean() + abs(G(F(b)) - b).mean()
        return fool + 7 * cycle + 3.5 * (abs(F(a) - a).mean() + abs(G(b) - b).mean())

    fake_a, fake_b = F(b), G(a)

    def for_b():
        return ((D_B.forward(b) - 1) ** 2).mean() + (D_B.forward(fake_b) ** 2).mean()

    def for_a():
        return ((D_A.forward(a) - 1) ** 2).mean() + (D_A.forward(fake_a) ** 2).mean()

    (losses,) = history
    assert for_b() == pytest.approx(losses["D_B"]) and for_a() == pytest.approx(losses["D_A"])
    total = losses["G"] + losses["F"] + 7 * losses["cycle"] + 3.5 * losses["identity"]
    assert generators() == pytest.approx(total)
    rng = np.random.default_rng(1)
    for player, loss in ((model, generators), (D_B, for_b), (D_A, for_a)):
        parameters = player.parameters()
        grads = seen[id(parameters[0])]
        direction = [rng.standard_normal(p.value.shape) for p in parameters]
        expected, h = sum((g * d).sum() for g, d in zip(grads, direction, strict=True)), 1e-6
        values = []
        for side in (1, -2, 1):  # there, as far to the other side, and home
            for p, d in zip(parameters, direction, strict=True):
                p.value += side * h * d
            values.append(loss())
        measured = (values[0] - values[1]) / (2 * h)
        assert measured == pytest.approx(expected, rel=1e-4) and abs(expected) > 0.01


def test_the_learning_rate_ends_at_nothing(loop):
    rates = []
    loop(lambda optimizer, when: rates.append(optimizer.lr), steps=8)
    assert len(rates) == 8 * 3 * 2
    np.testing.assert_allclose(
        rates[::6], 1e-3 * np.array([1, 1, 1, 1, 1, 0.75, 0.5, 0.25]), rtol=1e-12
    )


# The page ----------------------------------------------------------------------------------------


def sketch(levels, sr, hop_length, dynamic_range):
    """Stand-in for three spectrograms side by side, which take long to draw."""
    assert len(levels) == 3 and all(S_db.ndim == 2 for S_db in levels.values())
    return plot.subplots(height=1)


@pytest.fixture(scope="module")
def made(demo, tmp_path_factory):
    """One small run: page, checkpoint, what was printed, scores."""
    folder = tmp_path_factory.mktemp("style") / "new"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "N_MELODIES", 2)
        patch.setattr(demo, "N_HELD_OUT", 1)
        patch.setattr(demo, "SECONDS", 1.2)
        patch.setattr(demo, "N_LOOKS", 2)
        patch.setattr(demo.plot, "spectrograms", sketch)
        patch.setattr(cyclegan, "SMALL", cyclegan.SMALL | {"width": 4, "n_blocks": 1})
        scores = demo.gan_style(
            steps=3, batch_size=1, out=folder / "page.html", checkpoint=folder / "style.npz"
        )
    return (folder / "page.html").read_text(), folder / "style.npz", printed.getvalue(), scores


def test_tables_hold_every_row_both_ways(demo, made):
    page, _, printed, scores = made
    rows = [demo.NO_TRANSFER, demo.FILTER, demo.OWN_PHASE, demo.GRIFFIN_LIM, demo.OTHER_TAKE]
    tables = re.findall(r"<table>.*?</table>", page, re.S)
    assert len(tables) == len(scores) == 2
    for table, values in zip(tables, scores, strict=True):
        assert list(values) == rows == re.findall(r'<th scope="row">([^<]+)</th>', table)
        for method in rows:
            assert f">{values[method][demo.DISTANCE]:.2f}<" in table
            assert f"{values[method][demo.DISTANCE]:24.2f}" in printed
        assert values[demo.OTHER_TAKE][demo.DISTANCE] < values[demo.NO_TRANSFER][demo.DISTANCE]
        assert values[demo.OTHER_TAKE][demo.MELODY] == 100
    assert re.search(r"step 3/3  G [\d.]+  F [\d.]+  D_B .*left", printed)


def test_the_page_has_sounds_pictures_and_curves(made):
    page, *_ = made
    labels = re.findall(r'aria-label="Play ([^",]+)"', page)
    there = ["string", "G(string)", "true flute", "F(G(string))"]
    assert labels == 2 * there + ["flute", "F(flute)", "true string", "G(F(flute))"]
    assert "A healthy run" in page and "strip of spectrograms" in page
    assert page.count('<figure class="card">') == 4
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_the_checkpoint_plays(made):
    _, path, _, _ = made
    model = load_model(path)
    assert isinstance(model, CycleGAN) and model.settings["width"] == 4
    x = 0.1 * np.random.default_rng(0).standard_normal(3001).astype(np.float32)
    assert model.play_as_b(x, SR).shape == model.play_as_a(x, SR).shape == (3001,)


def test_curves_are_means_over_spans(demo):
    history = [{"step": n, "G": float(n)} for n in range(1, 11)]
    curves = demo.smoothed(history, n=5)
    assert curves == [{"epoch": 2 * n, "G": 2 * n - 0.5} for n in range(1, 6)]
    assert len(demo.smoothed(history[:3], n=5)) == 3


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "STEPS must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "BATCH_SIZE must be an integer of at least 1, got 0"),
        ({"cycle": -1.0}, "CYCLE must be a finite number of at least 0, got -1.0"),
        ({"cycle": float("nan")}, "CYCLE must be a finite number of at least 0, got nan"),
        ({"lr": -1.0}, "lr must be a finite number of at least 0, got -1.0"),
        ({"lr": 1e30}, r"a loss is no longer finite at step \d: LR=1e[+]30 is too high"),
    ],
    ids=str,
)
def test_impossible_settings(demo, tmp_path, monkeypatch, wrong, said):
    monkeypatch.setattr(demo, "N_MELODIES", 1)
    monkeypatch.setattr(demo, "N_HELD_OUT", 1)
    monkeypatch.setattr(demo, "SECONDS", 1.2)
    files = {"out": tmp_path / "page.html", "checkpoint": tmp_path / "style.npz"}
    with pytest.raises(ConfigError, match=said), np.errstate(all="ignore"):
        demo.gan_style(**{"steps": 4, "batch_size": 1} | files | wrong)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(demo, tmp_path):
    for name in ("page.html", "style.npz"):
        files = {"out": tmp_path / "page.html", "checkpoint": tmp_path / "style.npz"}
        (tmp_path / name).write_text("mine")
        with pytest.raises(ConfigError, match=f"{name} is already there; --overwrite replaces it"):
            demo.gan_style(**files)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="is a folder, not a file to write"):
        demo.gan_style(out=tmp_path, checkpoint=tmp_path / "style.npz", overwrite=True)


def test_the_command_says_errors_in_one_line(tmp_path):
    (tmp_path / "page.html").write_text("mine")
    command = [sys.executable, EXAMPLES / "gan_style.py", "--out", tmp_path / "page.html"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"error: {tmp_path / 'page.html'} is already there; --overwrite replaces it"
    )
