"""A network's scores are the same bits whatever number of threads the process has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.models.torch_image import ImageShape
from pipelines.models.torch_network import Network, Shape
from pipelines.models.torch_sequence import SequenceShape
from pipelines.models.torch_threads import computing_with

_STEPS = tuple((2 * step, 2 * step + 1) for step in range(8))


@pytest.mark.parametrize(
    ("columns", "rows", "task", "own"),
    [
        pytest.param(11, 4096, "binary", {}, id="a few columns"),
        pytest.param(1000, 4096, "regression", {}, id="a thousand columns, as of texts"),
        pytest.param(16, 4096, "binary", {"sequence": SequenceShape("lstm", 32, _STEPS)}, id="events"),
        pytest.param(784, 256, "multiclass", {"image": ImageShape("cnn", 16, 28, 1, 0)}, id="images"),
        pytest.param(784, 256, "multiclass", {"image": ImageShape("resnet", 16, 28, 1, 0)}, id="images with shortcuts"),
    ],
)
def test_scores_do_not_depend_on_the_threads_of_the_process(columns: int, rows: int, task: str, own: dict) -> None:
    """Two threads gave other last bits for wide inputs and for images of 28 pixels, three for nearly all."""
    torch.manual_seed(1)
    network = Network(Shape((0,) * columns, (128, 64), 10 if task == "multiclass" else 1, 0.0, **own))
    matrix = np.random.default_rng(1).uniform(size=(rows, columns)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        with computing_with(threads):
            found.append(network.scores(matrix, task))
            assert torch.get_num_threads() == threads
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_the_threads_of_the_process_come_back_after_trouble() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="trouble"), computing_with(before + 1):
        raise ValueError("trouble")
    assert torch.get_num_threads() == before
