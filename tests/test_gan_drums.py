"""The one-shots and the demo that learns to make them: sounds, splits, updates, page, refusals."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import metrics, nn
from scratchaudio.errors import ConfigError
from scratchaudio.models import load_model

EXAMPLES = Path(__file__).parent.parent / "examples"
KINDS = ["kick", "snare", "hi-hat", "tom", "clap", "string", "mallet"]
TINY = {
    "N_PER_KIND": 3,
    "N_HELD_OUT": 6,  # 42 sounds: more than the 40 features
    "SIZES": {"n_samples": 8192, "width": 1, "n_layers": 3, "kernel_size": 8},
    "N_LATENT": 9,
    "BATCH": 3,
    "N_RECORDS": 2,
    "N_MOMENTS": 3,
    "N_SHOWN": 2,
    "N_BETWEEN": 3,
    "HOP_LENGTH": 256,
    "DISCRIMINATOR_STEPS": 1,
    "PATHS": (("string", "string"), ("snare", "clap")),
}


@pytest.fixture(scope="module")
def one_shots():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("one_shots")


@pytest.fixture(scope="module")
def demo():
    """The example as a module, with tiny networks and few sounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        module = importlib.reload(importlib.import_module("gan_drums"))
        for name, value in TINY.items():
            patch.setattr(module, name, value)
        yield module


@pytest.fixture(scope="module")
def made(demo, tmp_path_factory):
    """One run of four steps: folder, distances, what was printed."""
    import contextlib
    import io

    folder, printed = tmp_path_factory.mktemp("drums") / "new", io.StringIO()
    with contextlib.redirect_stdout(printed):
        found = demo.gan_drums(4, checkpoint=folder / "g.npz", out=folder / "page.html")
    return folder, found, printed.getvalue()


# The sounds --------------------------------------------------------------------------------------


def test_sounds_are_what_a_generator_can_make(one_shots):
    sounds = one_shots.make_one_shots("train", 3, seed=1)
    assert list(one_shots.KINDS) == KINDS
    assert sounds.x.shape == (21, 1, 8192) and sounds.x.dtype == np.float32
    np.testing.assert_array_equal(sounds.kind, np.repeat(np.arange(7), 3))
    np.testing.assert_allclose(np.abs(sounds.x).max(axis=(1, 2)), 0.9, rtol=1e-6)
    assert (sounds.x[..., : one_shots.ONSET] == 0).all() and (sounds.x[..., -1] == 0).all()
    early = np.square(sounds.x[..., :4096]).sum(axis=-1)
    assert (early > 2 * np.square(sounds.x[..., 4096:]).sum(axis=-1)).all(), "they die away"
    claps = sounds.of_kind("clap")
    np.testing.assert_array_equal(claps.x, sounds.x[12:15])
    np.testing.assert_array_equal(claps.u, sounds.u[12:15])
    assert set(claps.kind) == {4}


def test_seeds_and_splits_make_other_sounds_and_the_same_ones_again(one_shots):
    one = one_shots.make_one_shots("train", 2, seed=1)
    np.testing.assert_array_equal(one.x, one_shots.make_one_shots("train", 2, seed=1).x)
    for other in (one_shots.make_one_shots("train", 2, 2), one_shots.make_one_shots("held_out", 2)):
        assert np.abs(one.x - other.x).max(axis=(1, 2)).min() > 0.1
    apart = [one_shots.make_one_shots(split, 2, seed=1).u[:, 2:] for split in one_shots.SPLITS]
    assert np.abs(apart[0] - apart[1]).min() > 1e-6, "each split has seeds of its own"


def test_held_out_sounds_lie_on_fields_of_their_own(one_shots):
    fields = {}
    for split in one_shots.SPLITS:
        u = one_shots.draw_numbers(split, 4000, np.random.default_rng(0))
        assert u.shape == (4000, 4) and u.min() >= 0 and u.max() < 1
        fields[split] = set(map(tuple, np.floor(5 * u[:, :2]).astype(int).tolist()))
        # Pitch by itself, and decay by itself, are spread alike in both: each fifth has its share.
        for column in u.T:
            shares = np.histogram(column, 5, (0, 1))[0] / 4000
            np.testing.assert_allclose(shares, 0.2, atol=0.03)
    assert len(fields["held_out"]) == 5 and len(fields["train"]) == 20
    assert not fields["held_out"] & fields["train"]
    assert fields["held_out"] == {(0, 2), (1, 4), (2, 1), (3, 3), (4, 0)}, "as drawn on the board"


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [("tom", 80, 220), ("string", 110, 440), ("mallet", 220, 780), ("kick", 40, 75)],
)
@pytest.mark.parametrize("pitch", [0.0, 0.5, 1.0])
def test_pitch_is_what_it_says(one_shots, name, lowest, highest, pitch):
    """The strongest frequency of the second half, where falls and clicks are over."""
    x = one_shots.KINDS[name](pitch, 1.0, 0.0, 0.0, np.random.default_rng(0))[2048:]
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 2**17))
    expected = lowest * (highest / lowest) ** pitch
    assert spectrum.argmax() * 16000 / 2**17 == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("name", KINDS)
