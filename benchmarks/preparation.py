"""How features are prepared, on real data: encoders, selection and projection with one linear model and with trees.

python -m benchmarks.preparation --data FOLDER [--only NAME ...]

FOLDER holds `adult/adult.parquet` (48,842 people, UCI) and `sms_spam/sms.tsv` (5,574 messages, UCI). The rows of adult
have no time: a fixed shuffle gives the last 20 % as the holdout; messages keep the order of their file. 'id' is a
planted category with one value per row. This goes past the steps; texts through the chain are in
tests/integration/test_text_pipeline.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from pipelines.models.fitting import fit
from pipelines.models.model import Model
from pipelines.models.recipe import Recipe, Rows
from pipelines.settings.training import Training

TREES = {"family": "xgboost", "rounds": 100, "early_stopping_rounds": None}
PLAIN = {"family": "sklearn", "estimator": "LogisticRegression", "parameters": {"max_iter": 300}}
CATEGORIES = ("workclass", "education", "marital_status", "occupation", "relationship", "race", "sex", "native_country")
TARGET = {name: {"encoder": "target"} for name in CATEGORIES}
FREQUENCY = {name: {"encoder": "frequency"} for name in CATEGORIES}
ID = {"id": {"encoder": "target"}}
Case = tuple[str, str, dict[str, Any], dict[str, Any]]


def cases() -> Iterator[Case]:
    """Name, data, model and what is asked of the preparation."""
    selected = {"select": [{"by": "variance"}, {"by": "mutual_information", "keep": 20}]}
    for family, model in (("linear", PLAIN), ("trees", TREES)):
        yield f"{family}, as the family takes categories", "adult", model, {}
        yield f"{family}, target", "adult", model, {"encode": TARGET}
        yield f"{family}, frequency", "adult", model, {"encode": FREQUENCY}
        yield f"{family}, 20 columns by mutual information", "adult", model, selected
        yield f"{family}, 8 principal components", "adult", model, {"project": {"method": "pca", "components": 8}}
        yield f"{family}, code of 8", "adult", model, {"project": {"method": "autoencoder", "components": 8}}
        yield f"{family}, target and id", "adult and id", model, {"encode": TARGET | ID}
    for terms in (100, 500, 2000):
        yield (
            f"linear, {terms} terms",
            "sms",
            PLAIN,
            {"encode": {"message": {"encoder": "tfidf", "max_features": terms}}},
        )
    for columns in (256, 2048):
        yield (
            f"linear, {columns} hashes",
            "sms",
            PLAIN,
            {"encode": {"message": {"encoder": "hashing", "features": columns}}},
        )
    words = {"encode": {"message": {"encoder": "tfidf", "max_features": 500}}}
    yield "trees, 500 terms", "sms", TREES, words
    yield "linear, 50 components of 500 terms", "sms", PLAIN, words | {"project": {"method": "pca", "components": 50}}


def people(folder: Path, has_id: bool) -> tuple[Rows, dict[str, str]]:
    table = pq.read_table(folder / "adult" / "adult.parquet")
    table = table.rename_columns([name.replace("-", "_").replace(".", "_") for name in table.column_names])
    table = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
    label = table.column_names[-1]
    target = np.array([">50K" in str(one) for one in table[label].to_pylist()]) * 1.0
    table = table.drop_columns([label])
    if has_id:
        table = table.append_column("id", pa.array([f"p{number}" for number in range(table.num_rows)]))
    kinds = {
        field.name: "number" if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) else "category"
        for field in table.schema
    }
    return Rows(table, target), kinds


def messages(folder: Path) -> tuple[Rows, dict[str, str]]:
    lines = (folder / "sms_spam" / "sms.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("\t") for line in lines]
    target = np.array([label == "spam" for label, _, _ in pairs]) * 1.0
    return Rows(pa.table({"message": [text for _, _, text in pairs]}), target), {"message": "text"}


def line(folder: Path, case: Case) -> str:
    """One row of the report."""
    name, data, model, asked = case
    rows, kinds = messages(folder) if data == "sms" else people(folder, has_id=data != "adult")
    missing = {"default": {"strategy": "native"}} | {
        one: {"strategy": "median"} for one, kind in kinds.items() if kind == "number"
    }
    training = Training.model_validate({"task": "binary", "model": model, "missing": missing, **asked})
    later = np.arange(len(rows)) >= len(rows) * 4 // 5
    started = time.perf_counter()
    fitted = fit(Recipe(training, kinds, ["0", "1"], threads=2), rows.take(~later), None)
    seconds = time.perf_counter() - started
    files = fitted.to_files()
    started = time.perf_counter()
    scores = Model.from_files(files, threads=2).predict(rows.take(later).table)
    scored = (time.perf_counter() - started) / later.sum() * 1_000_000
    auc = roc_auc_score(rows.target[later], scores)
    size = sum(map(len, files.values())) / 1024
    width = len(fitted.preprocess.output_names)
    return f"| {data} | {name} | {width} | {auc:.4f} | {seconds:.1f} | {scored:.0f} | {size:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    print("| data | prepared | columns | roc_auc | seconds to fit | microseconds per row scored | KiB |")
    print("|---|---|---|---|---|---|---|")
    for case in cases():
        if not arguments.only or any(one in case[0] for one in arguments.only):
            print(line(arguments.data, case), flush=True)


if __name__ == "__main__":
    main()
