"""The multilayer perceptron, with or without a sequence before it: shape, scores, and weights as safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from pipelines.errors import ModelError
from pipelines.models.device import gpu_trouble
from pipelines.models.preprocess import Preprocess
from pipelines.models.torch_image import ImageShape, Picture
from pipelines.models.torch_sequence import Events, SequenceShape, encoder_of
from pipelines.models.torch_threads import computing_with

# Standard deviations beyond which a number says no more: an absurd input must not overflow the network.
_FARTHEST = 20.0
# Every block is scored at this size, filled up with zeros: the kernels' last bits depend on the number of rows.
_BLOCK_ROWS = 4096
_IMAGE_BLOCK_ROWS = 256  # whose maps are many times as large as the rows
_WIDEST_EMBEDDING = 50


@dataclass(frozen=True)
class Shape:
    """`categories`: for each column of the input 0 for a number, else how many known categories its codes number.
    `code`: the hidden layer of an autoencoder that is its code; it is linear, as one neuron must tell two directions.
    `sequence` and `image`: the columns that are an entity's last events, or pixels, and what reads them.
    """

    categories: tuple[int, ...]
    hidden: tuple[int, ...]
    outputs: int
    dropout: float
    code: int | None = None
    sequence: SequenceShape | None = None
    image: ImageShape | None = None

    @classmethod
    def of(
        cls,
        preprocess: Preprocess,
        hidden: Sequence[int],
        outputs: int,
        dropout: float,
        code: int | None = None,
        sequence: SequenceShape | None = None,
        image: ImageShape | None = None,
    ) -> Shape:
        known = {column.name: len(column.categories) for column in preprocess.columns if column.type == "category"}
        kinds = zip(preprocess.output_names, preprocess.output_types, strict=True)
        categories = tuple(max(1, known[name]) if kind == "c" else 0 for name, kind in kinds)
        return cls(categories, tuple(hidden), outputs, dropout, code, sequence, image)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Shape:
        return cls(
            tuple(saved["categories"]),
            tuple(saved["hidden"]),
            int(saved["outputs"]),
            float(saved["dropout"]),
            saved.get("code"),
            SequenceShape.from_dict(saved["sequence"]) if saved.get("sequence") else None,
            ImageShape.from_dict(saved["image"]) if saved.get("image") else None,
        )

    def to_dict(self) -> dict[str, Any]:
        found = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        for name in ("sequence", "image"):
            own = found.pop(name)
            found |= {name: getattr(self, name).to_dict()} if own else {}
        return found

    @property
    def masked(self) -> frozenset[int]:
        """Columns that may be missing: there was no such event, or no image."""
        return frozenset().union(*(own.inputs for own in (self.sequence, self.image) if own))

    @property
    def block_rows(self) -> int:
        return _IMAGE_BLOCK_ROWS if self.image else _BLOCK_ROWS


class Network(nn.Module):
    """`forward(x)`: `(n, n_columns)` float32 to `(n, outputs)` logits or, for regression and autoencoders, values.

    A category that is missing or was never seen has the zero vector for an embedding.
    """

    numbers: list[int]
    codes: list[int]
    sequence: Events | None
    image: Picture | None
    center: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shape: Shape, center: float = 0.0, scale: float = 1.0) -> None:
        """`center` and `scale` of a regression's target."""
        super().__init__()
        self.shape = shape
        masked = shape.masked
        self.numbers = [column for column, known in enumerate(shape.categories) if not known and column not in masked]
        self.codes = [column for column, known in enumerate(shape.categories) if known]
        self.embeddings = nn.ModuleList(
            nn.Embedding(known + 1, _width(known), padding_idx=0) for known in shape.categories if known
        )
        self.sequence = encoder_of(shape.sequence) if shape.sequence else None
        width = len(self.numbers) + sum(_width(known) for known in shape.categories if known)
        width += self.sequence.outputs if self.sequence else 0
        self.image = Picture(shape.image) if shape.image else None
        width += self.image.outputs if self.image else 0
        layers: list[nn.Module] = []
        for number, neurons in enumerate(shape.hidden):
            layers += [nn.Linear(width, neurons)]
            layers += [] if number == shape.code else [nn.ReLU(), nn.Dropout(shape.dropout)]
            width = neurons
        self.layers = nn.Sequential(*layers, nn.Linear(width, shape.outputs))
        self.register_buffer("center", torch.tensor(float(center)))
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.inputs(x))

    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        codes = torch.nan_to_num(x[:, self.codes], nan=-1.0).long() + 1
        embedded = [table(codes[:, index]) for index, table in enumerate(self.embeddings)]
        events = [self.sequence(x, _FARTHEST)] if self.sequence else []
        picture = [self.image(x)] if self.image else []
        return torch.cat([x[:, self.numbers].clamp(-_FARTHEST, _FARTHEST), *embedded, *events, *picture], dim=1)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def scores(self, matrix: np.ndarray, task: str) -> np.ndarray:
        """P(positive), the value, or the mean squared error of the inputs that an autoencoder gives back, `(n,)`;
        probabilities `(n, k)` for multiclass. Float32 arithmetic.

        A row's score does not depend on the rows around it, nor on the number of threads: a CPU takes one, and shards
        share the cores.

        Raises:
            GpuMemoryError: when the GPU has no room even for one block of rows.
        """
        self.eval()
        try:
            with torch.inference_mode(), computing_with(1) if self.device.type == "cpu" else nullcontext():
                parts = [
                    self._block(matrix[start : start + self.shape.block_rows], task)
                    for start in range(0, len(matrix), self.shape.block_rows)
                ]
        except RuntimeError as error:
            raise gpu_trouble(str(error), "torch") or error from error
        return np.concatenate(parts) if parts else np.empty((0, self.shape.outputs) if task == "multiclass" else 0)

    def _block(self, matrix: np.ndarray, task: str) -> np.ndarray:
        filled = np.zeros((self.shape.block_rows, matrix.shape[1]), dtype=np.float32)
        filled[: len(matrix)] = matrix
        raw: torch.Tensor = self.forward(torch.from_numpy(filled).to(self.device)).double()
        if task == "multiclass":
            found = torch.softmax(raw, dim=1)
        elif task == "binary":
            found = torch.sigmoid(raw[:, 0])
        elif task == "anomaly":
            inputs = self.inputs(torch.from_numpy(filled).to(self.device)).double()
            found = ((raw - inputs) ** 2).mean(dim=1)
        else:
            found = raw[:, 0] * self.scale.double() + self.center.double()
        return found[: len(matrix)].cpu().numpy()

    def importance(self) -> np.ndarray:
        """`(n_columns,)` mean absolute weight of each input into the first layer; of a category, over its values.

        Of events and pixels: of their channel into the encoder, times that of the encoder into the first layer.
        """
        weights = {name: value.detach().double().cpu() for name, value in self.state_dict().items()}
        first = weights["layers.0.weight"]
        result = np.zeros(len(self.shape.categories))
        result[self.numbers] = first[:, : len(self.numbers)].abs().mean(dim=0).numpy()
        start = len(self.numbers)
        for index, column in enumerate(self.codes):
            values = weights[f"embeddings.{index}.weight"][1:]
            result[column] = float((values @ first[:, start : start + values.shape[1]].T).abs().mean())
            start += values.shape[1]
        if self.sequence:
            own = (
                self.sequence.first_weights().detach().double().cpu().abs().mean(dim=0) * first[:, start:].abs().mean()
            )
            for step in self.sequence.shape.columns:
                result[list(step)] = own.numpy()
        if self.image:
            inner = self.image.first_weights().detach().double().cpu().abs().mean()
            result[self.image.shape.pixels] = float(inner * first[:, start:].abs().mean())
        return result

    def to_bytes(self) -> bytes:
        """The weights; equal weights give equal bytes."""
        return bytes(
            save_tensors({name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()})
        )

    @classmethod
    def from_bytes(cls, shape: Shape, content: bytes) -> Network:
        """Raises ModelError E-MODEL-FORMAT when these are not the weights of a network of this shape."""
        network = cls(shape)
        try:
            network.load_state_dict(load_tensors(content), strict=True)
        except (SafetensorError, RuntimeError) as error:
            raise ModelError("E-MODEL-FORMAT", "network.safetensors", str(error)[:300]) from error
        return network.eval()


def _width(known: int) -> int:
    """Numbers in an embedding of so many categories: the rule of thumb of fastai's tabular models."""
    return min(_WIDEST_EMBEDDING, round(1.6 * known**0.56))
