import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import kill_target
import numpy as np
import pytest
from kill_target import make_task, mean_squared_error, train

from scratchaudio.checkpoint import load_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.nn.layer import Layer, Parameter
from scratchaudio.nn.optim import SGD, Adam, AdamW
from scratchaudio.training import fit

N_KILLS = int(os.environ.get("SCRATCHAUDIO_KILLS", "40"))
KILL_SEED = int(os.environ.get("SCRATCHAUDIO_KILL_SEED", "5"))


class Still(Layer):
    """A model of one number that training does not change, for a loss given as a list."""

    def __init__(self):
        self.a = Parameter(np.zeros(1))

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class Counter:
    """An optimiser that adds 1 at each step, so that weights tell which epoch they are from."""

    def __init__(self, model):
        self.model, self.lr, self.rates = model, 0.25, []

    def step(self):
        self.model.a.value += 1
        self.rates.append(self.lr)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def fit_still(losses=(0.5,), measures=None, **options):
    """Two equal steps an epoch with the given losses; returns (model, history, optimizer)."""
    model = Still()
    optimizer = options.pop("optimizer", Counter(model))
    optimizer.model = model
    step_losses = iter(np.repeat(losses, 2))
    epoch_measures = iter(measures or [])

    def batches(rng):
        yield (np.zeros(1),), ()
        yield (np.zeros(1),), ()

    def loss_function(prediction):
        return next(step_losses, losses[-1]), prediction

    if measures is not None:
        options["validate"] = lambda model: next(epoch_measures)
    options = {"n_epochs": 6, "rng": 0, "verbose": False, **options}
    history = fit(model, optimizer, batches, loss_function, **options)
    return model, history, optimizer


# Learning -------------------------------------------------------------------------------------


def test_it_learns_and_the_history_tells(tmp_path):
    _, history = train(tmp_path / "run.npz", 60)
    assert [record["epoch"] for record in history] == list(range(1, 61))
    assert all(record.keys() == {"epoch", "loss", "error"} for record in history)
    assert history[-1]["error"] < 0.1 * history[0]["error"]


def test_one_epoch_is_the_five_lines_written_out():
    """Oracle: the loop of nn/layer.py, by hand, with clipping and schedule."""
    model, optimizer, batches, _, rng = make_task()
    rates, loss_sum = iter([0.3, 0.2, 0.1]), 0.0
    for (x,), (target,) in batches(rng):
        optimizer.lr = next(rates)
        model.W.grad[...] = 0
        model.b.grad[...] = 0
        loss, dprediction = mean_squared_error(model.forward(x), target)
        loss_sum += loss
        model.backward(dprediction)
        norm = np.sqrt((model.W.grad**2).sum() + (model.b.grad**2).sum())
        assert norm > 0.5, "the clipping below must have something to clip"
        model.W.grad *= 0.5 / norm
        model.b.grad *= 0.5 / norm
        optimizer.step()

    other, optimizer, batches, _, rng = make_task()
    history = fit(
        other,
        optimizer,
        batches,
        mean_squared_error,
        n_epochs=1,
        rng=rng,
        schedule=lambda step: [0.3, 0.2, 0.1][step],
        max_norm=0.5,
        verbose=False,
    )
    np.testing.assert_allclose(other.W.value, model.W.value, rtol=1e-5)
    np.testing.assert_allclose(other.b.value, model.b.value, rtol=1e-5)
    assert history == [{"epoch": 1, "loss": pytest.approx(loss_sum / 3, rel=1e-6)}]


def test_schedule_counts_steps_over_all_epochs():
    *_, optimizer = fit_still(n_epochs=3, schedule=lambda step: 10.0 - step)
    assert optimizer.rates == [10, 9, 8, 7, 6, 5]


def test_loss_is_the_mean_over_the_steps():
    losses = iter([1.0, 2.0, 6.0, 3.0, 3.0, 3.0])

    def batches(rng):
        for _ in range(3):
            yield (np.zeros(1),), ()

    model = Still()
    history = fit(
        model, Counter(model), batches, lambda p: (next(losses), p), n_epochs=2, verbose=False
    )
    assert [record["loss"] for record in history] == [3.0, 3.0]


def test_validation_runs_in_evaluation_mode_and_training_in_training_mode():
    modes = []
    model = Still()

    def batches(rng):
        modes.append(model.training)
        yield (np.zeros(1),), ()

    fit(
        model.eval(),
        Counter(model),
        batches,
        lambda p: (1.0, p),
        n_epochs=2,
        validate=lambda m: modes.append(m.training) or 0.5,
        verbose=False,
    )
    assert modes == [True, False, True, False]


