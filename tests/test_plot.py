"""Every picture shows the numbers it was given: they are read back from what was drawn."""

import json
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import same_color

from scratchaudio import metrics, plot
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError

RNG = np.random.default_rng(0)
SNRS = [20, 10, 5]
HISTORY = [{"epoch": e, "loss": 1 / e, "validation_loss": 1.2 / e} for e in (1, 2, 3, 4)]
ROC = metrics.roc_curve([0, 0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.2])
PR = metrics.precision_recall_curve([0, 0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.2])

# name -> (a drawing on tiny input, unit in the x label, unit in the y label)
DRAWINGS = {
    "waveform": (lambda ax: plot.waveform(np.zeros(7, np.float32), 4, ax=ax), "(s)", "full scale"),
    "waveform of one sample": (lambda ax: plot.waveform(np.ones(1), 4, ax=ax), "(s)", "full scale"),
    "spectrogram": (lambda ax: plot.spectrogram(np.eye(5, 3), 8000, 64, ax=ax), "(s)", "(Hz)"),
    "spectrogram, log": (
        lambda ax: plot.spectrogram(np.eye(9, 4), 8000, 64, scale="log", ax=ax),
        "(s)",
        "(Hz)",
    ),
    "spectrogram, mel": (
        lambda ax: plot.spectrogram(np.eye(3), 8000, 64, [100, 800, 3000], "mel", ax=ax),
        "(s)",
        "(Hz)",
    ),
    "spectrogram of silence": (
        lambda ax: plot.spectrogram(np.full((2, 1), -100.0), 8000, 64, ax=ax),
        "(s)",
        "(Hz)",
    ),
    "segments": (lambda ax: plot.segments([[0.1, 0.4], [1, 2]], ax=ax), "(s)", ""),
    "no segments": (lambda ax: plot.segments([], ax=ax), "(s)", ""),
    "probabilities": (
        lambda ax: plot.probabilities([0.1, 0.8, 0.3], [0, 1, 1], 0.5, ax=ax),
        "(s)",
        "(0 to 1)",
    ),
    "probability of one frame": (lambda ax: plot.probabilities([0.4], ax=ax), "(s)", "(0 to 1)"),
    "roc": (lambda ax: plot.roc(*ROC[:2], label="net", ax=ax), "FP / (FP + TN)", "TP / (TP + FN)"),
    "precision_recall": (
        lambda ax: plot.precision_recall(*PR[:2], ax=ax),
        "TP / (TP + FN)",
        "TP / (TP + FP)",
    ),
    "confusion": (lambda ax: plot.confusion([[8, 2], [0, 0]], ax=ax), "(frames)", "(frames"),
    "training_curves": (lambda ax: plot.training_curves(HISTORY, ax=ax), "epoch", "loss"),
    "training_curves, one epoch": (
        lambda ax: plot.training_curves(HISTORY[:1], ax=ax),
        "epoch",
        "loss",
    ),
    "by_snr": (lambda ax: plot.by_snr(SNRS, [0.9, 0.8, 0.7], ax=ax), "(dB)", "(0 to 1)"),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", DRAWINGS)
def test_each_drawing_stays_on_the_axes_it_was_given(name):
    draw, x_unit, y_unit = DRAWINGS[name]
    figure, ax = plt.subplots()
    before = plt.get_fignums()
    assert draw(ax) is ax
    figure.canvas.draw()  # warnings are errors
    assert plt.get_fignums() == before
    assert x_unit in ax.get_xlabel() and y_unit in ax.get_ylabel()
    assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()


@pytest.mark.parametrize("name", DRAWINGS)
def test_each_drawing_makes_one_figure_without_axes(name):
    ax = DRAWINGS[name][0](None)
    assert len(plt.get_fignums()) == 1
    assert ax.figure.get_size_inches()[0] == plot.WIDTH
    ax.figure.canvas.draw()


def test_waveform_shows_every_sample_at_its_time():
    x = RNG.normal(size=23)
    x.flags.writeable = False
    (line,) = plot.waveform(x, 8).lines
    np.testing.assert_array_equal(line.get_ydata(), x)
    np.testing.assert_array_equal(line.get_xdata(), [n / 8 for n in range(23)])


def test_spectrogram_puts_each_level_at_its_time_and_frequency():
    S_db = RNG.normal(size=(5, 3))
    ax = plot.spectrogram(S_db, sr=8000, hop_length=80)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array(), S_db)
    corners = mesh.get_coordinates()  # (F + 1, T + 1, 2)
    centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    np.testing.assert_allclose(centres[0, :, 0], [0, 0.01, 0.02], atol=1e-12)
    np.testing.assert_allclose(centres[:, 0, 1], [0, 1000, 2000, 3000, 4000], atol=1e-9)
    assert mesh.get_clim() == (S_db.max() - 80, S_db.max())
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "level (dB)"


