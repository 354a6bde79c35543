"""Examples to learn from, made in a second process while the first one trains."""

from collections import deque
from concurrent.futures import ProcessPoolExecutor


class ExampleMaker:
    """Makes training examples in a process of its own, so that both cores have work.

    Parameters
    ----------
    make_example : function `(task, seed) -> example`, at the top level of a module
    prepare : function called once in the process before, with the further arguments
    ahead : examples that wait for their use at most; each takes memory
    """

    def __init__(self, make_example, prepare, *arguments, ahead=32):
        self.make_example, self.ahead = make_example, ahead
        self.pool = ProcessPoolExecutor(1, initializer=prepare, initargs=arguments)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.pool.shutdown(cancel_futures=True)

    def examples(self, tasks, rng):
        """Yield an example for each task, in their order, each time another.

        The seeds are drawn here, from `rng`, so the examples are the same on every machine.
        """
        seeds = rng.integers(2**63, size=len(tasks))
        begun = deque()
        for task, seed in zip(tasks.tolist(), seeds, strict=True):
            begun.append(self.pool.submit(self.make_example, task, seed))
            if len(begun) > self.ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
