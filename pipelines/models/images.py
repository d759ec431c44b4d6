"""Images among the features: how they are learnt from, and what is wrong with models that are to read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipelines.errors import names
from pipelines.models.fusion_problems import seen_by_members
from pipelines.settings.families import Ensemble, TorchImage
from pipelines.settings.missing import Drop, Missing, Native
from pipelines.settings.training import Training

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.models.prepared_column import Column
    from pipelines.models.recipe import Recipe


def images_of(types: Mapping[str, str]) -> frozenset[str]:
    return frozenset(name for name, kind in types.items() if kind == "image")


def masked_images(recipe: Recipe) -> frozenset[str]:
    """Those whose absence the network itself knows what to do with."""
    return images_of(recipe.types) if isinstance(recipe.training.model, TorchImage) else frozenset()


def fit_pixels(name: str, column: pa.ChunkedArray, setting: Missing, may_be_missing: bool) -> Column:
    """The feature as its pixels. Strategies for numbers are nothing for an image: without one it stays missing.

    Raises:
        ModelError: E-TRAIN-IMAGE without any image, or of different forms; E-TRAIN-MISSING when some rows have none and
            nobody handles that.
    """
    from pipelines.errors import ModelError
    from pipelines.models.pixels import Pixels
    from pipelines.models.prepared_column import Column

    strategy = "drop" if isinstance(setting, Drop) else "native"
    if column.null_count and strategy == "native" and not may_be_missing:
        what = f"{column.null_count:,} of {len(column):,} training rows have no image, which this family cannot handle"
        fix = "Use 'torch_image', or set training.missing for it to 'drop'."
        raise ModelError("E-TRAIN-MISSING", f"feature '{name}'", what, fix)
    indicator = isinstance(setting, Native) and setting.indicator
    return Column(name, "image", strategy, indicator=indicator, pixels=Pixels.of(name, column))


def image_problems(training: Training, types: Mapping[str, str]) -> Iterator[str]:
    """One sentence each; empty when a training could start."""
    model, images = training.model, images_of(types)
    members = (
        {f"training.model.members.{name}": one for name, one in model.members.items()}
        if isinstance(model, Ensemble)
        else {"training.model": model}
    )
    for name in sorted(images):
        own = training.missing.get(name)
        if own and not isinstance(own, Drop | Native):
            yield (
                f"E-MODEL-IMAGE training.missing.{name}: '{own.strategy}' is nothing for an image. "
                "Use 'drop', or leave it out."
            )
    seen = seen_by_members(training, types)
    for where, member in members.items():
        if isinstance(member, TorchImage):
            its = seen.get(where.rpartition(".")[2], types)
            yield from _network_problems(where, training, images_of(its))


def _network_problems(where: str, training: Training, images: frozenset[str]) -> Iterator[str]:
    if training.task == "anomaly":
        yield f"E-MODEL-IMAGE {where}: family 'torch_image' cannot do task 'anomaly'. Use 'torch', an autoencoder."
    if len(images) != 1:
        got = f"got {names(sorted(images))}" if images else "but no feature is an image"
        yield f"E-MODEL-IMAGE {where}: family 'torch_image' reads one image, {got}."
    for key in ("select", "project"):
        if getattr(training, key):
            yield f"E-MODEL-IMAGE training.{key}: must be left out: 'torch_image' needs every pixel of the image."
