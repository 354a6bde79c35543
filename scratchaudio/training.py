"""The training loop: epochs, validation, early stopping, and resuming bit for bit.

One epoch goes once through the batches; one step is the five lines of `nn/layer.py`:

    model.zero_grad()
    prediction = model.forward(*inputs)
    loss, dprediction = loss_function(prediction, *targets)
    model.backward(dprediction)
    optimizer.step()

After each epoch, `validate` measures the model on data it does not learn from. The epoch with the
best measure is remembered with its weights: later epochs only learn the training data by heart.

All randomness comes from one generator, `rng`: the order of the batches, the noise mixed in, the
units that dropout drops. Its state is saved after each epoch together with weights and moments. So
a run that was stopped, even by a power cut, and resumed gives the very bits of a run that was not.
For the same reason no clock reading enters the history or the checkpoint.
"""

import math
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn.optim import clip_grad_norm


def fit(
    model,
    optimizer,
    batches,
    loss_function,
    *,
    n_epochs,
    rng=None,
    validate=None,
    monitor=None,
    mode="min",
    patience=None,
    schedule=None,
    max_norm=None,
    checkpoint_path=None,
    settings=None,
    resume=False,
    max_seconds=None,
    verbose=True,
):
    """Train `model` and return the history; with `monitor`, the model ends with its best weights.

    Parameters
    ----------
    model : Layer
    optimizer : optimiser of `model.parameters()`
    batches : function `batches(rng)`, called at the start of each epoch, that yields pairs
        (inputs, targets) of tuples of arrays; it draws random numbers from `rng` only
    loss_function : function `(prediction, *targets) -> (loss, dprediction)`
    n_epochs : number of epochs in all, those before a resumption included
    rng : np.random.Generator, or a seed. Layers that draw (dropout) must hold the same generator
    validate : function `validate(model) -> measures`, a dict name -> float, or one float, which is
        then named "validation"; called in evaluation mode after each epoch
    monitor : name of the measure ("loss" is the training loss) by which epochs are compared
    mode : "min" when a lower `monitor` is better, "max" when a higher one is
    patience : stop after so many epochs without a better `monitor`; None never does
    schedule : function of the step (0, 1, ... over all epochs) that gives the learning rate
    max_norm : largest global norm of the gradient; a longer one is scaled down. None: no limit
    checkpoint_path : of the file to write after each epoch
    settings : dict saved in the checkpoint; a resumed run must have the same
    resume : go on from `checkpoint_path` if it exists; otherwise begin, and say so
    max_seconds : stop after the epoch in which this much time of this call has passed, s
    verbose : show the progress line

    Returns
    -------
    list of dicts, one for each epoch: "epoch" (from 1), "loss" (mean over its steps), and the
    measures of `validate`

    Raises
    ------
    ConfigError : an impossible setting, or a loss or weight that is no longer finite
    CheckpointError : `checkpoint_path` cannot be written, or is of another model
    """
    require_positive_integer("n_epochs", n_epochs)
    if patience is not None:
        require_positive_integer("patience", patience)
    if mode not in ("min", "max"):
        raise ConfigError(f"mode must be 'min' or 'max', got {mode!r}")
    if patience is not None and monitor is None:
        raise ConfigError("patience needs monitor: the name of the measure that should get better")
    if resume and checkpoint_path is None:
        raise ConfigError("resume needs checkpoint_path: the file to go on from")
    rng = np.random.default_rng(rng)
    if checkpoint_path is not None:
        _require_one_generator(model, rng)
    show = _ProgressLine(n_epochs, max_seconds, verbose)

    history, best, best_epoch, step = [], None, 0, 0
    if resume:
        if Path(checkpoint_path).exists():
            checkpoint = load_checkpoint(checkpoint_path)
            checkpoint.restore(model, optimizer, rng, settings or {})
            history, best = checkpoint.progress["history"], checkpoint.best or None
            best_epoch, step = checkpoint.progress["best_epoch"], checkpoint.progress["step"]
            show.line(f"resuming {checkpoint_path} after epoch {len(history)}")
        else:
            show.line(f"no checkpoint at {checkpoint_path} yet: starting with epoch 1")

    model.train()
    show.start(len(history))
    try:
        while len(history) < n_epochs:
            if patience is not None and len(history) - best_epoch >= patience:
                show.line(f"stopping: {monitor} has not improved for {patience} epochs")
                break
            if max_seconds is not None and show.seconds() > max_seconds:
                show.line(f"stopping: {max_seconds} s have passed")
                break
            epoch = len(history) + 1

            losses = []
            for inputs, targets in batches(rng):
                if schedule is not None:
                    optimizer.lr = schedule(step)
                model.zero_grad()
                prediction = model.forward(*inputs)
                loss, dprediction = loss_function(prediction, *targets)
                _require_finite_loss(loss, inputs, targets, epoch, len(losses) + 1, optimizer)
                model.backward(dprediction)
                if max_norm is not None:
                    clip_grad_norm(model.parameters(), max_norm)
                optimizer.step()
                losses.append(float(loss))
                step += 1
                show.step(epoch, losses)
            if not losses:
                raise ConfigError(f"batches(rng) yielded no batch in epoch {epoch}")
            _require_finite_weights(model, epoch, optimizer)

            record = {"epoch": epoch, "loss": math.fsum(losses) / len(losses)}
            if validate is not None:
                record.update(_measures(validate, model))
            history.append(record)
            if monitor is not None and _is_better(history, best_epoch, monitor, mode):
                best, best_epoch = model.state_dict(), epoch
            if checkpoint_path is not None:
                progress = {"history": history, "best_epoch": best_epoch, "step": step}
                save_checkpoint(checkpoint_path, model, optimizer, rng, settings, progress, best)
            show.epoch(record, is_best=best_epoch == epoch)
    except KeyboardInterrupt:
        show.line(f"interrupted in epoch {len(history) + 1}")
        if checkpoint_path is not None and history:
            show.line(f"{checkpoint_path} holds the last whole epoch: go on with resume=True")
        raise
    if best is not None:
        model.load_state_dict(best)
    return history