def test_a_spectrogram_may_take_its_brightest_level_from_elsewhere():
    ax = plot.spectrogram(np.zeros((4, 3)), 8000, 80, maximum=12, dynamic_range=50, colorbar=False)
    assert ax.collections[0].get_clim() == (-38, 12)
    assert ax.child_axes == []


def slaney_mel_to_hz(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def test_on_the_mel_scale_equal_steps_of_mel_are_equally_high():
    mels = np.arange(3.0, 44.0)
    hertz = np.array([slaney_mel_to_hz(mel) for mel in mels])
    ax = plot.spectrogram(np.zeros((mels.size, 2)), 16000, 160, hertz, scale="mel")
    ax.figure.canvas.draw()
    height = ax.transData.transform(np.stack([np.zeros(mels.size), hertz], axis=1))[:, 1]
    steps = np.diff(height)
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-9)


def test_spectrograms_side_by_side_share_one_scale():
    named = {"noisy": RNG.normal(size=(5, 3)), "clean": RNG.normal(size=(5, 4)) - 30}
    figure, axes = plot.spectrograms(named, 8000, 80, dynamic_range=60)
    figure.canvas.draw()
    assert len(plt.get_fignums()) == 1
    top = named["noisy"].max()
    for ax, (name, S_db) in zip(axes, named.items(), strict=True):
        assert ax.get_title(loc="left") == name
        (mesh,) = ax.collections
        np.testing.assert_array_equal(mesh.get_array(), S_db)
        assert mesh.get_clim() == (top - 60, top)
        assert ax.get_xlabel() == "time (s)"
    assert [ax.get_ylabel() for ax in axes] == ["frequency (Hz)", ""]
    assert [len(ax.child_axes) for ax in axes] == [0, 1], "one scale of levels, on the right"
    lefts = [ax.get_position().x0 for ax in axes]
    assert lefts[0] < lefts[1] and axes[0].get_position().y0 == axes[1].get_position().y0


def test_one_spectrogram_alone():
    _, (ax,) = plot.spectrograms({"one": np.eye(3)}, 8000, 80, [100, 800, 3000], "mel")
    assert ax.get_ylabel() == "frequency (Hz)" and len(ax.child_axes) == 1


def softmax_weights(*shape):
    weights = RNG.random(shape) + 0.1
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("n_heads", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2)]
)
def test_attention_puts_each_weight_below_the_moment_that_is_looked_at(n_heads, rows, columns):
    S_db = RNG.normal(size=(6, 5))
    weights = softmax_weights(n_heads, 4, 5)
    weights[0, 1] = 0  # a query that is masked out
    weights.flags.writeable = False
    figure, axes = plot.attention(weights, S_db, sr=8000, hop_length=80)
    figure.canvas.draw()
    assert len(plt.get_fignums()) == 1
    assert axes.shape == (1 + rows, columns)
    for ax in axes[0]:
        np.testing.assert_array_equal(ax.collections[0].get_array(), S_db)
    maps = axes[1:].flatten()
    for head in range(n_heads):
        ax = maps[head]
        (mesh,) = ax.collections
        np.testing.assert_array_equal(mesh.get_array(), weights[head])
        corners = mesh.get_coordinates()  # (Q + 1, T + 1, 2)
        centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
        np.testing.assert_allclose(centres[0, :, 0], [0, 0.01, 0.02, 0.03, 0.04], atol=1e-12)
        np.testing.assert_allclose(centres[:, 0, 1], [0, 0.01, 0.02, 0.03], atol=1e-12)
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the time of the query runs down"
        assert ax.get_title(loc="left") == f"head {head + 1}"
        assert mesh.get_clim() == (0, weights.max()), "one shade means one weight in all heads"
        assert abs(mesh.norm(weights.max() / 4) - 0.5) <= 1e-12, "the square root of the weight"
        assert ax.get_ylabel() == ("" if head % 2 else "time of the query (s)")
        lowest = head + columns >= n_heads
        assert ax.get_xlabel() == ("time of the key (s)" if lowest else "")
        scales = [bar.get_ylabel() for bar in ax.child_axes]
        assert scales == (["weight (0 to 1)"] if head % columns == columns - 1 else [])
    assert not any(ax.axison for ax in maps[n_heads:])


