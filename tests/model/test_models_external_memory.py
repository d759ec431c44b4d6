import numpy as np
import pyarrow as pa
import pytest

from pipelines.models import xgboost_fitting
from pipelines.models.fitting import Recipe, Rows, fit
from pipelines.settings.training import Training


@pytest.mark.slow
def test_matrix_on_disk_gives_the_bytes_of_the_one_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgboost_fitting, "_BLOCK_ROWS", 300)
    random = np.random.default_rng(0)
    x, kind = random.normal(size=2000), random.choice(["a", "b", "c"], 2000)
    table = pa.table({"x": np.where(x > 2, np.nan, x), "kind": pa.array(list(kind)).cast(pa.string())})
    target = (x + (kind == "a") + random.normal(size=2000) > 0.5).astype(float)
    types = {"x": "number", "kind": "category"}
    models = [
        fit(
            Recipe(Training(task="binary", max_rows_in_memory=most), types, ["0", "1"], 2),
            Rows(table, target),
            np.arange(2000) >= 1600,
        ).to_files()
        for most in (10_000, 100)
    ]
    assert models[0]["model.ubj"] == models[1]["model.ubj"]
