"""Pictures of sound and of results, all in one hand.

Each function draws ONE thing on the matplotlib Axes given by `ax`, or on a new figure without it,
and returns the Axes: drawings are laid over each other (segments over a waveform, one ROC over
another) by passing the same Axes again, and stacked over one time axis with `subplots`:

    figure, (top, bottom) = plot.subplots(2, sharex=True)
    plot.waveform(x, sr, ax=top)
    plot.segments(truth, label="truth", ax=top)
    plot.probabilities(probability, y_true, threshold=0.5, ax=bottom)
    figure.savefig("detection.png", dpi=200)

Three functions show several things together, and return a figure of their own: `spectrograms`, side
by side, `attention`, maps under the spectrogram that they look at, and `components` of a
factorisation, one below the other.

The style, stated once here: what is measured is drawn in colour, what only helps to read it in
grey; no box, no ornament, every axis with its unit. The colours of Okabe & Ito can be told apart
with any colour vision; green is the truth and orange a detection; curves after the first are dashed
too, for print. Figures are 6 inches wide with 10 point letters: readable on a phone.

Matplotlib is imported inside the functions, so that importing scratchaudio does not load it. On a
machine without a screen matplotlib by itself draws to files only.

    N samples, T frames, F bins, S segments, G groups, C classes, K points of a curve, Q queries

References
----------
Okabe & Ito (2008), Color Universal Design: how to make figures and presentations that are friendly
to colorblind people.
"""