def test_attention_maps_lie_exactly_below_the_spectrogram():
    figure, axes = plot.attention(softmax_weights(4, 7, 7), np.eye(3, 7), 8000, 80)
    figure.canvas.draw()
    for column in axes.T:
        spans = np.array([ax.get_position().intervalx for ax in column])
        np.testing.assert_allclose(spans, spans[[0] * 3], atol=1e-9)
        limits = np.array([ax.get_xlim() for ax in column])
        np.testing.assert_array_equal(limits, limits[[0] * 3])
    _, one = plot.attention(softmax_weights(7, 7), np.eye(3, 7), 8000, 80)
    assert one.shape == (2, 1), "a single map needs no axis of heads"


def test_segments_shade_exactly_their_time_in_their_lane():
    intervals = [[0.5, 1.25], [2.0, 2.0], [3.0, 4.5]]
    ax = plot.segments(intervals, label="truth", color=plot.GREEN, lane=(0.5, 1))
    boxes = [patch.get_bbox() for patch in ax.patches]
    assert [[box.x0, box.x1] for box in boxes] == intervals
    assert all((box.y0, box.y1) == (0.5, 1) for box in boxes)
    assert all(same_color(patch.get_facecolor()[:3], plot.GREEN) for patch in ax.patches)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["truth"]


def test_probabilities_truth_and_threshold():
    y_score, y_true = RNG.random(6), np.array([0, 1, 1, 0, 0, 1])
    ax = plot.probabilities(y_score, y_true, threshold=0.25, frame_rate=50)
    curve, threshold = ax.lines
    np.testing.assert_array_equal(curve.get_ydata(), y_score)
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(6) / 50)
    assert set(threshold.get_ydata()) == {0.25}
    (shade,) = ax.collections
    (outline,) = shade.get_paths()
    for t in range(6):  # frame t is shaded half a frame to each side if it is true
        for place in {max(t - 0.4, 0.1), min(t + 0.4, 4.9)}:
            assert outline.contains_point((place / 50, 0.5)) == y_true[t], f"frame {t}"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["true speech", "probability", "threshold 0.25"]


def test_roc_curves_share_one_chance_line_and_name_their_area():
    fpr, tpr, _ = ROC
    ax = plot.roc(fpr, tpr, label="network")
    plot.roc(tpr, fpr, label="upside down", ax=ax)
    chance, first, second = ax.lines
    np.testing.assert_array_equal(chance.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(first.get_xydata(), np.stack([fpr, tpr], axis=1))
    np.testing.assert_array_equal(second.get_xydata(), np.stack([tpr, fpr], axis=1))
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["network, AUC 0.833", "upside down, AUC 0.167"]
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_precision_recall_is_drawn_as_the_steps_that_average_precision_adds():
    precision, recall, _ = PR
    ax = plot.precision_recall(precision, recall)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), np.stack([recall, precision], axis=1))
    assert line.get_drawstyle() == "steps-post"
    ap = metrics.average_precision_score([0, 0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.2])
    assert ax.get_legend().get_texts()[0].get_text() == f"AP {ap:.3f}"


def test_confusion_writes_counts_and_shares_of_the_rows():
    matrix = np.array([[9000, 1000], [30, 90]])
    ax = plot.confusion(matrix, classes=("no", "yes"))
    texts = {text.get_position(): text.get_text() for text in ax.texts}  # (column, row)
    assert texts == {
        (0, 0): "9,000\n90.0%",
        (1, 0): "1,000\n10.0%",
        (0, 1): "30\n25.0%",
        (1, 1): "90\n75.0%",
    }
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.9, 0.1], [0.25, 0.75]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["no", "yes"]


