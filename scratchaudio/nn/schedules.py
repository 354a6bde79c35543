"""Learning-rate schedules: plain functions of the step, so that nothing has to be remembered.

    optimizer.lr = cosine_with_warmup(step, lr=1e-3, n_steps=10_000, n_warmup=500)

Warm-up: the first gradients come from random weights, and Adam's v knows few of them; small first
steps avoid being thrown far off. Decay: near a minimum, the noise of the gradients keeps theta at
a distance in proportion to lr; to get closer, lr must fall.

Legend: step, counted from 0, is the number of steps taken before; lr the highest learning rate.
"""

import math

from scratchaudio.errors import ConfigError


def constant_with_warmup(step, lr, n_warmup=0):
    """Linear rise, then constant: lr * min(1, (step + 1) / n_warmup)."""
    return lr * min(1.0, (step + 1) / n_warmup) if n_warmup else lr


def exponential_decay(step, lr, gamma):
    """The same fraction lost at each step: lr * gamma^step."""
    return lr * gamma**step


def step_decay(step, lr, step_size, gamma=0.1):
    """Constant on stairs of `step_size` steps: lr * gamma^floor(step / step_size)."""
    return lr * gamma ** (step // step_size)


def cosine_with_warmup(step, lr, n_steps, n_warmup=0, min_lr=0.0):
    """Linear rise to lr over n_warmup steps, then half a cosine down to min_lr at n_steps.

        step < n_warmup:  lr (step + 1) / n_warmup
        then:             min_lr + (lr - min_lr) (1 + cos(pi progress)) / 2,
                          progress = (step - n_warmup) / (n_steps - n_warmup), at most 1

    References
    ----------
    Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts, ICLR, eq. 5
    (one period).
    """
    if n_steps <= n_warmup:
        raise ConfigError(f"n_steps must exceed n_warmup, got {n_steps} and {n_warmup}")
    if step < n_warmup:
        return constant_with_warmup(step, lr, n_warmup)
    progress = min(1.0, (step - n_warmup) / (n_steps - n_warmup))
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2


def noam(step, d_model, n_warmup, scale=1.0):
    """The Transformer's: linear rise, then 1 / sqrt(step), the two meeting at n_warmup.

        scale / sqrt(d_model) * min(1 / sqrt(s), s / n_warmup^1.5),    s = step + 1

    References
    ----------
    Vaswani et al. (2017), Attention is all you need, NeurIPS, eq. 3.
    """
    s = step + 1
    return scale / math.sqrt(d_model) * min(1 / math.sqrt(s), s / n_warmup**1.5)