def test_decay_and_brightness_do_what_they_say(one_shots, name):
    def make(decay, brightness):
        x = one_shots.KINDS[name](0.5, decay, brightness, 0.5, np.random.default_rng(0))
        return one_shots.finish(x)

    def centre(power):
        return (np.arange(power.size) * power).sum() / power.sum()

    short, long = (np.square(make(decay, 0.5)) for decay in (0.0, 1.0))
    assert centre(long) > 1.3 * centre(short)
    dull, bright = (np.abs(np.fft.rfft(make(0.5, b))) for b in (0.0, 1.0))
    assert centre(bright) > 1.05 * centre(dull)


def test_a_clap_is_four_bursts_and_a_tail(one_shots):
    x = one_shots.clap(0.5, 0.0, 0.5, 1.0, np.random.default_rng(0))
    gap = round(0.014 * 16000)
    energy = [np.square(x[i * gap : i * gap + 48]).sum() for i in range(6)]
    quiet = [np.square(x[(i + 1) * gap - 48 : (i + 1) * gap]).sum() for i in range(3)]
    assert min(energy[:4]) > 3 * max(quiet), "each burst is louder than the pause before the next"
    assert energy[5] < 0.3 * max(energy[:4])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "test"}, r"split must be one of \('train', 'held_out'\), got 'test'"),
        ({"n_per_kind": 0}, "n_per_kind must be an integer of at least 1, got 0"),
    ],
)
def test_impossible_sounds(one_shots, arguments, says):
    with pytest.raises(ConfigError, match=says):
        one_shots.make_one_shots(**arguments)


# The game ----------------------------------------------------------------------------------------


def play(demo, steps=1, seed=0):
    """Train tiny players for some steps; return them and the history."""
    rng = np.random.default_rng(seed)
    settings = {"kinds": KINDS, "n_latent": 9, **TINY["SIZES"]}
    players = [demo.ClassWaveGANGenerator(**settings, rng=rng) for _ in range(2)]
    players.append(demo.ClassWaveGANDiscriminator(7, **TINY["SIZES"], rng=rng))
    real = demo.make_one_shots("train", 2, 0)
    history = demo.train(real, *players, steps=steps, rng=rng, watch=lambda step, record: {})
    return players, history


def state_of(layer):
    return {n: (p.value.tobytes(), p.grad.tobytes()) for n, p in layer.named_parameters()}


def test_what_the_generator_wants_does_not_move_the_discriminator(demo, monkeypatch):
    """Parameters and gradients of D after a step are the same whatever G's loss."""
    states = []
    for scale in (1.0, 1000.0):

        def wants(logits, scale=scale):
            loss, dlogits = nn.WASSERSTEIN.generator(logits)
            return loss, scale * dlogits

        monkeypatch.setattr(demo, "GAME", demo.GAME._replace(generator=wants))
        (generator, _, discriminator), _ = play(demo)
        states.append((state_of(discriminator), state_of(generator)))
    assert states[0][0] == states[1][0]
    assert states[0][1] != states[1][1], "the generator's gradient did change"


def test_what_the_discriminator_wants_gives_the_generator_no_gradient(demo, monkeypatch):
    """Without a wish of its own the generator stays where it was."""
    monkeypatch.setattr(
        demo, "GAME", demo.GAME._replace(generator=lambda logits: (0.0, 0 * logits))
    )
    rng = np.random.default_rng(0)
    first = demo.ClassWaveGANGenerator(KINDS, 9, **TINY["SIZES"], rng=rng)
    (generator, average, discriminator), _ = play(demo)
    for p, q in zip(generator.parameters(), first.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)
        assert not p.grad.any()
    assert any(p.grad.any() for p in discriminator.parameters())


def test_each_step_begins_with_gradients_of_zero(demo, monkeypatch):
    """In the second step nobody wants anything: nothing of the first may be left."""
    calls = []

    def once(logits):
        calls.append(len(logits))
        loss, dlogits = nn.WASSERSTEIN.generator(logits)
        return loss, dlogits * (len(calls) == 1)

    monkeypatch.setattr(demo, "GAME", demo.GAME._replace(generator=once))
    (generator, _, _), _ = play(demo, steps=2)
    assert len(calls) == 2 and not any(p.grad.any() for p in generator.parameters())