def test_training_curves_show_the_named_measures_at_their_epochs():
    later = [dict(record, epoch=record["epoch"] + 5) for record in HISTORY]
    ax = plot.training_curves(later, ("validation_loss", "loss"), ylabel="loss (nats)")
    for line, name in zip(ax.lines, ("validation_loss", "loss"), strict=True):
        assert line.get_label() == name
        assert line.get_xdata().tolist() == [6, 7, 8, 9]
        assert line.get_ydata().tolist() == [record[name] for record in HISTORY]
    assert ax.get_ylabel() == "loss (nats)"


def test_by_snr_shows_values_and_intervals_of_each_method():
    values = np.array([0.9, 0.8, 0.6])
    intervals = np.array([[0.85, 0.95], [0.75, 0.79], [0.5, 0.7]])  # the second beside its value
    ax = plot.by_snr(SNRS, values, intervals, label="network", ylabel="AUC (0 to 1)")
    plot.by_snr([20, 0], [0.5, 0.4], label="energy", ax=ax)
    network, energy = ax.lines
    np.testing.assert_array_equal(network.get_xydata(), np.stack([SNRS, values], axis=1))
    np.testing.assert_array_equal(energy.get_xydata(), [[20, 0.5], [0, 0.4]])
    bars = ax.collections[0].get_segments()
    assert [bar.tolist() for bar in bars] == [
        [[snr, low], [snr, high]] for snr, (low, high) in zip(SNRS, intervals, strict=True)
    ]
    assert ax.get_xticks().tolist() == [0, 5, 10, 20]


def test_drawings_stacked_over_one_time_axis_are_named_once_and_aligned():
    figure, (top, middle, bottom) = plot.subplots(3, sharex=True)
    plot.waveform(np.zeros(80), 100, ax=top)
    plot.spectrogram(np.eye(4, 8), 100, 10, ax=middle)
    plot.probabilities(np.linspace(0, 1, 80), ax=bottom)
    figure.canvas.draw()
    assert [ax.get_xlabel() for ax in (top, middle, bottom)] == ["", "", "time (s)"]
    left, right = zip(*(ax.get_position().intervalx for ax in (top, middle, bottom)), strict=True)
    np.testing.assert_allclose(left, left[0], atol=1e-9)
    np.testing.assert_allclose(right, right[0], atol=1e-9)


def test_colours_are_those_of_okabe_and_ito():
    rgb = {name: matplotlib.colors.to_rgb(getattr(plot, name)) for name in ("BLUE", "VERMILION")}
    assert tuple(round(255 * part) for part in rgb["BLUE"]) == (0, 114, 178)
    assert tuple(round(255 * part) for part in rgb["VERMILION"]) == (213, 94, 0)
    assert len(set(plot.CURVES)) == len(plot.CURVES) == len(plot.DASHES) == len(plot.MARKERS)


