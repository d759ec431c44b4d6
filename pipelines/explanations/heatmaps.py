"""Where in an image a network looks: Grad-CAM (Selvaraju et al. 2017) of a few rows, as small pictures."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.explanations.sample import Sample, generator
from pipelines.models.model import Model

if TYPE_CHECKING:
    from pipelines.models.pixels import Pixels
    from pipelines.models.torch_network import Network

MOST_ROWS = 6
_SIDE = 96  # pixels of a picture; image and heat lie side by side
_COLOURS = 64
_HEAT = np.array([220, 30, 30])
_STRONGEST = 0.65  # share of the heat's colour where it is largest


def heatmaps(model: Model, sample: Sample, seed: int) -> dict[str, Any] | None:
    """`feature` and `rows`: label, `says` (the model's answer), `score` and `png` (base64: the image, and with heat).

    Of an ensemble its first network over images, with the whole ensemble's answers. None where no network reads one, or
    no row of the sample has an image. The same model, rows and seed give the same pictures.
    """
    network = reading_images(model)
    if network is None:
        return None
    column = next(one for one in network.preprocess.columns if one.pixels)
    present = np.flatnonzero(pc.is_valid(sample.table[column.name]).to_numpy())
    if not len(present):
        return None
    chosen = np.sort(generator(seed, "heatmaps").permutation(present)[:MOST_ROWS])
    rows = sample.table.take(pa.array(chosen))
    form: Pixels = column.pixels  # type: ignore[assignment]  # chosen by it above
    images = form.values(column.name, rows[column.name])
    heats = grad_cam(network.estimator, network.preprocess.transform(rows, np.float32), model.task)
    scores = model.predict(rows)
    return {
        "feature": column.name,
        "rows": [
            {
                "label": _name(model, label),
                **_answer(model, score),
                "png": base64.b64encode(picture(image.reshape(form.size, -1), heat)).decode(),
            }
            for label, score, image, heat in zip(sample.labels[chosen], scores, images, heats, strict=True)
        ],
    }


def reading_images(model: Model) -> Model | None:
    """The network over images that the model is, or has among its members."""
    if model.family == "torch_image":
        return model
    members = model.estimator.members.values() if model.family == "ensemble" else ()
    return next((one for one in members if one.family == "torch_image"), None)


def grad_cam(network: Network, matrix: np.ndarray, task: str) -> np.ndarray:
    """`(n, h, w)` from 0 to 1: what in the last maps speaks for the network's answer; of a value, for a larger one.

    `matrix` is `(n, n_columns)`, prepared.
    """
    import torch

    if network.image is None:
        raise TypeError("the network reads no image")
    kept: list[torch.Tensor] = []
    # The layer before the last halving, whose maps are twice as fine.
    hook = network.image.body[-2].register_forward_hook(lambda _layer, _given, made: kept.append(made))
    try:
        with torch.enable_grad():
            raw = network.eval()(torch.from_numpy(matrix).to(network.device))
            if task == "multiclass":
                spoken = raw.max(dim=1).values
            else:
                spoken = raw[:, 0] * (torch.sign(raw[:, 0].detach()) if task == "binary" else 1.0)
            (gradient,) = torch.autograd.grad(spoken.sum(), kept[0])
    finally:
        hook.remove()
    heat = torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * kept[0].detach()).sum(dim=1))
    largest = heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return np.asarray((heat / largest).cpu().numpy(), dtype=np.float64)


def picture(image: np.ndarray, heat: np.ndarray) -> bytes:
    """A PNG of the image, and beside it the same under its heat. `image` `(size, size * channels)` from 0 to 1."""
    from PIL import Image

    size = len(image)
    pixels = (image.reshape(size, size, -1) * 255).round().astype(np.uint8)
    plain = Image.fromarray(np.broadcast_to(pixels, (size, size, 3)).copy(), "RGB")
    plain = plain.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    warm = Image.fromarray((heat * 255).round().astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    share = np.asarray(warm, dtype=np.float64)[:, :, None] / 255 * _STRONGEST
    mixed = np.asarray(plain) * (1 - share) + _HEAT * share
    both = np.concatenate([np.asarray(plain), mixed.round().astype(np.uint8)], axis=1)
    sink = io.BytesIO()
    Image.fromarray(both).quantize(_COLOURS, dither=Image.Dither.NONE).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def picture_files(explanation: dict[str, Any]) -> dict[str, bytes]:
    """File name to PNG of the pictures in an explanation; empty without any."""
    rows = (explanation.get("heatmaps") or {}).get("rows", [])
    return {f"grad_cam_{number}.png": base64.b64decode(row["png"]) for number, row in enumerate(rows, start=1)}


def _answer(model: Model, score: Any) -> dict[str, Any]:
    """What the model says of the row, and how sure it is."""
    if model.task == "multiclass":
        return {"says": model.classes[int(np.argmax(score))], "score": float(np.max(score))}
    if model.task == "binary":
        return {"says": _name(model, float(score > 0.5)), "score": float(score)}
    return {"says": None, "score": float(score)}


def _name(model: Model, label: float) -> str:
    """The label as people know it."""
    is_class = model.task in ("binary", "multiclass") and len(model.classes) > int(label)
    return str(model.classes[int(label)]) if is_class else f"{label:g}"
