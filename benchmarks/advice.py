"""Figures behind advice in the user guide: objective and gradient where they matter most.

Two questions, each answered under the protocol of ``protocol.py``, with an encoder penalty of
0.001 for all: which objective for one pass a row (``prediction="threshold"``), and which gradient
for few components (128, where 64 bits have 2080 products).

    SKOPU_DATA=folder python benchmarks/advice.py --sets energy,yacht,boston
"""

from functools import partial

import protocol
from tqdm import tqdm

from skopu import EndToEndOPURegressor, OPURandomFeatures, SupervisedBinarizer
from skopu.comparison.methods import Method, Settings
from skopu.comparison.report import markdown_table, summarise
from skopu.comparison.runner import run


def make(task, settings, seed, prediction, n_components, **options):
    """Return an end-to-end regressor."""
    binarizer = SupervisedBinarizer(encoder_penalty=1e-3, **options)
    features = OPURandomFeatures(n_components)
    return EndToEndOPURegressor(binarizer, features, prediction=prediction, random_state=seed)


def method(label, prediction, n_components, **options):
    """Return a method of the comparison."""
    settings = {"prediction": prediction, "n_components": n_components, **options}
    return Method(label, partial(make, **settings))


METHODS = {
    "a": method("one pass, End-to-End", "threshold", 1024, objective="end_to_end"),
    "b": method("one pass, Isolated", "threshold", 1024, objective="isolated"),
    "c": method("128 components, leave-one-out", "draws", 128, gradient="loo"),
    "d": method("128 components, exact", "draws", 128, gradient="exact"),
}


def main():
    """Print a markdown table."""
    options = protocol.resolve(
        protocol.add_runs(protocol.make_parser(__doc__, "energy,yacht,boston"))
    )
    problems = [protocol.load_problem(options.data, name) for name in options.sets]
    fits = run(problems, METHODS, Settings(), options.seeds, n_jobs=options.n_jobs)
    records = list(tqdm(fits, total=len(problems) * len(METHODS) * len(options.seeds)))
    print(markdown_table(summarise(problems, METHODS, records, len(options.seeds))))


if __name__ == "__main__":
    main()
