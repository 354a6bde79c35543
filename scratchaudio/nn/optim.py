"""Optimisers: how parameters move, given their gradients.

For an optimiser all parameters are one long vector theta with gradient g; each step is

    theta <- theta - lr * (a direction made of g and of earlier gradients)

and the papers' formulas stand here in that form. A step takes a dozen operations on each number,
so what counts is where the numbers lie: large arrays are worked through in blocks of a size that
stays in the processor's cache over all the operations of an update. Passing over whole arrays a
dozen times would wait for the memory.

    optimizer = Adam(model.parameters(), lr=1e-3)
    ...
    clip_grad_norm(model.parameters(), max_norm=1.0)
    optimizer.step()

`lr` may be set at any time (`optimizer.lr = cosine_with_warmup(step, ...)`, see `schedules`).
`state_dict()` holds all that a run needs to go on, bit for bit, as if it had not stopped.

Legend: P numbers in all parameters together, n in a block; t the number of steps taken; m, v
moments of g.
"""

import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn.layer import Parameter

BLOCK = 2**17  # numbers: the five float32 vectors of Adam's update are 2.5 MB, a piece of L3 cache


class Optimizer:
    """Base of the optimisers: gathers gradients, moves parameters, saves and loads moments.

    A subclass names its moments, (P,) vectors that start at 0, in `moments` and writes `update`,
    which is called for one block of all these vectors at a time.
    """

    moments = ()
    weight_decay = 0.0

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        if not self.parameters or not all(isinstance(p, Parameter) for p in self.parameters):
            raise ConfigError("parameters must be a list of Parameters: pass model.parameters()")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ConfigError("parameters holds one Parameter twice: it would move twice a step")
        if not (math.isfinite(lr) and lr >= 0):
            raise ConfigError(f"lr must be a finite number of at least 0, got {lr!r}")
        self.lr = lr
        self.t = 0
        for name in self.moments:
            flat = [parameter.value.reshape(-1) for parameter in self.parameters]
            setattr(self, name, np.zeros_like(np.concatenate(flat)))

    def step(self):
        """Move all parameters, in place, by one step."""
        self.t += 1
        self.lr = float(self.lr)  # an np.float64 rounds otherwise than the one loaded later
        end = 0
        for parameter in self.parameters:
            start, end = end, end + parameter.value.size
            moments = [getattr(self, name)[start:end] for name in self.moments]
            theta = parameter.value.reshape(-1)  # a view, if the array lies in one piece
            g = parameter.grad.reshape(-1)
            for first in range(0, theta.size, BLOCK):
                n = slice(first, first + BLOCK)
                theta[n] -= self.update(g[n], theta[n], *(m[n] for m in moments))
            if not parameter.value.flags.c_contiguous:
                parameter.value[...] = theta.reshape(parameter.value.shape)

    def update(self, g, theta, *moments):
        """Return what is subtracted from theta, (n,); of the arguments only moments may change."""
        raise NotImplementedError(f"{type(self).__name__} has no update yet")

    def state_dict(self):
        """Copies of everything a resumed run needs: name -> array."""
        state = {name: getattr(self, name).copy() for name in self.moments}
        return {"t": np.array(self.t), "lr": np.array(float(self.lr)), **state}

    def load_state_dict(self, state):
        """Take over the arrays of `state_dict()`; names and shapes must be exactly the same."""
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ShapeError(
                f"state does not fit {type(self).__name__}: missing "
                f"{sorted(own.keys() - state.keys())}, unknown {sorted(state.keys() - own.keys())}"
            )
        for name, array in own.items():
            if np.shape(state[name]) != array.shape:
                raise ShapeError(
                    f"state[{name!r}] has shape {np.shape(state[name])}, "
                    f"{type(self).__name__} expects {array.shape}"
                )
        self.t, self.lr = int(state["t"]), float(state["lr"])
        for name in self.moments:
            getattr(self, name)[...] = state[name]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as in torch.

        g <- g + weight_decay theta
        m <- momentum m + g                    velocity: gradients of the past fade geometrically
        theta <- theta - lr m                  or with Nesterov  theta - lr (g + momentum m)

    A constant gradient thus moves theta by lr / (1 - momentum) times it a step in the end.

    Parameters
    ----------
    parameters : `model.parameters()`
    lr : learning rate
    momentum : in 0..1
    weight_decay : factor of an L2 penalty's gradient
    nesterov : look ahead by one step of the velocity

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), On the importance of initialization and momentum in
    deep learning, ICML, section 2.
    """

    moments = ("m",)

    def __init__(self, parameters, lr=1e-3, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr)
        _require_share("momentum", momentum)
        _require_decay(weight_decay)
        if nesterov and momentum == 0:
            raise ConfigError("nesterov needs a momentum above 0")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov

    def update(self, g, theta, m):
        if self.weight_decay:
            g = g + self.weight_decay * theta
        m *= self.momentum
        m += g
        if self.nesterov:
            return self.lr * (g + self.momentum * m)
        return self.lr * m


class Adam(Optimizer):
    """Adam: each number gets a step of about lr, whatever the size of its gradient.

        g <- g + weight_decay theta
        m <- beta1 m + g            m_hat = m / (1 + beta1 + ... + beta1^(t-1))      mean of g
        v <- beta2 v + g^2          v_hat = v / (1 + beta2 + ... + beta2^(t-1))      mean of g^2
        theta <- theta - lr m_hat / (sqrt(v_hat) + eps)

    The means are weighted: a gradient of k steps ago counts beta^k. The sum of these weights,
    (1 - beta^t) / (1 - beta), is what m and v are divided by. (The paper multiplies every g by
    1 - beta and divides by 1 - beta^t: the same means, for two more passes over all parameters.)
    Where the gradient keeps its sign, m_hat / sqrt(v_hat) is near +-1; where it is mostly noise,
    near 0.

    Parameters
    ----------
    parameters : `model.parameters()`
    lr : learning rate
    betas : beta1, beta2
    eps : keeps the division finite; outside the root and after the correction, as in torch
    weight_decay : factor of an L2 penalty's gradient, which is also divided by sqrt(v_hat)

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, ICLR, algorithm 1.
    """

    moments = ("sum_g", "sum_g2")  # m, v: other names than of the paper's means, which they are not

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr)
        for name, beta in zip(("betas[0]", "betas[1]"), betas, strict=True):
            _require_share(name, beta)
        if not eps > 0:
            raise ConfigError(f"eps must be positive, got {eps}")
        _require_decay(weight_decay)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, g, theta, m, v):
        if self.weight_decay:
            g = g + self.weight_decay * theta
        return self.adaptive_step(g, m, v)

    def adaptive_step(self, g, m, v):
        """Update both moments with g; return lr m_hat / (sqrt(v_hat) + eps)."""
        beta1, beta2 = self.betas
        m *= beta1
        m += g
        part = g * g
        v *= beta2
        v += part

        # The corrections go into two numbers, which saves passes: with the sums of weights a of m
        # and b of v, m_hat / (sqrt(v_hat) + eps) = sqrt(b) / a * m / (sqrt(v) + sqrt(b) eps).
        a = (1 - beta1**self.t) / (1 - beta1)
        b = (1 - beta2**self.t) / (1 - beta2)
        denominator = np.sqrt(v, out=part)
        denominator += math.sqrt(b) * self.eps
        step = np.divide(m, denominator, out=part)
        step *= self.lr * math.sqrt(b) / a
        return step


class AdamW(Adam):
    """Adam with decoupled weight decay: theta shrinks by lr * weight_decay of itself a step.

        theta <- theta - lr ( m_hat / (sqrt(v_hat) + eps) + weight_decay theta )

    Other than an L2 penalty's gradient, the decay does not pass through m and v; so it is the same
    for all numbers, however large their gradients.

    Parameters
    ----------
    As for `Adam`; torch's default weight_decay.

    References
    ----------
    Loshchilov & Hutter (2019), Decoupled weight decay regularization, ICLR, algorithm 2.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, g, theta, m, v):
        step = self.adaptive_step(g, m, v)
        if self.weight_decay:
            step += self.lr * self.weight_decay * theta
        return step


