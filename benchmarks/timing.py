"""Compare two pieces of code on a machine whose speed changes while you measure.

A time in milliseconds says as much about the machine's other work as about the code. So both are
run in turn, ours, theirs, ours, theirs, ..., and each pair gives one ratio ours / theirs: whatever
slowed the machine in that moment slowed both. The median of these ratios is what we quote; below
1 we are faster. Both must do the same work with the same number of threads: `make bench` sets two.
"""

from statistics import median
from time import perf_counter


def seconds(function):
    """Call `function()` once; return how long it took."""
    start = perf_counter()
    function()
    return perf_counter() - start


def ratio(ours, theirs, repeats=15):
    """Median over `repeats` interleaved pairs of time(ours) / time(theirs).

    Each is called once before, unmeasured, so that neither pays for imports and cold caches. The
    one that goes first alternates from pair to pair.

    Parameters
    ----------
    ours, theirs : functions without arguments
    repeats : number of pairs

    Returns
    -------
    float, below 1 where ours is faster
    """
    ours()
    theirs()
    ratios = []
    for pair in range(repeats):
        if pair % 2 == 0:
            mine, other = seconds(ours), seconds(theirs)
        else:
            other, mine = seconds(theirs), seconds(ours)
        ratios.append(mine / other)
    return median(ratios)