def test_seed_alone_decides(tmp_path):
    digests = set()
    for name in ("a.npz", "b.npz"):
        train(tmp_path / name, 5)
        digests.add(sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1, "the same seed must give the same bytes"
    train(tmp_path / "b.npz", 5, resume=False, task={"seed": 1})
    assert sha256((tmp_path / "b.npz").read_bytes()).hexdigest() not in digests


# The best epoch, and when to stop -------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "measures", "best"),
    [
        ("max", [0.1, 0.8, 0.5, 0.8, 0.3, 0.2], 2),
        ("min", [0.9, 0.7, 0.2, 0.4, 0.2, 0.8], 3),
        ("max", [float("nan"), 0.1, float("nan"), 0.3, 0.2, float("nan")], 4),
    ],
)
def test_the_model_ends_with_the_weights_of_the_best_epoch(mode, measures, best):
    measures = [{"f1": value} for value in measures]
    model, history, _ = fit_still(measures=measures, monitor="f1", mode=mode)
    assert len(history) == 6
    assert model.a.value == 2 * best, "two steps an epoch, each adds 1"


def test_without_monitor_the_model_ends_with_its_last_weights():
    model, *_ = fit_still(measures=[0.1] * 6)
    assert model.a.value == 12


def test_patience(capsys):
    measures = [0.5, 0.6, 0.4, 0.55, 0.3, 0.9]
    model, history, _ = fit_still(
        measures=measures, monitor="validation", mode="max", patience=3, verbose=True
    )
    assert len(history) == 5 and model.a.value == 4
    assert "validation has not improved for 3 epochs" in capsys.readouterr().out
    _, history, _ = fit_still(measures=measures, monitor="validation", mode="max", patience=4)
    assert len(history) == 6


def test_the_training_loss_can_be_monitored():
    model, *_ = fit_still(losses=[5.0, 3.0, 4.0, 6.0, 7.0, 8.0], monitor="loss")
    assert model.a.value == 4


def test_max_seconds_stops_after_the_epoch(capsys):
    begin = time.monotonic()
    _, history, _ = fit_still(
        measures=(time.sleep(0.04) or 0.5 for _ in range(1000)),
        n_epochs=1000,
        max_seconds=0.1,
        verbose=True,
    )
    assert 3 <= len(history) <= 4 or time.monotonic() - begin > 0.2  # a busy machine
    assert len(history) < 10
    assert "0.1 s have passed" in capsys.readouterr().out


# Mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_once(bad, tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(ConfigError) as caught:
        fit_still(losses=[0.5, 0.5, bad], checkpoint_path=path)
    message = str(caught.value)
    assert f"the loss is {bad} at epoch 3, step 1" in message, message
    assert "learning rate 0.25" in message and "max_norm" in message
    assert len(load_checkpoint(path).progress["history"]) == 2


def test_nan_in_the_data_is_named():
    model, optimizer, _, _, rng = make_task()

    def batches(rng):
        x = np.ones((5, 6), np.float32)
        yield (x,), (np.ones((5, 4)),)
        yield (x,), (np.full((5, 4), np.nan),)

    with pytest.raises(ShapeError, match=r"targets\[0\] of epoch 1, step 2 holds NaN"):
        fit(model, optimizer, batches, mean_squared_error, n_epochs=3, rng=rng, verbose=False)


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path):
    class Spoiler(Counter):
        def step(self):
            super().step()
            if len(self.rates) == 4:
                self.model.a.value[...] = np.inf

    with pytest.raises(ConfigError, match="a holds NaN or infinite values after epoch 2"):
        fit_still(optimizer=Spoiler(None), checkpoint_path=tmp_path / "run.npz")
    assert len(load_checkpoint(tmp_path / "run.npz").progress["history"]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_epochs": 0}, "n_epochs must be an integer of at least 1, got 0"),
        ({"patience": 0, "monitor": "loss"}, "patience must be an integer of at least 1"),
        ({"patience": 3}, "patience needs monitor"),
        ({"mode": "best"}, "mode must be 'min' or 'max', got 'best'"),
        ({"resume": True}, "resume needs checkpoint_path"),
        ({"monitor": "f1"}, "monitor is 'f1', but the measures are ['epoch', 'loss']"),
        ({"measures": [{"loss": 1.0}]}, "validate must not name its measures ['loss']"),
        ({"measures": [{"f1": "high"}]}, "validate must return floats, but 'f1' is 'high'"),
        ({"measures": [np.ones(2)]}, "validate must return floats, but 'validation' is array"),
    ],
)
def test_impossible_settings(options, words):
    with pytest.raises(ConfigError) as caught:
        fit_still(**options)
    assert words in str(caught.value)


