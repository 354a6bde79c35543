"""Initial weights: random, and of the size that keeps signals alive through many layers.

If y = x W sums n_in independent terms, its variance is n_in Var(x) Var(W). Weights that are too
large make activations and gradients grow with every layer, too small make them vanish; with

    Var(W) = 1 / n_in

the variance stays the same on the way forward, with 1 / n_out on the way back. Each function
below is one answer to this; all draw from a bounded or normal distribution of mean 0.

Legend: shape of the weight, n_in terms summed into one output (fan-in), n_out outputs that one
input goes to (fan-out). They are arguments, because the shape alone does not tell: an LSTM's
Wx (D, 4H) holds four matrices with n_in = D, n_out = H.
"""

import math

import numpy as np

from scratchaudio.errors import ShapeError


def uniform(shape, n_in, rng=None, dtype=np.float32):
    """Draw from U(-1/sqrt(n_in), 1/sqrt(n_in)), torch's default for linear layers.

    Its variance is 1 / (3 n_in).

    References
    ----------
    LeCun, Bottou, Orr & Mueller (1998), Efficient BackProp, section 4.6, has sqrt(3) times this.
    """
    rng = np.random.default_rng(rng)
    bound = 1 / math.sqrt(n_in)
    return rng.uniform(-bound, bound, shape).astype(dtype)


def xavier_uniform(shape, n_in, n_out, rng=None, dtype=np.float32):
    """Draw from U(-a, a), a = sqrt(6 / (n_in + n_out)): variance 2 / (n_in + n_out).

    The mean of what forward (1 / n_in) and backward (1 / n_out) ask for, in the harmonic sense;
    for layers followed by tanh, which is about the identity near 0. Also called Glorot.

    References
    ----------
    Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks, AISTATS, eq. 16.
    """
    rng = np.random.default_rng(rng)
    bound = math.sqrt(6 / (n_in + n_out))
    return rng.uniform(-bound, bound, shape).astype(dtype)


def kaiming_normal(shape, n_in, rng=None, dtype=np.float32):
    """Draw from N(0, 2 / n_in), for layers followed by ReLU. Also called He.

    ReLU sets half of the terms to zero, hence twice the variance.

    References
    ----------
    He, Zhang, Ren & Sun (2015), Delving deep into rectifiers, ICCV, eq. 10.
    """
    rng = np.random.default_rng(rng)
    return (math.sqrt(2 / n_in) * rng.standard_normal(shape)).astype(dtype)


def orthogonal(shape, rng=None, dtype=np.float32):
    """Draw a matrix with orthonormal rows or columns, whichever are fewer: all singular values 1.

    A square one keeps the length of every vector, so that a recurrence h W h' ... neither grows
    nor shrinks. It is the Q of the QR decomposition of a normal matrix; making R's diagonal
    positive makes Q uniform over all orthogonal matrices.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks, ICLR; Mezzadri (2007), How to generate random matrices from the
    classical compact groups, section 5, for the sign.
    """
    if len(shape) != 2:
        raise ShapeError(f"shape of an orthogonal matrix must have 2 sizes, got {tuple(shape)}")
    rng = np.random.default_rng(rng)
    n_rows, n_columns = shape
    tall = rng.standard_normal((max(shape), min(shape)))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.sign(np.diag(R))  # (max, min), columns orthonormal
    return (Q if n_rows >= n_columns else Q.T).astype(dtype)
