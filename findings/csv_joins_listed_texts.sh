#!/usr/bin/env bash
# One would expect that a data set with several rationales per question, a column of lists of texts such as OpenR1's `generations`, comes back
# from a CSV file: if not as lists, then as a text that Python or JSON reads as one. Dataset.to_csv goes through pandas and NumPy, whose
# print of an array has no commas. ast.literal_eval reads it without an error: Python joins texts that stand side by side, so the rationales of
# a question become one long text. The same rows made by pandas from Python lists have commas, and come back as lists.
# Why it matters here: a selection would see one rationale per question, with the last one's answer. The product reads lists in cells of CSV
# files, and refuses those whose texts have no commas between them.
# Source: datasets/io/csv.py (CsvDatasetWriter), numpy/_core/arrayprint.py; the joining is Python's, see "String literal concatenation" in its reference.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "datasets==5.2.0" "pandas==3.1.1" "numpy==2.4.6"
cd "$folder"
HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" - <<'PYTHON'
import ast
import csv
import sys

import datasets
import numpy
import pandas

print("datasets", datasets.__version__, "pandas", pandas.__version__, "numpy", numpy.__version__)
rows = {"question": ["2 + 3?"], "generations": [["Add 3. The answer is 6.", "2 + 3 = 5. The answer is 5."]]}
datasets.Dataset.from_dict(rows).to_csv("by_datasets.csv")
pandas.DataFrame(rows).to_csv("by_pandas.csv", index=False)
found = {}
for name in ("by_datasets", "by_pandas"):
    with open(f"{name}.csv", newline="") as file:
        [row] = csv.DictReader(file)
    found[name] = ast.literal_eval(row["generations"])
    print(f"{name}: {row['generations']!r} is read as {found[name]}")
joined = ["".join(rows["generations"][0])]
if found != {"by_datasets": joined, "by_pandas": rows["generations"][0]}:
    sys.exit("the behaviour has changed")
PYTHON
