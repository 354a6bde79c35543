"""Sound of any length in constant memory: cut into chunks, process each, join without a seam.

A model that takes a whole recording needs memory in proportion to its length: minutes fit, an hour
does not. So it is given chunks of half a minute. Three things make the joint inaudible:

Overlap. Near its ends a chunk is processed badly: a frame there lacks the past or the future that
the model was trained to see. Chunks that share some samples give every moment a chunk in which it
lies away from the end.

    chunk k        |=============|
    chunk k + 1              |=============|
                             overlap

Cross-fade. In the overlap there are two results for the same moment, a[n] of the earlier chunk and
b[n] of the later, and they differ. Switching from one to the other is a jump, heard as a click; so
the result moves from a to b, each weighing least where it is worst, at its own end:

    y[n] = (1 - w[n]) a[n] + w[n] b[n],      w[n] = sin^2(pi/2 (n + 1/2) / overlap)

Sum to one. Both are estimates of the *same* sound, so where they agree nothing may change: weights
that sum to one leave a = b as it is. (Fades whose squares sum to one keep the power of *unrelated*
sounds, as between two pieces of music; here they would swell by 3 dB in the middle.)

The same result for a file read in one piece or in a thousand, for chunks lie at multiples of
chunk - overlap whatever the blocks. The last one reaches back to be as long as the others.

Legend: N samples, n of them in a chunk; C channels; S stems; waveforms are (N,) or (C, N).
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal


def process_in_chunks(process, blocks, *, chunk, overlap):
    """Process a signal that arrives in blocks, chunk by chunk, in memory for a few chunks.

    Parameters
    ----------
    process : function of a chunk (..., n) that returns (..., n), n = `chunk`, or fewer if the whole
        signal is shorter; or (S, ..., n), for instance the stems of a song. It may change its
        argument in place.
    blocks : iterable of (N_i,) or (C, N_i) float arrays, of any lengths
    chunk : samples processed at a time
    overlap : samples that two chunks share, at most chunk / 2

    Returns
    -------
    iterator over the result in blocks (..., n_i) of at most `chunk` samples, as many in total as
    came in, in the dtype that came in

    Raises
    ------
    ShapeError : blocks do not fit each other, or `process` returned another shape or NaN

    Examples
    --------
    >>> blocks = [np.arange(4.0), np.arange(4.0, 7.0)]
    >>> halves = process_in_chunks(lambda x: x / 2, blocks, chunk=4, overlap=2)
    >>> np.concatenate(list(halves))
    array([0. , 0.5, 1. , 1.5, 2. , 2.5, 3. ])
    """
    require_positive_integer("chunk", chunk)
    integer = isinstance(overlap, int | np.integer) and not isinstance(overlap, bool)
    if not integer or not 0 <= 2 * overlap <= chunk:
        raise ConfigError(
            f"overlap must be an integer from 0 to half of chunk={chunk}, so that no more than two "
            f"chunks meet; got {overlap!r}"
        )
    return _cross_faded(process, blocks, chunk, overlap)


def _cross_faded(process, blocks, chunk, overlap):
    """Yield all of a chunk's result but the overlap, which the next one completes."""
    w = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1)) ** 2  # (overlap,)
    a = None  # (..., overlap) end of the result so far
    for x, n_new in _cut(blocks, chunk, overlap):
        y = _processed(process, x)
        if a is not None:
            if y.shape[:-1] != a.shape[:-1]:
                raise ShapeError(
                    f"process must return the same leading axes for every chunk, got "
                    f"{a.shape[:-1]} before and {y.shape[:-1]} now"
                )
            y = y[..., y.shape[-1] - n_new - overlap :]  # (..., overlap + n_new)
            b = y[..., :overlap]
            b[...] = a + w.astype(y.dtype) * (b - a)  # exact where a = b, unlike (1 - w) a + w b
        final = max(0, y.shape[-1] - overlap)
        a = y[..., final:]
        if final:
            yield y[..., :final]
    if a is not None and a.shape[-1]:
        yield a


def _cut(blocks, chunk, overlap):
    """Yield chunks (..., n), each with the number of its samples that were in none before."""
    buffer, filled, seen = None, 0, 0  # `seen` samples at its start are those of the last chunk
    due = chunk  # the next chunk is complete when so many are filled
    for i, block in enumerate(blocks):
        block = np.asarray(block)
        if block.ndim > 0 and block.shape[-1] == 0:
            continue
        block = require_signal(f"blocks[{i}]", block)
        if buffer is None:
            buffer = np.empty((*block.shape[:-1], 2 * chunk - overlap), block.dtype)
        _require_alike(block, buffer, i)
        while block.shape[-1]:
            n = min(due - filled, block.shape[-1])
            buffer[..., filled : filled + n] = block[..., :n]
            block, filled = block[..., n:], filled + n
            if filled == due:
                x = buffer[..., filled - chunk : filled].copy()  # process may change it
                yield x, filled - seen
                buffer[..., :chunk] = buffer[..., filled - chunk : filled]
                filled, seen, due = chunk, chunk, 2 * chunk - overlap
    if filled > seen:
        yield buffer[..., max(0, filled - chunk) : filled].copy(), filled - seen


def _require_alike(block, buffer, i):
    if block.shape[:-1] != buffer.shape[:-1] or block.dtype != buffer.dtype:
        raise ShapeError(
            f"all blocks must have the channels and dtype of the first, {buffer.shape[:-1]} and "
            f"{buffer.dtype}; blocks[{i}] has {block.shape[:-1]} and {block.dtype}"
        )


def _processed(process, x):
    """Return the result for a chunk as an array of its own, of the dtype of x."""
    shape, dtype = x.shape, x.dtype
    y = require_signal("what process returned", process(x))
    if y.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"process must return the shape of its argument, {shape}, or that after more leading "
            f"axes; it returned {y.shape}"
        )
    return y.astype(dtype)
