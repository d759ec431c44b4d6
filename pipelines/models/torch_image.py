"""Encoders of one image in PyTorch: convolutions, plain or with shortcuts (He et al. 2016).

There is no normalisation over a batch: a row's score must not depend on the rows around it. A row without an image
leaves nothing but the mark that it has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from pipelines.errors import ModelError
from pipelines.models.preprocess import Preprocess

_SMALLEST_MAP = 8  # pixels per side below which maps are not halved any more
_FEWEST_LAYERS = 4  # two convolutions, each followed by a halving
_WIDEST = 4  # times the channels of the first layer
_GROUPS = 4


@dataclass(frozen=True)
class ImageShape:
    """`first`: the input column of the first pixel; `width`: channels of the first convolution."""

    network: str
    width: int
    size: int
    channels: int
    first: int

    @classmethod
    def of(cls, network: str, width: int, preprocess: Preprocess) -> ImageShape:
        """Raises ModelError E-MODEL-IMAGE unless exactly one image reaches the network as it is."""
        found, first = [], 0
        for column in preprocess.columns:
            if column.pixels is not None:
                found.append((column.pixels, first))
            first += len(column.outputs(preprocess.one_hot))
        if len(found) != 1 or preprocess.kept is not None or preprocess.projection is not None:
            what = f"one image must reach the network as it is, got {len(found)}"
            fix = "Name one image among the features, and leave 'select' and 'project' out."
            raise ModelError("E-MODEL-IMAGE", "training.model", what, fix)
        pixels, place = found[0]
        return cls(network, width, pixels.size, pixels.channels, place)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ImageShape:
        numbers = {name: int(saved[name]) for name in ("width", "size", "channels", "first")}
        return cls(network=saved["network"], **numbers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def pixels(self) -> slice:
        return slice(self.first, self.first + self.size * self.size * self.channels)

    @property
    def inputs(self) -> frozenset[int]:
        """All columns that it reads."""
        return frozenset(range(self.pixels.start, self.pixels.stop))


class Picture(nn.Module):
    """`forward(x)`: `(n, n_columns)` to `(n, outputs)`; the last output is 1 where there is an image."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = []
        size, before, width = shape.size, shape.channels, shape.width
        while len(layers) < _FEWEST_LAYERS or size > _SMALLEST_MAP:
            layers += [_Shortcut(before, width) if shape.network == "resnet" else _plain(before, width)]
            layers += [nn.MaxPool2d(2)]
            size, before, width = size // 2, width, min(2 * width, _WIDEST * shape.width)
        self.body = nn.Sequential(*layers)
        self.outputs = before * size * size + 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = x[:, self.shape.pixels]
        known = (~torch.isnan(found[:, :1])).to(found.dtype)
        return torch.cat([self.maps(found).flatten(1) * known, known], dim=1)

    def maps(self, found: torch.Tensor) -> torch.Tensor:
        """`(n, c, h, w)` of the last layer; `found` `(n, pixels)` from 0 to 1, NaN for none."""
        size = self.shape.size
        values = (torch.nan_to_num(found, nan=0.5).clamp(0, 1) - 0.5) * 4
        image = values.reshape(len(found), size, size, self.shape.channels).permute(0, 3, 1, 2).contiguous()
        # On a GPU convolutions would else be computed with 10 bits of the fraction.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            made: torch.Tensor = self.body(image)
        return made

    def first_weights(self) -> torch.Tensor:
        """Of the first convolution."""
        return next(self.body.parameters())


class _Shortcut(nn.Module):
    """Two convolutions beside a shortcut, each normalised over the pixels of its own image."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        groups = _GROUPS if after % _GROUPS == 0 else 1
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, after) for _ in range(2))
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.norms[0](self.first(image)))
        return torch.relu(self.norms[1](self.second(inner)) + self.shortcut(image))


def _plain(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