def _is_better(history, best_epoch, monitor, mode):
    """Whether the last epoch is the best so far; NaN never is."""
    record = history[-1]
    if monitor not in record:
        raise ConfigError(f"monitor is {monitor!r}, but the measures are {sorted(record)}")
    if best_epoch == 0:
        return not math.isnan(record[monitor])
    value, best_value = record[monitor], history[best_epoch - 1][monitor]
    return value < best_value if mode == "min" else value > best_value


def _measures(validate, model):
    """Call `validate` in evaluation mode; return name -> float."""
    measures = validate(model.eval())
    model.train()
    if not isinstance(measures, dict):
        measures = {"validation": measures}
    taken = sorted(measures.keys() & {"epoch", "loss"})
    if taken:
        raise ConfigError(f"validate must not name its measures {taken}: fit uses these names")
    for name, value in measures.items():
        if not isinstance(value, int | float | np.integer | np.floating):
            raise ConfigError(f"validate must return floats, but {name!r} is {value!r}")
    return {name: float(value) for name, value in measures.items()}


def _require_finite_loss(loss, inputs, targets, epoch, step, optimizer):
    """Raise at once when the loss is NaN or infinite, and say where to look."""
    if math.isfinite(loss):
        return
    for kind, arrays in (("inputs", inputs), ("targets", targets)):
        for index, array in enumerate(arrays):
            if np.issubdtype(np.asarray(array).dtype, np.inexact) and not np.isfinite(array).all():
                raise ShapeError(
                    f"{kind}[{index}] of epoch {epoch}, step {step} holds NaN or infinite values, "
                    f"so the loss is {loss}"
                )
    raise ConfigError(
        f"the loss is {loss} at epoch {epoch}, step {step}, while inputs and targets are finite: "
        f"{_advice(optimizer)}"
    )