import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.metrics import auc

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#000000"
CURVES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)  # yellow is too pale for a line on white
DASHES = ("-", (0, (6, 1.5)), (0, (2, 1)), (0, (6, 1, 1.5, 1)), "-", (0, (6, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, GUIDE, GRID = "#333333", "#8C8C8C", "#E8E8E8"  # letters, reference lines, grid
LETTERS, SMALL = 10, 9  # points
WIDTH = 6.0  # inches


def subplots(n_rows=1, n_columns=1, height=2.4, sharex=False):
    """Make a figure of `n_rows` drawings, each `height` inches high; return it and its Axes."""
    import matplotlib.pyplot as plt

    return plt.subplots(
        n_rows,
        n_columns,
        figsize=(WIDTH, height * n_rows),
        sharex=sharex,
        layout="constrained",
    )


# Over time ---------------------------------------------------------------------------------------


def waveform(x, sr, ax=None):
    """Draw samples over time.

    Parameters
    ----------
    x : (N,) samples, full scale 1
    sr : sampling rate, Hz
    """
    x = _array("x", x, 1)
    ax = _axes(ax, height=1.8)
    # A path of a million samples would make a huge SVG: this line is stored as pixels.
    ax.plot(np.arange(x.size) / sr, x, color=BLUE, linewidth=0.5, rasterized=True)
    ax.margins(x=0)
    return _finish(ax, "time (s)", "amplitude (full scale 1)")


def spectrogram(
    S_db,
    sr,
    hop_length,
    frequencies=None,
    scale="linear",
    dynamic_range=80,
    maximum=None,
    colorbar=True,
    ax=None,
):
    """Draw a spectrogram in dB as an image, frame t centred on t * hop_length / sr.

    Parameters
    ----------
    S_db : (F, T) levels in dB, from `amplitude_to_db` or `power_to_db`
    sr : sampling rate, Hz
    hop_length : samples from frame to frame
    frequencies : (F,) centre of each row, Hz, increasing; by default those of an STFT, 0 to sr / 2.
        For a mel spectrogram: `mel_frequencies(F + 2, fmin, fmax)[1:-1]`
    scale : "linear", "log", or "mel", which is linear up to 1 kHz and logarithmic above (Slaney)
    dynamic_range : what lies more than this many dB below the maximum is black
    maximum : level of the brightest colour, dB; by default the highest of S_db. In drawings that
        are compared, a colour means the same level only if this is the same
    colorbar : False leaves the scale of levels out
    """
    S_db = _array("S_db", S_db, 2)
    F, T = S_db.shape
    if frequencies is None:
        frequencies = np.linspace(0, sr / 2, F)
    frequencies = _array("frequencies", frequencies, 1)
    if frequencies.size != F:
        raise ShapeError(
            f"frequencies must hold one centre for each of the {F} rows of S_db, "
            f"got {frequencies.size}"
        )
    if scale not in ("linear", "log", "mel"):
        raise ConfigError(f"scale must be 'linear', 'log' or 'mel', got {scale!r}")
    ax = _axes(ax, height=2.6)
    times = (np.arange(T + 1) - 0.5) * hop_length / sr  # (T + 1,) edges between frames
    edges = _edges(frequencies)  # (F + 1,)
    top = S_db.max() if maximum is None else maximum
    image = ax.pcolormesh(
        times, edges, S_db, vmin=top - dynamic_range, vmax=top, cmap="magma", rasterized=True
    )
    ticks = [500, 1000, 2000, 4000, 8000, 16000]
    if scale == "log":
        ticks = [62, 125, 250, *ticks]
        ax.set_yscale("log")
        ax.set_ylim(bottom=edges[edges > 0][0])
    elif scale == "mel":
        # Slaney's scale has 15 mel per kHz below 1 kHz, and 27 mel per factor 6.4 above: so the
        # linear part is as long as 15 / 27 * log10(6.4) = 0.448 decades of the logarithmic one.
        # (Matplotlib's linscale is that length times 1 - 1 / 10.)
        ax.set_yscale("symlog", linthresh=1000, linscale=0.9 * 15 / 27 * math.log10(6.4))
        ax.set_ylim(bottom=max(edges[0], 0))
    if scale != "linear":
        shown = [tick for tick in ticks if ax.get_ylim()[0] <= tick <= edges[-1]]
        ax.set_yticks(shown, labels=shown)
        ax.minorticks_off()
    if colorbar:
        _color_scale(image, ax, "level (dB)")
    return _finish(ax, "time (s)", "frequency (Hz)", grid=False)


def segments(intervals, label="speech", color=ORANGE, lane=(0, 1), ax=None):
    """Shade segments of time over what is drawn already.

    Parameters
    ----------
    intervals : (S, 2) start and end, s; S may be 0
    label : name in the legend, or None
    color : of the shade
    lane : lower and upper border as shares of the height, to show truth and calls in two lanes
    """
    intervals = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    if (intervals[:, 1] < intervals[:, 0]).any():
        s = int(np.argmax(intervals[:, 1] < intervals[:, 0]))
        raise ShapeError(f"intervals[{s}] ends before it starts: {intervals[s].tolist()}")
    ax = _axes(ax, height=1.8)
    for s, (start, end) in enumerate(intervals):
        name = label if s == 0 else None  # one entry in the legend for all
        ax.axvspan(start, end, *lane, color=color, alpha=0.3, linewidth=0, label=name)
    return _finish(ax, "time (s)", None, legend="above")


def probabilities(y_score, y_true=None, threshold=None, frame_rate=100, ax=None):
    """Draw a detector's probability over time, above the shaded truth.

    Parameters
    ----------
    y_score : (T,) probability of each frame
    y_true : (T,) truth, 0 or 1
    threshold : what is at or above it is called speech
    frame_rate : frames per second; frame t is at t / frame_rate
    """
    y_score = _array("y_score", y_score, 1)
    times = np.arange(y_score.size) / frame_rate
    if y_true is not None:
        y_true = _array("y_true", y_true, 1).astype(np.float64)
        if y_true.size != y_score.size:
            raise ShapeError(
                f"y_score and y_true must have the same length, got {y_score.size} "
                f"and {y_true.size}"
            )
    ax = _axes(ax, height=1.8)
    if y_true is not None:
        ax.fill_between(
            times, 0, y_true, step="mid", color=GREEN, alpha=0.3, linewidth=0, label="true speech"
        )
    ax.plot(times, y_score, color=BLUE, linewidth=1, label="probability")
    if threshold is not None:
        name = f"threshold {threshold:.2f}"
        ax.axhline(threshold, color=INK, linewidth=1, linestyle=":", label=name)
    ax.margins(x=0)
    ax.set_ylim(-0.03, 1.03)
    return _finish(ax, "time (s)", "probability (0 to 1)", legend="above")


# Curves over all thresholds ----------------------------------------------------------------------


def roc(fpr, tpr, label=None, ax=None):
    """Draw a ROC curve and write the area under it into the legend.

    Parameters
    ----------
    fpr, tpr : (K,) false and true positive rates, from `roc_curve`
    label : name of the method
    """
    area = f"AUC {auc(fpr, tpr):.3f}"
    ax = _axes(ax, height=4.2)
    if not ax.lines:
        ax.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, linestyle=":")  # chance
    _rate_curve(ax, fpr, tpr, area, label)
    xlabel, ylabel = "false positive rate, FP / (FP + TN)", "true positive rate, TP / (TP + FN)"
    return _finish(ax, xlabel, ylabel, legend="lower right")


def precision_recall(precision, recall, label=None, ax=None):
    """Draw a precision-recall curve as the steps whose area is the average precision.

    Parameters
    ----------
    precision, recall : (K,) from `precision_recall_curve`
    label : name of the method
    """
    precision, recall = _array("precision", precision, 1), _array("recall", recall, 1)
    ax = _axes(ax, height=4.2)
    ap = (recall[:-1] - recall[1:]) @ precision[:-1]
    _rate_curve(ax, recall, precision, f"AP {ap:.3f}", label, drawstyle="steps-post")
    xlabel, ylabel = "recall, TP / (TP + FN)", "precision, TP / (TP + FP)"
    return _finish(ax, xlabel, ylabel, legend="lower left")


def confusion(matrix, classes=("silence", "speech"), ax=None):
    """Draw a confusion matrix: counts, and shares of each row, which also set the shade.

    Parameters
    ----------
    matrix : (C, C) counts, true classes in rows, from `confusion_matrix`
    classes : C names
    """
    matrix = _array("matrix", matrix, 2)
    if matrix.shape != (len(classes), len(classes)):
        raise ShapeError(
            f"matrix must be {len(classes)} x {len(classes)} for the classes {list(classes)}, "
            f"got shape {matrix.shape}"
        )
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax = _axes(ax, height=3.2)
    ax.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        ax.text(
            column,
            row,
            f"{matrix[row, column]:,}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=LETTERS,
            color="white" if share > 0.5 else INK,
        )
    ax.set_xticks(range(len(classes)), labels=classes)
    ax.set_yticks(range(len(classes)), labels=classes, rotation=90, va="center")
    ax.spines[:].set_visible(False)
    return _finish(ax, "called (frames)", "truth (frames; rows: 100 %)", grid=False)


# Over epochs and conditions ----------------------------------------------------------------------


def training_curves(history, measures=("loss",), ylabel="loss", ax=None):
    """Draw measures over the epochs of a training run.

    Parameters
    ----------
    history : list of one dict for each epoch with "epoch" and the measures, from `training.fit`
    measures : names to draw; of one kind, so that they share an axis
    ylabel : what they are, with its unit
    """
    if not history:
        raise ShapeError("history must hold at least one epoch, got none")
    for name in measures:
        if name not in history[0]:
            raise ConfigError(f"measures names {name!r}, but history holds {sorted(history[0])}")
    ax = _axes(ax)
    epochs = [record["epoch"] for record in history]
    for name in measures:
        color, dashes, marker = _next_look(ax)
        # Few epochs: mark each one; many: the marks would hide the line.
        marker = marker if len(epochs) <= 20 else None
        values = [record[name] for record in history]
        ax.plot(
            epochs, values, linestyle=dashes, color=color, marker=marker, markersize=4, label=name
        )
    ax.xaxis.get_major_locator().set_params(integer=True)
    return _finish(ax, "epoch (passes over the training set)", ylabel, legend="best")


def by_snr(snrs, values, intervals=None, label=None, ylabel="F1 (0 to 1)", ax=None):
    """Draw a measure against the signal-to-noise ratio, with its confidence intervals.

    Parameters
    ----------
    snrs : (G,) dB
    values : (G,) the measure at each
    intervals : (G, 2) low and high, from `bootstrap_ci`
    label : name of the method
    ylabel : the measure, with its unit
    """
    snrs, values = _array("snrs", snrs, 1), _array("values", values, 1)
    ax = _axes(ax, height=3.0)
    color, dashes, marker = _next_look(ax)
    if intervals is not None:
        low, high = _array("intervals", intervals, 2).T  # (G,), (G,)
        # Not errorbar, whose bars grow from the value: a bootstrap interval need not contain it.
        ax.vlines(snrs, low, high, color=color, linewidth=5, alpha=0.3)
    ax.plot(snrs, values, linestyle=dashes, color=color, marker=marker, markersize=6, label=label)
    ax.set_xticks(np.unique(np.concatenate([line.get_xdata() for line in ax.lines])))
    return _finish(ax, "signal-to-noise ratio (dB)", ylabel, legend="best")


def divergence(updates, values, ax=None):
    """Draw how a divergence fell over the updates of a factorisation, on a logarithmic scale.

    Parameters
    ----------
    updates, values : (P,) numbers of updates, and the divergence after each; from the history that
        `factorization.nmf` returns
    """
    updates, values = _array("updates", updates, 1), _array("values", values, 1)
    ax = _axes(ax)
    ax.semilogy(updates, values, color=BLUE, marker="o", markersize=3)
    ax.tick_params(which="minor", labelsize=SMALL, labelcolor=INK, length=0)
    return _finish(ax, "updates", "divergence")


# Several drawings on one scale -------------------------------------------------------------------


def spectrograms(named, sr, hop_length, frequencies=None, scale="linear", dynamic_range=80):
    """Draw spectrograms side by side in a new figure, all on one scale of levels.

    Parameters
    ----------
    named : {name: (F, T) levels in dB}
    sr, hop_length, frequencies, scale, dynamic_range : as for `spectrogram`

    Returns
    -------
    the figure and the list of its Axes
    """
    if not named:
        raise ShapeError("named must hold at least one spectrogram, got none")
    named = {name: _array(f"named[{name!r}]", S_db, 2) for name, S_db in named.items()}
    maximum = max(S_db.max() for S_db in named.values())
    figure, axes = subplots(1, len(named))
    axes = list(np.atleast_1d(axes))
    for ax, (name, S_db) in zip(axes, named.items(), strict=True):
        last = ax is axes[-1]
        spectrogram(S_db, sr, hop_length, frequencies, scale, dynamic_range, maximum, last, ax)
        ax.set_title(name, loc="left", fontsize=LETTERS, color=INK)
        if ax is not axes[0]:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    return figure, axes


def attention(weights, S_db, sr, hop_length, frequencies=None, scale="linear"):
    """Draw where each frame of a sound looks: attention maps under its spectrogram.

    A new figure with one map for each head, at most two in a row. Row q of a map, with the time of
    the query running down, holds the weights that frame q gives to all frames k; they add up to 1.
    Time k runs to the right, as in the spectrogram on top: straight above a dark spot stands the
    sound that is looked at. A diagonal looks at itself, one beside it at the neighbours, a
    vertical stripe is one moment that all others look at. The shade is the square root of the
    weight, so that weights spread over many frames are seen too, and the same for all heads.

    Parameters
    ----------
    weights : (n_heads, Q, T) or (Q, T) attention weights, softmax over the keys T
    S_db : (F, T) levels in dB of the frames that are looked at
    sr, hop_length, frequencies, scale : as for `spectrogram`

    Returns
    -------
    the figure, and its Axes as an array: spectrograms in row 0, below them the heads row by row

    References
    ----------
    Vaswani et al. (2017), Attention is all you need, equation 1 and the figures of its appendix.
    """
    from matplotlib.colors import PowerNorm

    S_db = _array("S_db", S_db, 2)
    weights = _attention_weights(weights, S_db.shape[1])
    n_heads, Q, T = weights.shape
    n_columns = min(n_heads, 2)
    n_rows = math.ceil(n_heads / n_columns)
    figure, axes = _over_maps(n_rows, n_columns)

    for top in axes[0]:
        last = top is axes[0, -1]
        spectrogram(S_db, sr, hop_length, frequencies, scale, colorbar=last, ax=top)
    edges = (np.arange(max(Q, T) + 1) - 0.5) * hop_length / sr  # between frames, s
    shade = PowerNorm(0.5, vmin=0, vmax=weights.max())
    for head, ax in enumerate(axes[1:].flat):
        if head >= n_heads:
            ax.axis("off")
            axes[-2, 1].tick_params(labelbottom=True)  # now the lowest of its column
            axes[-2, 1].set_xlabel("time of the key (s)", fontsize=LETTERS, color=INK)
            continue
        image = ax.pcolormesh(
            edges[: T + 1], edges[: Q + 1], weights[head], norm=shade, cmap="Blues", rasterized=True
        )
        ax.set_ylim(edges[Q], edges[0])  # downwards
        _finish(ax, "time of the key (s)", "time of the query (s)", grid=False)
        ax.set_title(f"head {head + 1}", loc="left", fontsize=SMALL, color=INK)
        if ax in axes[:, -1]:
            _color_scale(image, ax, "weight (0 to 1)")
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)
    return figure, axes


def components(spectra, activations, sr, hop_length, names=None):
    """Draw the components of a factorisation, one in a row: spectrum left, activation right.

    Each is drawn relative to its own peak: a spectrum in dB over a logarithmic frequency, an
    activation as it is.

    Parameters
    ----------
    spectra : (F, K) magnitudes at frequencies from 0 to sr / 2
    activations : (K, T)
    sr, hop_length : as for `spectrogram`
    names : (K,) what stands above each, or None

    Returns
    -------
    the figure, and its Axes (K, 2)
    """
    import matplotlib.pyplot as plt

    spectra, H = _array("spectra", spectra, 2), _array("activations", activations, 2)
    F, K = spectra.shape
    names = [f"{k + 1}" for k in range(K)] if names is None else names
    if len(H) != K or len(names) != K:
        raise ShapeError(
            f"spectra (F, K), activations (K, T) and names (K,) must have one K, got {K}, {len(H)} "
            f"and {len(names)}"
        )
    figure, axes = plt.subplots(
        K,
        2,
        figsize=(WIDTH, 0.3 + 0.75 * K),
        sharex="col",
        squeeze=False,
        width_ratios=[1, 2],
        layout="constrained",
    )
    frequencies = np.linspace(0, sr / 2, F)[1:]  # a logarithm has no 0
    times = np.arange(H.shape[1]) * hop_length / sr
    for k, (left, right) in enumerate(axes):
        levels = 20 * np.log10(np.maximum(spectra[1:, k] / (spectra[1:, k].max() or 1), 1e-3))
        left.semilogx(frequencies, levels, color=BLUE, linewidth=0.8)
        right.plot(times, H[k] / (H[k].max() or 1), color=BLUE, linewidth=0.8)
        left.set_ylim(-60, 3)
        left.set_xlim(50, sr / 2)
        right.set_yticks([])
        right.margins(x=0)
        left.set_title(names[k], loc="left", fontsize=SMALL, color=INK, pad=2)
        _finish(left, "frequency (Hz)", "dB" if k == K // 2 else None)
        _finish(right, "time (s)", None)
    ticks = [100, 1000, 10000]
    axes[0, 0].set_xticks(ticks, labels=[f"{tick}" for tick in ticks])
    axes[0, 0].minorticks_off()
    return figure, axes


# The style ---------------------------------------------------------------------------------------


def _axes(ax, height=2.4):
    """Return `ax`, or the Axes of a new figure."""
    return subplots(height=height)[1] if ax is None else ax


def _over_maps(n_rows, n_columns):
    """Make a figure of square maps below a row of spectrograms, all over one time axis."""
    import matplotlib.pyplot as plt

    side = 0.8 * WIDTH / n_columns
    heights = [0.5 * side] + n_rows * [side]
    return plt.subplots(
        1 + n_rows,
        n_columns,
        figsize=(WIDTH, sum(heights) + 0.4 * (1 + n_rows)),
        sharex=True,
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )


def _color_scale(image, ax, label):
    """Draw the scale of the colours beside the Axes, which keep their width.

    So drawings stacked over one time axis stay aligned.
    """
    bar = ax.figure.colorbar(image, cax=ax.inset_axes([1.015, 0, 0.02, 1]))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, length=0)
    bar.set_label(label, fontsize=LETTERS, color=INK)


def _finish(ax, xlabel, ylabel, legend=None, grid=True):
    """Give the Axes their labels and the common look; return them."""
    # In a stack over one time axis, only the lowest drawing has numbers and a name under it.
    if ax.xaxis.get_tick_params().get("labelbottom", True):
        ax.set_xlabel(xlabel, fontsize=LETTERS, color=INK)
    if ylabel is not None:
        ax.set_ylabel(ylabel, fontsize=LETTERS, color=INK)
    ax.tick_params(labelsize=SMALL, colors=INK, length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GUIDE)
    if grid:
        ax.grid(True, color=GRID, linewidth=0.8)
        ax.set_axisbelow(True)
    if legend is not None and ax.get_legend_handles_labels()[1]:
        look = {"frameon": False, "fontsize": SMALL, "labelcolor": INK}
        if legend == "above":
            ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0, **look)
        else:
            ax.legend(loc=legend, **look)
    return ax


