"""Why new arrays are slow, and what one line does about it.

`y = x @ W` asks for new memory. What the system gives is only promised: at the first touch of each
page of 4096 bytes the processor stops, and the kernel finds a page and fills it with zeros. For an
activation of 3 MB that is 700 stops, about as long as adding a bias to it. The memory is given back
when the array dies, and at the next step everything starts again.

The C library need not give it back. glibc keeps freed memory, already paged in, for the next array
of a similar size, but by default only below 128 kB. That limit is not fixed: freeing a larger array
raises it to the size of that array, up to 32 MB (mallopt(3), M_MMAP_THRESHOLD). So one array of
nearly 32 MB, never touched and hence never real, that is created and dropped once, lets a training
step work in the memory of the step before. Elsewhere than with glibc it does nothing.

Measured by `python benchmarks/run.py memory`.
"""

import numpy as np


def keep_freed_memory():
    """Let the C library keep freed arrays of up to 32 MB for those that come next."""
    np.empty(32 * 2**20 - 2**13, np.uint8)  # the limit counts a few bytes of its own
