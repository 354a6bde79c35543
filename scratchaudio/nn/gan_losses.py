"""Losses of generative adversarial networks: what the two players of the game want.

A *generator* G makes sounds G(z) from random numbers z. A *discriminator* D, or *critic*, gives
each sound one number, a logit: large for "real", small for "made". They learn against each other,
each with a loss of its own:

    D   real logits should be large, those of fakes small
    G   the logits of its fakes should be large

so G's only teacher is the gradient of D's logit with respect to the sound. The four games here
differ in how a logit is turned into a loss, f and g for D, h for G, all means over the logits:

                      D: f(real) + g(fake)                 G: h(fake)
    NON_SATURATING    softplus(-r) + softplus(a)           softplus(-a)
    LEAST_SQUARES     (r - 1)^2    + a^2                   (a - 1)^2
    HINGE             max(0, 1 - r) + max(0, 1 + a)        -a
    WASSERSTEIN       -r           + a                     -a

*Non-saturating*. softplus(-r) = -log sigma(r): the cross-entropy of a classifier with labels 1 for
real and 0 for fake. For G one would expect its negative, log(1 - sigma(a)), whose slope is
-sigma(a): 0 where D is sure of a fake, just where G has most to learn. -log sigma(a) has the same
goal and the slope -sigma(-a), there -1; hence the name.

*Least squares*. A logit that is too large is pulled back as well, so that fakes that D takes for
real still get a gradient that draws them to where real sounds lie. (Mao et al. have a factor 1/2,
which the code of most authors, and this, leaves out.)

*Hinge*. D cares no more for a sound that is on its right side by 1, and works on the others.

*Wasserstein*. D's loss is minus an estimate of how far (in the sense of moving sand) fakes lie from
real sounds, if D's slope is nowhere larger than 1; without such a bound it has no minimum. See
`gradient_penalty` and, as another bound, `SpectralNorm`. The other three profit from it as well.

Each function returns the loss and the gradients with respect to its logits, which is what
`backward` of the discriminator takes. In a training step, with optimisers for each player,

    # D learns: it sees real and fake in one batch, and G gets no gradient
    discriminator.zero_grad()
    logits = discriminator.forward(np.concatenate([real, fake]))
    loss, dreal, dfake = HINGE.discriminator(logits[:B], logits[B:])
    discriminator.backward(np.concatenate([dreal, dfake]))
    discriminator_optimizer.step()

    # G learns: the gradient runs through D, of which nothing changes, into G
    generator.zero_grad()
    logits = discriminator.forward(generator.forward(z))
    loss, dlogits = HINGE.generator(logits)
    with frozen(discriminator):
        dfake = discriminator.backward(dlogits)
    generator.backward(dfake)
    generator_optimizer.step()

Legend: r logits of real sounds, a ("artificial") logits of fakes, any shape; B batch size.

References
----------
Goodfellow et al. (2014), Generative adversarial nets, NeurIPS, section 3; least squares: Mao et al.
(2017), Least squares generative adversarial networks, ICCV, eq. 9; hinge: Lim & Ye (2017),
Geometric GAN, arXiv:1705.02894, eq. 15 and 16; Wasserstein: Arjovsky, Chintala & Bottou (2017),
Wasserstein GAN, ICML, eq. 2 and 3.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchaudio.errors import ShapeError
from scratchaudio.nn.activations import sigmoid, softplus


class GANLoss(NamedTuple):
    """The losses of both players of one game.

    Attributes
    ----------
    discriminator : function (real logits, fake logits) -> (loss, dreal, dfake)
    generator : function (fake logits) -> (loss, dfake)

    Examples
    --------
    >>> loss, dreal, dfake = HINGE.discriminator(np.array([0.5, 3.0]), np.array([-0.25]))
    >>> loss
    1.0
    >>> dreal.tolist(), dfake.tolist()
    ([-0.5, 0.0], [1.0])
    """

    discriminator: Callable
    generator: Callable


# Non-saturating ----------------------------------------------------------------------------------


def non_saturating_discriminator(real, fake):
    """Mean of softplus(-r) plus mean of softplus(a); gradients -sigma(-r) / n, sigma(a) / n."""
    real, fake = _logits("real", real), _logits("fake", fake)
    loss_real, dreal = _mean(softplus(-real), -sigmoid(-real))
    loss_fake, dfake = _mean(softplus(fake), sigmoid(fake))
    return loss_real + loss_fake, dreal, dfake


def non_saturating_generator(fake):
    """Mean of softplus(-a); gradient -sigma(-a) / n."""
    fake = _logits("fake", fake)
    return _mean(softplus(-fake), -sigmoid(-fake))


# Least squares -----------------------------------------------------------------------------------


def least_squares_discriminator(real, fake):
    """Mean of (r - 1)^2 plus mean of a^2; gradients 2 (r - 1) / n, 2 a / n."""
    real, fake = _logits("real", real), _logits("fake", fake)
    loss_real, dreal = _mean((real - 1) * (real - 1), 2 * (real - 1))
    loss_fake, dfake = _mean(fake * fake, 2 * fake)
    return loss_real + loss_fake, dreal, dfake


def least_squares_generator(fake):
    """Mean of (a - 1)^2; gradient 2 (a - 1) / n."""
    fake = _logits("fake", fake)
    return _mean((fake - 1) * (fake - 1), 2 * (fake - 1))


# Hinge -------------------------------------------------------------------------------------------


def hinge_discriminator(real, fake):
    """Mean of max(0, 1 - r) plus mean of max(0, 1 + a); slopes -1 and 1, 0 at and past the kink."""
    real, fake = _logits("real", real), _logits("fake", fake)
    loss_real, dreal = _mean(np.maximum(1 - real, 0), _slopes(-1, real.real < 1, real))
    loss_fake, dfake = _mean(np.maximum(1 + fake, 0), _slopes(1, fake.real > -1, fake))
    return loss_real + loss_fake, dreal, dfake


# Wasserstein -------------------------------------------------------------------------------------


def wasserstein_discriminator(real, fake):
    """Mean of a minus mean of r; gradients -1 / n and 1 / n."""
    real, fake = _logits("real", real), _logits("fake", fake)
    loss_real, dreal = _mean(-real, -np.ones_like(real))
    loss_fake, dfake = _mean(fake, np.ones_like(fake))
    return loss_real + loss_fake, dreal, dfake


def wasserstein_generator(fake):
    """Minus the mean of a; gradient -1 / n. The generator's loss of the hinge game too."""
    fake = _logits("fake", fake)
    return _mean(-fake, -np.ones_like(fake))


NON_SATURATING = GANLoss(non_saturating_discriminator, non_saturating_generator)
LEAST_SQUARES = GANLoss(least_squares_discriminator, least_squares_generator)
HINGE = GANLoss(hinge_discriminator, wasserstein_generator)
WASSERSTEIN = GANLoss(wasserstein_discriminator, wasserstein_generator)


# What the losses share ---------------------------------------------------------------------------


def _mean(loss, gradient):
    """Mean of `loss`, and the gradient of each entry turned into the mean's."""
    return loss.sum().item() / loss.size, gradient / loss.size


def _slopes(slope, mask, logits):
    """`slope` where the mask is True, 0 elsewhere, in the dtype of the logits."""
    return np.where(mask, slope, 0).astype(logits.real.dtype)


def _logits(name, x):
    """`x` as an array; raise unless it holds floating (or, in gradient checks, complex) numbers."""
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.inexact):
        raise ShapeError(f"{name} logits must be floating-point numbers, got dtype {x.dtype}")
    if x.size == 0:
        raise ShapeError(f"{name} logits must hold at least one number, got shape {x.shape}")
    return x
