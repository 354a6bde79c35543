"""The two updates of a small WaveGAN with gradient penalty: ours against torch on the CPU.

One update of the critic is zero_grad, real and fake in one batch, the Wasserstein loss, backward,
the gradient penalty with its gradient, and Adam; torch gets the penalty by backward through
backward. One update of the generator runs through the critic. The same sizes, float32.
"""

import numpy as np
import torch

from benchmarks.timing import ratio
from scratchaudio import nn
from scratchaudio.models.gan import (
    SMALL_WAVE,
    WaveGANDiscriminator,
    WaveGANGenerator,
    discriminator_step,
    generator_step,
)

B, WEIGHT, LR, BETAS = 32, 10.0, 1e-4, (0.5, 0.9)


class Shuffle(torch.nn.Module):
    """Phase shuffle with one shift for each example."""

    def forward(self, x):
        T = x.shape[-1]
        padded = torch.nn.functional.pad(x, (2, 2), mode="reflect")
        shifts = torch.randint(0, 5, (len(x),)).tolist()
        return torch.stack([padded[b, :, s : s + T] for b, s in enumerate(shifts)])


def torch_generator(n_samples, width, n_layers, n_latent=100):
    channels = [width * 2**i for i in reversed(range(n_layers))] + [1]
    n_start = n_samples // 4**n_layers
    layers = [
        torch.nn.Linear(n_latent, channels[0] * n_start),
        torch.nn.Unflatten(1, (channels[0], n_start)),
    ]
    for n_in, n_out in zip(channels, channels[1:], strict=False):
        convolution = torch.nn.ConvTranspose1d(n_in, n_out, 25, 4, 11, 1)
        layers += [torch.nn.ReLU(), convolution]
    return torch.nn.Sequential(*layers, torch.nn.Tanh())


def torch_critic(n_samples, width, n_layers):
    channels = [1] + [width * 2**i for i in range(n_layers)]
    layers = []
    for n_in, n_out in zip(channels, channels[1:], strict=False):
        layers += [torch.nn.Conv1d(n_in, n_out, 25, 4, 11), torch.nn.LeakyReLU(0.2)]
        layers += [Shuffle()] if n_out < channels[-1] else []
    n_end = channels[-1] * (n_samples // 4**n_layers)
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(n_end, 1))


def make():
    """Return our two updates and torch's."""
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, (B, 1, SMALL_WAVE["n_samples"])).astype(np.float32)
    z = rng.uniform(-1, 1, (B, 100)).astype(np.float32)

    generator = WaveGANGenerator(**SMALL_WAVE, rng=0)
    critic = WaveGANDiscriminator(**SMALL_WAVE, rng=1)
    optimizer = nn.Adam(generator.parameters(), LR, BETAS)
    critic_optimizer = nn.Adam(critic.parameters(), LR, BETAS)

    def our_critic_step():
        fake = generator.forward(z)
        discriminator_step(critic, critic_optimizer, nn.WASSERSTEIN, real, fake, WEIGHT, rng)

    def our_generator_step():
        generator_step(generator, critic, optimizer, nn.WASSERSTEIN, z)

    theirs, their_critic = torch_generator(**SMALL_WAVE), torch_critic(**SMALL_WAVE)
    their_optimizer = torch.optim.Adam(theirs.parameters(), LR, BETAS)
    their_critic_optimizer = torch.optim.Adam(their_critic.parameters(), LR, BETAS)
    treal, tz = torch.from_numpy(real), torch.from_numpy(z)

    def their_critic_step():
        their_critic_optimizer.zero_grad()
        with torch.no_grad():
            fake = theirs(tz)
        logits = their_critic(torch.cat([treal, fake]))
        loss = logits[B:].mean() - logits[:B].mean()
        a = torch.rand(B, 1, 1)
        x_hat = (a * treal + (1 - a) * fake).requires_grad_()
        (g,) = torch.autograd.grad(their_critic(x_hat).sum(), x_hat, create_graph=True)
        penalty = ((g.flatten(1).norm(dim=1) - 1) ** 2).mean()
        (loss + WEIGHT * penalty).backward()
        their_critic_optimizer.step()

    def their_generator_step():
        their_optimizer.zero_grad()
        for parameter in their_critic.parameters():
            parameter.requires_grad_(False)
        (-their_critic(theirs(tz)).mean()).backward()
        for parameter in their_critic.parameters():
            parameter.requires_grad_(True)
        their_optimizer.step()

    return {
        "critic step": (our_critic_step, their_critic_step),
        "generator step": (our_generator_step, their_generator_step),
    }


def main():
    torch.set_num_threads(2)
    print(f"WaveGAN {SMALL_WAVE}, batch {B}")
    for name, pair in make().items():
        print(f"{name}: ours / torch {ratio(*pair):.2f}", flush=True)


if __name__ == "__main__":
    main()
