"""One rank of a training in several processes, started by torchrun: `-m pipelines.models.torch_worker FOLDER`.

FOLDER holds the plan and the arrays; rank 0 leaves the network there. Trouble is left there, too, as JSON.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as distributed

from pipelines.errors import ModelError, NightshiftError
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import GpuMemoryError
from pipelines.models.torch_network import Network
from pipelines.models.torch_plan import Arrays, Plan
from pipelines.models.torch_processes import PARENT
from pipelines.models.torch_training import train_network
from pipelines.storage.durable import canonical_json, write_bytes
from pipelines.storage.files import open_files

_PATIENCE = timedelta(minutes=30)  # of a rank for the others, who may wait for rank 0 to write a checkpoint


def main(folder: Path) -> None:
    _end_with_parent()
    try:
        _train(folder)
    except (NightshiftError, GpuMemoryError) as error:
        write_bytes(folder / f"trouble-{os.environ['RANK']}.json", canonical_json(_told(error)))
        raise


def _train(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    plan = Plan.from_dict(job["plan"])
    if plan.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if plan.device == "cuda" else "gloo", timeout=_PATIENCE)
    checkpoints = Checkpoints(open_files(job["checkpoints"]), job["keep"]) if job["checkpoints"] else None
    validation = _arrays(folder, "validation") if job["is_validated"] else None
    parent = (folder / PARENT).read_bytes() if job["has_parent"] else None
    trained = train_network(plan, _arrays(folder, "rows"), validation, checkpoints, parent=parent)
    _require_equal(trained.network)
    if distributed.get_rank() == 0:
        write_bytes(folder / "network.safetensors", trained.network.to_bytes())
        write_bytes(folder / "result.json", canonical_json({"epochs": trained.epochs, "device": trained.device}))
    distributed.destroy_process_group()


def _arrays(folder: Path, name: str) -> Arrays:
    parts = {part: folder / f"{name}-{part}.npy" for part in ("x", "y", "weight")}
    return Arrays(**{part: np.load(path, allow_pickle=False) for part, path in parts.items() if path.exists()})


def _require_equal(network: Network) -> None:
    """Every rank must hold the same weights, or the one that is kept is a matter of chance."""
    found: list[str | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, hashlib.sha256(network.to_bytes()).hexdigest())
    if len(set(found)) != 1:
        raise ModelError("E-TRAIN-RANK", "torchrun", f"all {len(found)} ranks must end with the same weights")


def _told(error: NightshiftError | GpuMemoryError) -> dict[str, str]:
    if isinstance(error, GpuMemoryError):
        return {"kind": "memory", "need": error.need, "free": error.free}
    return {
        "kind": type(error).__name__,
        "code": error.code,
        "where": error.where,
        "what": error.what,
        "fix": error.fix,
    }


def _end_with_parent() -> None:
    """Asks Linux to kill this rank when torchrun dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main(Path(sys.argv[1]))