def test_no_batches():
    model = Still()
    with pytest.raises(ConfigError, match="no batch in epoch 1"):
        fit(model, Counter(model), lambda rng: [], lambda p: (0.0, p), n_epochs=1, verbose=False)


def test_a_layer_with_a_generator_of_its_own_is_refused(tmp_path):
    model, optimizer, batches, _, _ = make_task()
    with pytest.raises(ConfigError, match=r"NoisyLinear\.rng is another generator than rng"):
        fit(
            model,
            optimizer,
            batches,
            mean_squared_error,
            n_epochs=1,
            rng=np.random.default_rng(0),
            checkpoint_path=tmp_path / "run.npz",
        )


# Resuming -------------------------------------------------------------------------------------


def digest_of(path):
    return sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("cut", range(1, 9))
def test_resumed_run_is_bit_identical(tmp_path, cut):
    whole_model, whole_history = train(tmp_path / "whole.npz", 9)
    train(tmp_path / "cut.npz", cut)
    model, history = train(tmp_path / "cut.npz", 9)
    assert history == whole_history
    assert digest_of(tmp_path / "cut.npz") == digest_of(tmp_path / "whole.npz")
    np.testing.assert_array_equal(model.W.value, whole_model.W.value)


@pytest.mark.parametrize("optimizer_class", [SGD, Adam, AdamW])
def test_resumed_run_is_bit_identical_with_each_optimiser(tmp_path, optimizer_class):
    def run(path, n_epochs):
        model, _, batches, _, rng = make_task()
        optimizer = optimizer_class(model.parameters(), lr=0.01)
        options = {"n_epochs": n_epochs, "rng": rng, "checkpoint_path": path, "resume": True}
        return fit(model, optimizer, batches, mean_squared_error, verbose=False, **options)

    whole = run(tmp_path / "whole.npz", 5)
    run(tmp_path / "cut.npz", 2)
    assert run(tmp_path / "cut.npz", 5) == whole
    assert digest_of(tmp_path / "cut.npz") == digest_of(tmp_path / "whole.npz")


def test_resuming_a_finished_or_stopped_run_changes_nothing(tmp_path):
    path = tmp_path / "run.npz"
    model, history = train(path, 4)
    content = path.read_bytes()
    again, same = train(path, 4)
    assert same == history and path.read_bytes() == content
    np.testing.assert_array_equal(again.W.value, model.W.value)

    measures = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    options = {"monitor": "validation", "patience": 2, "checkpoint_path": path}
    model, history, _ = fit_still(measures=measures, **options)
    assert len(history) == 3
    again, same, _ = fit_still(measures=measures, resume=True, **options)
    assert same == history and again.a.value == model.a.value == 2


def test_resume_refuses_other_settings(tmp_path):
    path = tmp_path / "run.npz"
    train(path, 1, settings={"n_hidden": 6})
    with pytest.raises(CheckpointError, match="n_hidden was 6, now 7"):
        train(path, 2, settings={"n_hidden": 7})
    with pytest.raises(CheckpointError, match="expected"):
        train(path, 2, settings={"n_hidden": 6}, task={"n_in": 7})
    train(path, 2, settings={"n_hidden": 6})