def test_importing_plot_does_not_load_matplotlib():
    code = "import sys, json, scratchaudio.plot; print(json.dumps('matplotlib' in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) is False


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plot.waveform(np.zeros((2, 9)), 8),
            r"x must be a non-empty array of 1 dimension, got shape \(2, 9\)",
        ),
        (
            lambda: plot.spectrogram(np.zeros((0, 3)), 8, 2),
            r"S_db must be a non-empty array of 2 dimensions, got shape \(0, 3\)",
        ),
        (
            lambda: plot.spectrogram(np.zeros((4, 3)), 8, 2, [1, 2]),
            "frequencies must hold one centre for each of the 4 rows of S_db, got 2",
        ),
        (
            lambda: plot.spectrogram(np.zeros((4, 3)), 8, 2, scale="bark"),
            "scale must be 'linear', 'log' or 'mel', got 'bark'",
        ),
        (
            lambda: plot.spectrograms({}, 8, 2),
            "named must hold at least one spectrogram, got none",
        ),
        (
            lambda: plot.spectrograms({"a": np.eye(2), "b": np.zeros(3)}, 8, 2),
            r"named\['b'\] must be a non-empty array of 2 dimensions, got shape \(3,\)",
        ),
        (
            lambda: plot.attention(np.full((2, 3, 4), 0.25), np.zeros((5, 3)), 8, 2),
            r"one key for each of the 3 frames of S_db in their last axis, got shape \(2, 3, 4\)",
        ),
        (
            lambda: plot.attention(np.full((1, 2, 3, 4), 0.25), np.zeros((5, 4)), 8, 2),
            r"weights must be a non-empty array of 3 dimensions, got shape \(1, 2, 3, 4\)",
        ),
        (
            lambda: plot.attention(np.array([[[1, 0], [0.5, 0.51]]]), np.zeros((5, 2)), 8, 2),
            r"weights\[0, 1\] must be at least 0 and add up to 1 .* add up to 1.01",
        ),
        (
            lambda: plot.attention(np.array([[[1, 0], [1.5, -0.5]]]), np.zeros((5, 2)), 8, 2),
            r"weights\[0, 1\] must be at least 0 .* with a least of -0.5",
        ),
        (
            lambda: plot.attention(np.array([[[np.nan, 1]]]), np.zeros((5, 2)), 8, 2),
            r"weights\[0, 0\] must be at least 0 .* add up to nan",
        ),
        (
            lambda: plot.segments([[0, 1], [3, 2]]),
            r"intervals\[1\] ends before it starts: \[3.0, 2.0\]",
        ),
        (
            lambda: plot.probabilities([0.1, 0.2], [1]),
            "y_score and y_true must have the same length, got 2 and 1",
        ),
        (
            lambda: plot.confusion(np.zeros((3, 3))),
            r"matrix must be 2 x 2 for the classes \['silence', 'speech'\], got shape \(3, 3\)",
        ),
        (
            lambda: plot.training_curves(HISTORY, ("f1",)),
            r"measures names 'f1', but history holds \['epoch', 'loss', 'validation_loss'\]",
        ),
        (lambda: plot.training_curves([]), "history must hold at least one epoch, got none"),
    ],
)
def test_bad_input_is_named_before_a_figure_is_made(call, message):
    with pytest.raises(ScratchAudioError, match=message) as caught:
        call()
    assert isinstance(caught.value, ShapeError | ConfigError)
    assert plt.get_fignums() == []


# Factorisations -----------------------------------------------------------------------------------


def test_components_are_drawn_each_to_its_own_peak():
    rng = np.random.default_rng(0)
    W, H = 1e-3 + rng.random((9, 3)), rng.random((3, 5))
    W[:, 1] *= 1000
    figure, axes = plot.components(W, H, sr=1600, hop_length=400, names=["a", "b", "c"])
    assert axes.shape == (3, 2)
    for k, (left, right) in enumerate(axes):
        (spectrum,), (activation,) = left.lines, right.lines
        np.testing.assert_allclose(spectrum.get_xdata(), 100.0 * np.arange(1, 9))
        levels = 20 * np.log10(W[1:, k] / W[1:, k].max())
        np.testing.assert_allclose(spectrum.get_ydata(), np.maximum(levels, -60))
        np.testing.assert_allclose(activation.get_xdata(), 0.25 * np.arange(5))
        np.testing.assert_allclose(activation.get_ydata(), H[k] / H[k].max())
        assert left.get_title(loc="left") == "abc"[k]


def test_silent_components_are_drawn_without_a_warning():
    _, axes = plot.components(np.zeros((9, 2)), np.zeros((2, 5)), sr=1600, hop_length=400)
    assert axes[1, 0].get_title(loc="left") == "2"
    assert not axes[1, 1].lines[0].get_ydata().any()


def test_components_that_do_not_fit_each_other():
    with pytest.raises(ShapeError, match="must have one K, got 2, 3 and 2"):
        plot.components(np.ones((9, 2)), np.ones((3, 5)), sr=1600, hop_length=400)
    with pytest.raises(ShapeError, match="must have one K, got 2, 2 and 1"):
        plot.components(np.ones((9, 2)), np.ones((2, 5)), sr=1600, hop_length=400, names=["a"])


def test_a_divergence_is_drawn_over_the_updates():
    ax = plot.divergence([0, 10, 20], [100.0, 10.0, 5.0])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 10, 20])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [100, 10, 5])
    assert ax.get_yscale() == "log"