def clip_grad_norm(parameters, max_norm):
    """Shorten the whole gradient to length `max_norm` if it is longer; return its length before.

    The norm is that of all gradients as one vector, and all are scaled alike: the direction of
    the step stays. (Clipping each array by itself would turn it.)

    Parameters
    ----------
    parameters : `model.parameters()`
    max_norm : largest length allowed

    Returns
    -------
    float, the global norm before clipping

    Raises
    ------
    ShapeError : a gradient holds NaN or infinity; the message names the place

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks,
    ICML, algorithm 1. torch divides by norm + 1e-6 instead of norm.
    """
    if not max_norm > 0:
        raise ConfigError(f"max_norm must be positive, got {max_norm}")
    parameters = list(parameters)
    norm = math.sqrt(sum(np.square(p.grad, dtype=np.float64).sum() for p in parameters))
    if not math.isfinite(norm):
        _raise_for_first_bad(parameters)
    if norm > max_norm:
        for parameter in parameters:
            parameter.grad *= max_norm / norm
    return norm


def _raise_for_first_bad(parameters):
    """Name the first gradient entry that is NaN or infinite."""
    for position, parameter in enumerate(parameters):
        for index in np.argwhere(~np.isfinite(parameter.grad))[:1]:
            where = ", ".join(str(i) for i in index)
            raise ShapeError(
                f"the gradient of parameters[{position}], shape {parameter.grad.shape}, is "
                f"{parameter.grad[tuple(index)]} at [{where}]; list(model.named_parameters())"
                f"[{position}] tells its name. Usual causes: a learning rate too high, log or "
                f"division of 0, NaN in the input"
            )


def _require_share(name, value):
    """Raise ConfigError unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"{name} must lie in 0..1 (1 excluded), got {value}")


def _require_decay(weight_decay):
    """Raise ConfigError unless the decay is a number of at least 0."""
    if not weight_decay >= 0:
        raise ConfigError(f"weight_decay must be at least 0, got {weight_decay}")
