"""Ridge on OPU features at scale: time, memory and error beside scikit-learn's.

One thread, processor time; competitors in one process, interleaved, medians and ratios. Prints
Markdown tables.

    python benchmarks/ridge_scale.py million --rows 50000  # measured on these, stated for 10^6
    python benchmarks/ridge_scale.py loo  # alpha="loo" against RidgeCV and GridSearchCV
    python benchmarks/ridge_scale.py crossover --data FOLDER --figure crossover.png
    python benchmarks/ridge_scale.py arithmetic --data FOLDER  # what gram= does to the error

The folder, also named by SKOPU_DATA, holds protein.npz (X, y) and mnist.npz (x_train, y_train,
x_test, y_test). ``--quick`` takes fewer rows.
"""

import argparse
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from machine import describe, peak_megabytes
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPUKernelRidgeClassifier,
    OPURandomFeatures,
    opu_kernel,
)
from skopu.devices import SimulatedOPU
from skopu.ridge import normal_equations
from skopu.ridge.solvers import solve
from skopu.ridge.systems import FeatureSystem

N_BITS, N_COMPONENTS, N_CHUNK = 784, 4096, 16_384
GRAMS = ("int7", "float32", "float64")


def seconds(function):
    """Processor time of a call, and what it returned."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def table(columns, rows):
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    print("\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]), flush=True)


def multiply_rate():
    """Integer products and sums a second of one large product of bytes."""
    import torch

    codes = torch.ones((4096, 2048), dtype=torch.int8)
    torch._int_mm(codes.T, codes)
    best = min(seconds(lambda: torch._int_mm(codes.T, codes))[0] for _ in range(3))
    return 2 * 4096 * 2048**2 / best


def binary_chunks(n_rows):
    """Yield random codes and targets, the same in every pass."""
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, N_CHUNK):
        codes = rng.integers(0, 2, size=(min(N_CHUNK, n_rows - start), N_BITS), dtype=np.uint8)
        yield codes, codes[:, :10].sum(axis=1) - 5.0


def million(arguments):
    """Run each arithmetic in a process of its own, whose peak of memory is then its own."""
    print(
        f"{arguments.rows} x {N_BITS} -> {N_COMPONENTS}, one thread; seconds stated for 10^6 rows "
        f"(times {1e6 / arguments.rows:g}, the solution once)\n"
    )
    columns = ["gram", "all", "features", "sums", "solution", "peak MB", "of it imports"]
    table([*columns, "int8 Gop/s beside it"], [])
    for gram in GRAMS[: 2 if arguments.quick else 3]:
        command = [sys.executable, __file__, "one", "--rows", str(arguments.rows), "--gram", gram]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"| {gram} | {' | '.join(done.stdout.split())} |", flush=True)


def one(arguments):
    """Print the figures of one arithmetic."""
    before, factor = peak_megabytes(), 1e6 / arguments.rows
    rate = multiply_rate() / 1e9
    device = OPURandomFeatures(N_COMPONENTS).fit(np.ones((1, N_BITS)))
    for codes, _ in binary_chunks(500):
        device.transform(codes)  # makes the matrix
    model = OPUKernelRidge(1.0, n_components=N_COMPONENTS, opu=device.opu_, gram=arguments.gram)
    generation, _ = seconds(lambda: sum(len(y) for _, y in binary_chunks(arguments.rows)))
    projection, _ = seconds(
        lambda: [len(device.transform(codes)) for codes, _ in binary_chunks(arguments.rows)]
    )
    fit, _ = seconds(lambda: model.fit_chunks(lambda: binary_chunks(arguments.rows)))
    solution, _ = seconds(lambda: solve(FeatureSystem(model._equations_, True), 1.0))
    features = projection - generation
    sums = fit - projection - solution
    total = factor * (features + sums) + solution
    figures = [total, factor * features, factor * sums, solution, peak_megabytes(), before, rate]
    print(*(f"{figure:.0f}" for figure in figures))


def loo(arguments):
    """Thirty penalties by leave-one-out."""
    n, n_features = (1000, 200) if arguments.quick else (10_000, 2048)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, size=(n + 2000, 64), dtype=np.uint8)
    target = codes[:, :8] @ rng.standard_normal(8) + codes[:, 0] * codes[:, 9]
    target = target + rng.standard_normal(len(codes))
    Phi = np.asarray(OPURandomFeatures(n_features).fit_transform(codes), dtype=np.float64)
    train, test = slice(n), slice(n, None)
    alphas = np.logspace(-3, 5, 30)
    models = {
        "OPUKernelRidge": OPUKernelRidge("loo", alphas=alphas, kernel="linear"),
        "RidgeCV": RidgeCV(alphas),
        "GridSearchCV": GridSearchCV(
            Ridge(), {"alpha": alphas}, cv=5, scoring="neg_mean_squared_error"
        ),
    }
    found = {}
    for name, model in tqdm(models.items(), leave=False):
        spent, _ = seconds(lambda model=model: model.fit(Phi[train], target[train]))
        best = getattr(model, "alpha_", None) or model.best_params_["alpha"]
        found[name] = spent, best, mean_squared_error(target[test], model.predict(Phi[test]))
    own = found["OPUKernelRidge"][0]
    print(f"n = {n}, D = {n_features}, {len(alphas)} penalties, one thread\n")
    table(
        ["", "seconds", "times OPUKernelRidge", "alpha", "test error"],
        [
            [name, f"{spent:.1f}", f"{spent / own:.1f}", f"{alpha:.6g}", f"{error:.8f}"]
            for name, (spent, alpha, error) in found.items()
        ],
    )


def protein(folder, seed=0):
    """Standardised protein: training and test rows."""
    with np.load(Path(folder, "protein.npz")) as data:
        X, y = data["X"].astype(float), data["y"].astype(float)
    X, X_test, y, y_test = train_test_split(X, y, test_size=5000, random_state=seed)
    scaler, mean, spread = StandardScaler().fit(X), y.mean(), y.std()
    return (
        scaler.transform(X),
        scaler.transform(X_test),
        (y - mean) / spread,
        (y_test - mean) / spread,
    )


def exact_on_codes(codes, y, codes_test):
    model = KernelRidge(alpha=2e4, kernel="precomputed").fit(opu_kernel(codes), y)
    return model.predict(opu_kernel(codes_test, codes))


def exact_on_inputs(X, y, X_test):
    return KernelRidge(alpha=0.1, kernel="rbf", gamma=0.3).fit(X, y).predict(X_test)


def features_of_codes(codes, y, codes_test, n_components):
    opu = SimulatedOPU(medium="structured")
    model = OPUKernelRidge(2e4, n_components=n_components, gram="int7", opu=opu)
    return model.fit(codes, y).predict(codes_test)


def features_of_inputs(X, y, X_test, n_components):
    settings = {"kernel": "rbf", "kernel_approximation": "fourier", "gamma": 0.3}
    settings |= {"gram": "int7", "random_state": 0}
    model = OPUKernelRidge(0.1, n_components=n_components, **settings)
    return model.fit(X, y).predict(X_test)


PAIRS = {
    "codes": (exact_on_codes, features_of_codes),
    "rbf": (exact_on_inputs, features_of_inputs),
}


def crossover(arguments):
    """Time, memory and error of exact kernels and of random features against n."""
    sizes = (3000, 5000) if arguments.quick else (1000, 2000, 3000, 5000, 7000, 10_000)
    rows, found = [], {kind: [] for kind in PAIRS}
    X, X_test, y, y_test = protein(arguments.data)
    binarizer = HyperplaneBinarizer(512, random_state=0).fit(X)
    inputs = {
        "codes": (binarizer.transform(X), binarizer.transform(X_test)),
        "rbf": (X, X_test),
    }
    # The kernel of bytes would overflow: KernelRidge gets the codes as numbers.
    exact_codes = tuple(part.astype(float) for part in inputs["codes"])
    for n in tqdm(sizes, leave=False):
        for kind, methods in PAIRS.items():
            figures = []
            for number, method in enumerate(methods):
                given = exact_codes if (kind, number) == ("codes", 0) else inputs[kind]
                given = (given[0][:n], y[:n], given[1], *[arguments.components][:number])
                figures.append(isolated(method, given, y_test))
            found[kind].append((n, *figures))
            exact, features = np.array(figures)
            ratios = [f"{ratio:.2f}" for ratio in exact / features]
            cells = zip((".2f", ".0f", ".4f"), exact, features, ratios)
            rows.append([n, kind, *(f"{a:{form}} / {b:{form}} = {r}" for form, a, b, r in cells)])
    print(
        f"KernelRidge / OPUKernelRidge (D = {arguments.components}) = ratio; with the prediction "
        "of 5000 rows\n"
    )
    table(["n", "kernel", "seconds", "MB beyond the data", "test error"], rows)
    if arguments.figure:
        draw(arguments.figure, found)


def isolated(method, given, y_test):
    """Seconds, memory and test error of a method, in a process forked for it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # The peak so far is the parent's: what is added to the present size counts.
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        spent, predicted = seconds(lambda: method(*given))
        figures = spent, resident("VmHWM") - before, mean_squared_error(y_test, predicted)
        os.write(writing, " ".join(map(repr, map(float, figures))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        figures = pipe.read()
    os.waitpid(child, 0)
    return tuple(map(float, figures.split()))


def resident(name):
    """Return a figure of this process's memory, in MB, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name} in /proc/self/status: this table needs Linux.")


def draw(path, found):
    """Draw time and memory against n."""
    from matplotlib import pyplot as plt

    plt.style.use(Path(__file__).with_name("style.mplstyle"))
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for ax, column, label in zip(axes, (0, 1), ("processor time (s)", "memory (MB)")):
        for color, (kind, points) in zip(("C0", "C1"), found.items()):
            for which, (name, line) in enumerate(
                (("KernelRidge", "s--"), ("OPUKernelRidge", "o-"))
            ):
                values = [point[1 + which][column] for point in points]
                sizes = [point[0] for point in points]
                ax.plot(sizes, values, line, color=color, label=f"{name}, {kind}")
        ax.set(xscale="log", yscale="log", xlabel="training rows of protein", ylabel=label)
    axes[0].legend(fontsize="small")
    figure.savefig(path)


def rounded_product(Phi, mean, targets, weights, kind):
    """Return the product of a chunk as a card makes it in TF32: of factors of 11 bits."""
    rows = np.sqrt(weights, dtype=np.float32)[:, None] * np.subtract(Phi, mean, dtype=np.float32)
    bits = rows.view(np.int32)
    bits += 1 << 12  # half of the last bit that stays: rounded to nearest
    bits &= ~((1 << 13) - 1)
    return normal_equations._Stored(rows.T @ rows)


@contextmanager
def emulated(gram):
    """Let "tf32" do on the processor what it does on a card."""
    product = normal_equations._product
    if gram == "tf32":
        normal_equations._product = rounded_product
    try:
        yield
    finally:
        normal_equations._product = product


def arithmetic(arguments):
    """Test error by arithmetic of the Gram matrix, beside the fit in memory in float64."""
    rows = []
    with np.load(Path(arguments.data, "mnist.npz")) as data:
        X, y, X_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    X, X_test = ((part.reshape(len(part), -1) > 127).view(np.uint8) for part in (X, X_test))
    n = 6000 if arguments.quick else 20_000
    X, y = X[:n], y[:n]
    for alpha in (1.0, 100.0, 1e4):
        found = {}
        for gram in (*GRAMS, "tf32"):
            model = OPUKernelRidgeClassifier(alpha, n_components=2048, gram=gram, chunk_size=4096)
            with emulated(gram):
                model.fit(X, y)
            scores = model.decision_function(X_test)
            signs = np.where(y_test[:, None] == model.classes_, 1.0, -1.0)
            found[gram] = np.mean((scores - signs) ** 2), np.mean(model.predict(X_test) != y_test)
        for gram, (squared, wrong) in found.items():
            change = squared - found["float64"][0]
            rows.append(["mnist", f"{alpha:g}", gram, f"{squared:.6f}", f"{change:+.1e}", wrong])
    X, X_test, y, y_test = protein(arguments.data)
    binarizer = HyperplaneBinarizer(512, random_state=0).fit(X)
    codes, codes_test = binarizer.transform(X[:n]), binarizer.transform(X_test)
    for alpha in (1.0, 100.0, 1e4):
        found = {}
        for gram in (*GRAMS, "tf32"):
            model = OPUKernelRidge(alpha, n_components=2048, gram=gram, chunk_size=4096)
            with emulated(gram):
                model.fit(codes, y[:n])
            found[gram] = mean_squared_error(y_test, model.predict(codes_test))
        for gram, squared in found.items():
            change = squared - found["float64"]
            rows.append(["protein", f"{alpha:g}", gram, f"{squared:.6f}", f"{change:+.1e}", ""])
    print(f"n = {n}, D = 2048\n")
    columns = ["set", "alpha", "gram", "squared error", "less that of float64", "wrong labels"]
    table(columns, rows)


def main():
    """Run one study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    studies = {f.__name__: f for f in (million, loo, crossover, arithmetic, one)}
    parser.add_argument("study", choices=studies)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--gram", choices=GRAMS, default="int7")
    parser.add_argument("--components", type=int, default=2048, help="D of the crossover")
    parser.add_argument("--data", default=os.environ.get("SKOPU_DATA", "."))
    parser.add_argument("--figure", help="file for a picture of the crossover")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        if arguments.study != "one":
            print(describe(), end="\n\n")
        studies[arguments.study](arguments)


if __name__ == "__main__":
    main()
