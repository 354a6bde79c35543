"""Reading a sequence in both directions, so that every step knows its past and its future.

Legend: B batch, T steps, D input features, H hidden units of each direction.
"""

from scratchaudio.errors import ConfigError
from scratchaudio.nn.layer import Layer
from scratchaudio.nn.recurrent import run, run_backward


class Bidirectional(Layer):
    """Two recurrent layers, one of which reads backwards: (B, T, D) -> (B, T, 2H).

        y_t = [ahead(x_1 .. x_t), back(x_T .. x_t)]

    The two never see each other; they share only x, so that their dx add. Being independent, they
    take their steps side by side in one loop: a batched matmul of two, and half the NumPy calls.
    With `lengths`, each sequence is read backwards from its own last step.

    Parameters
    ----------
    ahead, back : two layers of one class and size (RNN, GRU, GRUResetBefore or LSTM)

    Examples
    --------
    >>> import numpy as np
    >>> from scratchaudio.nn.lstm import LSTM
    >>> layer = Bidirectional(LSTM(3, 5, rng=0), LSTM(3, 5, rng=1))
    >>> layer.forward(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 10)

    References
    ----------
    Schuster & Paliwal (1997), Bidirectional recurrent neural networks, IEEE Transactions on Signal
    Processing 45(11).
    """

    def __init__(self, ahead, back):
        if type(ahead) is not type(back) or (ahead.n_in, ahead.n_hidden) != (
            back.n_in,
            back.n_hidden,
        ):
            raise ConfigError(
                f"ahead and back must be layers of one class and size, got "
                f"{_describe(ahead)} and {_describe(back)}"
            )
        if ahead is back:
            raise ConfigError("ahead and back must be two layers: one instance is one place")
        self.ahead, self.back = ahead, back

    def initial_state(self, batch_size):
        """Zeros in the form `forward` takes as `state`: (state of ahead, state of back)."""
        return self.ahead.initial_state(batch_size), self.back.initial_state(batch_size)

    def forward(self, x, state=None, lengths=None):  # (B, T, D) -> (B, T, 2H)
        states = (None, None) if state is None else state
        y, new_states = run([self.ahead, self.back], self, x, states, lengths)
        return y if state is None else (y, tuple(new_states))

    def backward(self, dy, dstate=None):  # (B, T, 2H) -> (B, T, D)
        dstates = (None, None) if dstate is None else dstate
        dx, dinitial, had_state = run_backward([self.ahead, self.back], self, dy, dstates)
        return (dx, tuple(dinitial)) if had_state else dx


def _describe(layer):
    return f"{type(layer).__name__}({layer.n_in}, {layer.n_hidden})"
