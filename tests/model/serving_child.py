"""Loads MLflow models as another machine would and answers a request, in a process of its own.

No library beyond those that the models ask for is there, nothing may be unpickled, and the product's code must be the
copy beside the first model. Arguments: a file with a request, then the folder of the model that it is for, and so on;
prints one line of JSON for each.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

# Names of modules, from the test.
ABSENT = frozenset(os.environ["ABSENT_MODULES"].split(","))


class Refuses:
    """As if these were not installed."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} must not be needed", name=name)
        return None


def refuse_pickle(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        raise RuntimeError(f"something was unpickled: {arguments}")


def main(*given: str) -> None:
    sys.meta_path.insert(0, Refuses())
    import mlflow.pyfunc
    from mlflow.pyfunc.scoring_server import invocations

    sys.addaudithook(refuse_pickle)
    requests, folders = given[::2], given[1::2]
    for request, folder in zip(requests, folders, strict=True):
        model = mlflow.pyfunc.load_model(folder)
        asked = Path(request).read_bytes()
        answer = invocations(asked, "application/json", model, model.metadata.get_input_schema())
        print(json.dumps(json.loads(answer.response)["predictions"]))
    import pipelines

    if not Path(pipelines.__file__).is_relative_to(folders[0]):
        raise RuntimeError(f"the product's own code was used: {pipelines.__file__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