def _require_finite_weights(model, epoch, optimizer):
    """Raise before weights that are NaN or infinite can reach a checkpoint."""
    for name, held in (*model.named_parameters(), *model.named_buffers()):
        if not np.isfinite(held.value).all():
            raise ConfigError(
                f"{name} holds NaN or infinite values after epoch {epoch}: {_advice(optimizer)}"
            )


def _advice(optimizer):
    return (
        f"training diverged (learning rate {optimizer.lr:g}); lower the learning rate, "
        f"set max_norm, or check the backward"
    )


def _require_one_generator(model, rng):
    """Raise unless each layer that draws random numbers draws them from `rng`."""
    for name, value in vars(model).items():
        if isinstance(value, np.random.Generator) and value is not rng:
            raise ConfigError(
                f"{type(model).__name__}.{name} is another generator than rng, so its state would "
                f"not be in the checkpoint; build the model with rng=rng and pass the same rng"
            )
    for _, child in model.children():
        _require_one_generator(child, rng)


class _ProgressLine:
    """One line that is written over on a terminal; one line for each epoch elsewhere."""

    def __init__(self, n_epochs, max_seconds, verbose):
        self.n_epochs, self.max_seconds, self.verbose = n_epochs, max_seconds, verbose
        self.n_steps = None  # of an epoch; known after the first
        self.width = 0  # of what now stands on the terminal's line
        self.start(0)

    def start(self, n_epochs_before):
        """Start the clock."""
        self.begin = self.last_shown = time.monotonic()
        self.n_epochs_before = n_epochs_before

    def seconds(self):
        """Time since `start`, s."""
        return time.monotonic() - self.begin

    def step(self, epoch, losses):
        """Show where we are within the epoch, on a terminal, ten times a second at most."""
        self.n_steps_now = len(losses)
        if not sys.stdout.isatty() or time.monotonic() - self.last_shown < 0.1:
            return
        self.last_shown = time.monotonic()
        of, part = "", 0.0
        if self.n_steps is not None:
            of, part = f"/{self.n_steps}", min(1.0, len(losses) / self.n_steps)
        mean = math.fsum(losses) / len(losses)
        self._write(
            f"{self._count(epoch)}  step {len(losses)}{of}  loss {mean:.4g}"
            f"{self._time_left(epoch - 1 + part)}"
        )

    def epoch(self, record, is_best):
        """Show the measures of an epoch, and keep them."""
        self.n_steps = self.n_steps_now
        measures = "".join(f"  {k} {v:.4g}" for k, v in record.items() if k != "epoch")
        epoch = record["epoch"]
        best = "  (best)" if is_best else ""
        self.line(f"{self._count(epoch)}{measures}{best}{self._time_left(epoch)}")

    def line(self, text):
        """Write a line that stays."""
        self._write(text)
        if self.verbose:
            print(flush=True)
            self.width = 0

    def _write(self, text):
        if not self.verbose:
            return
        if sys.stdout.isatty():
            text = text[: shutil.get_terminal_size().columns - 1]
            print("\r" + text.ljust(self.width), end="", flush=True)
            self.width = len(text)
        else:
            print(text, end="")

    def _count(self, epoch):
        return f"epoch {epoch:{len(str(self.n_epochs))}}/{self.n_epochs}"

    def _time_left(self, epochs_done):
        """Seconds, or m:ss, that the rest takes at the pace so far."""
        here = epochs_done - self.n_epochs_before
        if here <= 0 or epochs_done >= self.n_epochs:
            return ""
        left = self.seconds() * (self.n_epochs - epochs_done) / here
        if self.max_seconds is not None:
            left = min(left, max(0.0, self.max_seconds - self.seconds()))
        minutes, seconds = divmod(round(left), 60)
        return f"  {minutes}:{seconds:02d} left"