def test_resume_without_a_checkpoint_begins_and_says_so(tmp_path, capsys):
    path = tmp_path / "run.npz"
    train(path, 1, verbose=True)
    assert f"no checkpoint at {path} yet: starting with epoch 1" in capsys.readouterr().out
    train(path, 2, verbose=True)
    assert f"resuming {path} after epoch 1" in capsys.readouterr().out


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    path = tmp_path / "run.npz"
    whole_model, _ = train(tmp_path / "whole.npz", 5)

    n_losses = 0

    def interrupted_loss(prediction, target):
        nonlocal n_losses
        n_losses += 1
        if n_losses == 2 * (3 + 1) + 2:  # 3 steps and a validation an epoch: step 2 of epoch 3
            raise KeyboardInterrupt
        return mean_squared_error(prediction, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kill_target, "mean_squared_error", interrupted_loss)
        train(path, 5, verbose=True)
    out = capsys.readouterr().out
    assert "interrupted in epoch 3" in out
    assert f"{path} holds the last whole epoch: go on with resume=True" in out
    model, _ = train(path, 5)
    np.testing.assert_array_equal(model.W.value, whole_model.W.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed program forks itself")
def test_killed_at_random_moments(tmp_path):
    """SIGKILL, again and again: what is on the disk loads, and the end is the same to the bit."""
    rng = np.random.default_rng(KILL_SEED)
    n_epochs = 4 * N_KILLS
    whole, path = tmp_path / "whole.npz", tmp_path / "killed.npz"
    begin = time.monotonic()
    train(whole, n_epochs, task=kill_target.LARGE)
    seconds = time.monotonic() - begin

    kills, half_written, epochs_before = 0, 0, 0
    command = [sys.executable, kill_target.__file__, str(path), str(n_epochs)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as server:
        while kills < N_KILLS:
            print("train", file=server.stdin, flush=True)
            process = int(server.stdout.readline())
            time.sleep(rng.uniform(0, 1.5 * seconds / N_KILLS))
            with contextlib.suppress(ProcessLookupError):  # it may have come to its end
                os.kill(process, signal.SIGKILL)
            status = int(server.stdout.readline())
            assert status in (0, -signal.SIGKILL), "the child failed by itself: see its traceback"
            kills += status != 0
            for file in tmp_path.glob(".killed.npz.*.tmp"):
                half_written += 1
                file.unlink()
            if path.exists():
                n_done = len(load_checkpoint(path).progress["history"])
                assert n_done >= epochs_before, "a finished epoch was lost"
                epochs_before = n_done
            if status == 0:  # a whole run of killed pieces: the next kills need another one
                assert digest_of(path) == digest_of(whole)
                path.unlink()
                epochs_before = 0
    assert half_written >= N_KILLS // 10, f"{half_written} kills hit the writing: no power"
    train(path, n_epochs, task=kill_target.LARGE)
    assert digest_of(path) == digest_of(whole)


# The progress line ----------------------------------------------------------------------------


def test_progress_is_one_plain_line_for_each_epoch_when_not_a_terminal(tmp_path, capsys):
    train(tmp_path / "run.npz", 3, verbose=True, resume=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, start=1):
        assert re.match(rf"epoch {number}/3  loss \d\S*  error \d\S*", line), line
    assert lines[0].endswith("(best)  0:00 left")
    assert "left" not in lines[2] and "\r" not in "".join(lines)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def what_stands(line):
    """What a terminal shows in the end: each carriage return writes over what was there."""
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown.rstrip()


def test_progress_is_written_over_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    clock = iter(np.arange(0, 1000, 0.11))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    fit_still(measures=[{"f1": 0.123456}] * 6, n_epochs=2, verbose=True)
    text = terminal.getvalue()
    assert text.count("\n") == 2, "one line stays for each epoch"
    assert "epoch 1/2  step 1  loss 0.5" in text, "in epoch 1 the number of steps is unknown"
    assert re.search(r"epoch 2/2  step [12]/2  loss 0.5 .*left", text)
    screen = [what_stands(line) for line in text.split("\n")[:-1]]
    assert screen == ["epoch 1/2  loss 0.5  f1 0.1235  0:01 left", "epoch 2/2  loss 0.5  f1 0.1235"]
    assert max(len(part) for part in re.split(r"[\r\n]", text)) < 60


def test_progress_on_a_terminal_is_never_noisy(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    fit_still(n_epochs=400)
    assert terminal.getvalue() == "", "verbose=False shows nothing"
    monkeypatch.setenv("COLUMNS", "20")
    fit_still(n_epochs=4, verbose=True)
    assert max(len(part) for part in re.split(r"[\r\n]", terminal.getvalue())) == 19
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    before = len(terminal.getvalue())
    fit_still(n_epochs=4, verbose=True)
    assert "step" not in terminal.getvalue()[before:], "steps within 0.1 s are not shown"


def test_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def measures():
        while True:
            now[0] += 20.0
            yield 0.5

    fit_still(measures=measures(), n_epochs=6, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines[:-1]] == [
        f"{left} left" for left in ("1:40", "1:20", "1:00", "0:40", "0:20")
    ]
    fit_still(measures=measures(), n_epochs=600, max_seconds=50, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines[:3]] == ["0:30 left", "0:10 left", "0:00 left"]
    assert len(lines) == 4
