"""
2. Your own file
================

From a CSV file to a model that others can load: on the command line, then the same in Python.
"""

# %%
# A file
# ------
# As people have them: semicolons, decimal commas, text, gaps. (Made up here; take yours.)
import tempfile
from pathlib import Path

import numpy as np

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
path = folder / "houses.csv"
lines = ["area;age;district;price"]
for _ in range(300):
    area, age, district = rng.uniform(30, 200), rng.uniform(0, 100), rng.choice(["old", "new"])
    price = 2 * area + 40 * np.sin(age / 15) * (district == "old") + 10 * rng.standard_normal()
    shown_age = "" if rng.random() < 0.05 else f"{age:.1f}"
    lines.append(f"{area:.1f};{shown_age};{district};{price:.2f}".replace(".", ","))
path.write_text("\n".join(lines))
print(path.read_text()[:90])

# %%
# Compare
# -------
# In a terminal this is ``skopu houses.csv --target price``. It says how it read the file, compares
# seven methods on random splits, and saves a figure. Here with fewer methods, and none.
from skopu.command.front import main

main(
    f"{path} --target price --methods hyperplanes,exact,kernel-ridge --n-splits 2 "
    "--max-iter 300 --n-jobs 1 --no-figure --quiet".split()
)

# %%
# Fit and predict
# ---------------
# ``skopu fit houses.csv --target price --out houses.skops`` keeps the model with all that was done
# to the columns, and ``skopu predict houses.skops new.csv`` uses it.
model = folder / "houses.skops"
main(f"fit {path} --target price --out {model} --method exact --max-iter 300".split())
new = folder / "new.csv"
new.write_text("district;age;area\nold;23,5;100\nnew;23,5;100")
main(["predict", str(model), str(new)])

# %%
# The file holds no code, only numbers and the names of known classes: it is safe to load.
from skopu.deploy import load_model

print([name for name, _ in load_model(model).steps])

# %%
# The same in Python
# ------------------
# Columns of text are for scikit-learn to encode; skopu's estimators take numbers. Scaling is
# theirs: do not standardise twice.
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skopu import EndToEndOPURegressor, SupervisedBinarizer

table = pd.read_csv(path, sep=";", decimal=",")
columns = make_column_transformer(
    (SimpleImputer(strategy="median"), ["area", "age"]),
    (OneHotEncoder(sparse_output=False), ["district"]),
)
encoder = SupervisedBinarizer(gradient="exact", max_iter=300)
model = EndToEndOPURegressor(encoder, prediction="mean", random_state=0)
scores = cross_val_score(make_pipeline(columns, model), table, table["price"], cv=3)
print(f"R2 {scores.mean():.2f} on rows left out")
