"""Temperature surrogates and Gumbel-softmax, under one schedule of the temperature and another.

Lu (2020) holds against both that the temperature must be lowered by some schedule, which is hard to
tune, and that a low one is unstable. Nets of binary weights on digits, as in the table "ways" of
``bop.py`` (a layer of 256, 100 epochs, cosine decay from 0.01, three splits), under geometric
schedules from a first temperature to a last; the package's own goes from 1 to 0.05. Test
accuracies of the binary weights, mean and standard deviation over splits; a schedule stands apart
from the best one where these intervals do not overlap.

    python benchmarks/reproductions/temperatures.py

Five minutes on one core; ``--save FILE`` keeps every fit.
"""

import itertools
import math
import sys
from unittest.mock import patch

import bop
import numpy as np
from fits import Store, add_fits, interval, make_parser, percent, table
from tqdm import tqdm

from skopu.discrete import training

SCHEDULES = ((1, 1), (1, 0.5), (1, 0.2), (1, 0.05), (1, 0.01), (5, 0.05), (0.2, 0.2), (0.05, 0.05))
WAYS = {"sigmoid": "temperature surrogate", "gumbel": "Gumbel-softmax"}


def follow(first, last, set_temperature=training.set_temperature):
    """Return what sets temperatures from ``first`` to ``last`` instead of the package's own.

    The package's function is the default that is bound here, before it is patched.
    """

    def set_scheduled(module, temperature):
        share = math.log(temperature) / math.log(training._LAST_TEMPERATURE)
        set_temperature(module, first * (last / first) ** share)

    return set_scheduled


def measure(settings, seed):
    """Return the test accuracy of a net that was trained under a schedule."""
    with patch.object(training, "set_temperature", follow(*settings["schedule"])):
        net = {"weight_optimizer": settings["way"], **bop.DECAYING}
        return bop.measure(net, seed, None)["accuracy"]


def main(argv=None):
    parser = make_parser(__doc__)
    add_fits(parser)
    options = parser.parse_args(argv)
    store, found = Store(options.save, measure), {}
    fits = list(itertools.product(WAYS, SCHEDULES, options.seeds))
    for way, schedule, seed in tqdm(fits, unit="fit", file=sys.stderr):
        accuracy = store.get({"way": way, "schedule": schedule}, seed)
        found.setdefault((way, schedule), []).append(accuracy)
    rows = [
        [f"{first} to {last}", *(percent(found[way, (first, last)]) for way in WAYS)]
        for first, last in SCHEDULES
    ]
    print(table(["temperature", *WAYS.values()], rows))
    for way, name in WAYS.items():
        best = max(SCHEDULES, key=lambda schedule: np.mean(found[way, schedule]))
        lowest = interval(found[way, best])[0]
        apart = [s for s in SCHEDULES if interval(found[way, s])[1] < lowest]
        print(f"\n{name}: best {best}, apart from it {len(apart)} of {len(SCHEDULES) - 1}")


if __name__ == "__main__":
    main()