def test_the_average_is_the_mean_of_the_first_steps(demo, monkeypatch):
    seen = []
    step = nn.Adam.step

    def watched(self):
        step(self)
        seen.append([p.value.copy() for p in self.parameters])

    monkeypatch.setattr(nn.Adam, "step", watched)
    (generator, average, _), history = play(demo, steps=3)
    of_generator = seen[1::2]
    rng = np.random.default_rng(0)
    first = demo.ClassWaveGANGenerator(KINDS, 9, **TINY["SIZES"], rng=rng)
    for i, (p, q) in enumerate(zip(average.parameters(), first.parameters(), strict=True)):
        mean = np.mean([q.value, *[values[i] for values in of_generator]], axis=0)
        np.testing.assert_allclose(p.value, mean, rtol=1e-4, atol=1e-6)
    assert not average.training and generator.training
    assert [record["epoch"] for record in history] == [2, 3]


def test_the_same_seed_gives_the_same_players(demo):
    (first, again), other = [play(demo, steps=2) for _ in range(2)], play(demo, steps=2, seed=1)
    assert [state_of(p) for p in first[0]] == [state_of(p) for p in again[0]]
    assert first[1] == again[1] != other[1]


def test_losses_that_are_no_numbers_stop_the_run(demo, monkeypatch):
    monkeypatch.setattr(demo, "GAME", demo.GAME._replace(generator=lambda a: (np.nan, 0 * a)))
    with pytest.raises(ConfigError, match="the losses are .*nan.* at step 1: lower the rates"):
        play(demo)


# The page ----------------------------------------------------------------------------------------


def test_the_generator_that_was_saved_makes_the_sounds(made, demo):
    folder, _, printed = made
    generator = load_model(folder / "g.npz")
    assert generator.kinds == tuple(KINDS) and generator.sample_rate == 16000
    x = generator.make("snare", 2, rng=0)
    assert x.shape == (2, 1, 8192) and np.abs(x).max() <= 1
    assert re.search(rf"saved {folder / 'g.npz'}, 0\.\d\d MB", printed)
    assert re.search(r"trained in \d+ s", printed)


def test_distances_are_printed_and_in_the_table(made, demo):
    folder, found, printed = made
    page = (folder / "page.html").read_text(encoding="utf-8")
    held_out = demo.make_one_shots("held_out", 6, 0)
    noise = found["white noise"][0]
    assert found["real, held out, drawn anew"][0] < found["white noise"][0] / 20
    for name, (distance, alone) in found.items():
        assert f"{name}: {distance:9.1f} dB^2, each kind alone {alone:9.1f}" in printed
        assert f"{distance:.0f}" in page
    x = np.random.default_rng(0).uniform(-1, 1, held_out.x.shape).astype(np.float32)
    again = metrics.frechet_distance(demo.features(held_out.x), demo.features(x))
    assert again == pytest.approx(noise, rel=0.02)
    assert len(re.findall(r"step +\d/4 .* frechet +[\d.]+ dB\^2 +\d:\d\d left", printed)) == 2


def test_a_sound_to_learn_from_is_nearest_to_itself_unless_that_is_forbidden(demo):
    train_set = demo.make_one_shots("train", 3, 0)
    places, gaps = demo.nearest(train_set.x, train_set)
    np.testing.assert_array_equal(places, np.arange(21))
    assert gaps.max() < 1e-6
    places, gaps = demo.nearest(train_set.x, train_set, skip_itself=True)
    assert (places != np.arange(21)).all() and gaps.min() > 0.1
    a, b = demo.features(train_set.x[[0, places[0]]])
    assert gaps[0] == pytest.approx(np.sqrt(np.mean((a - b) ** 2)))


def test_sounds_on_the_page(made):
    page = (made[0] / "page.html").read_text(encoding="utf-8")
    for label in ("real, held out", "made", "nearest to the made"):
        assert page.count(f'aria-label="Play {label}"') == 7, label
    for label in ("string to another", "snare to clap"):
        assert label in page
    assert page.count("<h2") == 4
    assert "Steps of training" in page and "Share of the second" in page


def test_the_way_between_two_vectors_is_straight(demo):
    a, b = np.array([0.0, 4], np.float32), np.array([1.0, 0], np.float32)
    way = demo.between(a, b, 5)
    assert way.dtype == np.float32
    np.testing.assert_allclose(way, [[0, 4], [0.25, 3], [0.5, 2], [0.75, 1], [1, 0]])


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["g.npz", "page.html"])
def test_nothing_is_overwritten_unasked(demo, tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{there} already there; --overwrite replaces"):
        demo.gan_drums(4, checkpoint=tmp_path / "g.npz", out=tmp_path / "page.html")
    assert (tmp_path / there).read_text() == "mine"


def test_the_script_says_what_is_wrong_in_one_line(tmp_path):
    script, page = EXAMPLES / "gan_drums.py", tmp_path / "page.html"
    done = subprocess.run(
        [sys.executable, script, "--steps", "0", "--out", page],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: STEPS must be an integer of at least 1, got 0\n"