def _next_look(ax):
    """Colour, dashes and marker of the next curve on these Axes."""
    k = sum(line.get_color() in CURVES for line in ax.lines) % len(CURVES)
    return CURVES[k], DASHES[k], MARKERS[k]


def _rate_curve(ax, x, y, area, label, drawstyle="default"):
    """Draw a curve inside the unit square, named with its area."""
    color, dashes, _ = _next_look(ax)
    name = area if label is None else f"{label}, {area}"
    ax.plot(x, y, linestyle=dashes, color=color, linewidth=1.8, drawstyle=drawstyle, label=name)
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_aspect("equal")


def _edges(centres):
    """Borders of the rows: half-way between their centres, and as far beyond the outer two."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    inner = (centres[:-1] + centres[1:]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def _array(name, values, ndim):
    """Return `values` as an array; it must have `ndim` axes and not be empty."""
    values = np.asarray(values)
    if values.ndim != ndim or values.size == 0:
        raise ShapeError(
            f"{name} must be a non-empty array of {ndim} dimension{'s' * (ndim > 1)}, "
            f"got shape {values.shape}"
        )
    return values


def _attention_weights(weights, T):
    """Return weights as (n_heads, Q, T); each row must be a distribution, or zero if masked."""
    weights = np.asarray(weights)
    weights = weights[np.newaxis] if weights.ndim == 2 else weights
    weights = _array("weights", weights, 3)
    if weights.shape[2] != T:
        raise ShapeError(
            f"weights must have one key for each of the {T} frames of S_db in their last axis, "
            f"got shape {weights.shape}"
        )
    sums = weights.sum(axis=2)  # (n_heads, Q)
    wrong = ~((np.abs(sums - 1) <= 1e-3) | (sums == 0)) | ~(weights >= 0).all(axis=2)
    if wrong.any():
        head, query = (int(index) for index in np.argwhere(wrong)[0])
        raise ShapeError(
            f"weights[{head}, {query}] must be at least 0 and add up to 1 over the keys (a softmax "
            f"along the last axis), but add up to {sums[head, query]:.4g} with a least of "
            f"{weights[head, query].min():.4g}"
        )
    return weights
