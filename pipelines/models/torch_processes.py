"""Training in several processes of one machine through torchrun; a dead rank ends them all."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from pipelines import errors
from pipelines.errors import NightshiftError, ResourceError
from pipelines.home import REPOSITORY
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import GpuMemoryError
from pipelines.models.torch_network import Network
from pipelines.models.torch_plan import Arrays, Plan, Trained
from pipelines.storage.durable import canonical_json, write_bytes

PARENT = "parent.safetensors"
_SECONDS_TO_END = 10.0


def train_in_processes(
    plan: Plan,
    rows: Arrays,
    validation: Arrays | None,
    checkpoints: Checkpoints | None,
    processes: int,
    parent: bytes | None = None,
) -> Trained:
    """As `train_network`, by `processes` ranks.

    Raises:
        ResourceError: E-TRAIN-RANK when a rank died; the next attempt goes on from the last checkpoint.
        NightshiftError: what a rank itself refused.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-torch-") as name:
        folder = Path(name)
        _write_arrays(folder, "rows", rows)
        if validation is not None:
            _write_arrays(folder, "validation", validation)
        if parent is not None:
            write_bytes(folder / PARENT, parent)
        job = {
            "plan": plan.to_dict(),
            "checkpoints": checkpoints.files.root if checkpoints else None,
            "keep": checkpoints.keep if checkpoints else None,
            "is_validated": validation is not None,
            "has_parent": parent is not None,
        }
        write_bytes(folder / "job.json", canonical_json(job))
        code = _run(folder, processes, plan)
        if code != 0:
            raise _trouble(folder, code, processes)
        result = json.loads((folder / "result.json").read_text())
        network = Network.from_bytes(plan.shape, (folder / "network.safetensors").read_bytes())
        return Trained(network, result["epochs"], result["device"])


def _run(folder: Path, processes: int, plan: Plan) -> int:
    """torchrun's exit code. However this ends, no process of it is left."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": str(max(1, plan.threads // processes)),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-m", "pipelines.models.torch_worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        try:
            return process.wait()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid)
        family = [*started.children(recursive=True), started]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=_SECONDS_TO_END)
    process.wait()


def _trouble(folder: Path, code: int, processes: int) -> Exception:
    for path in sorted(folder.glob("trouble-*.json")):
        told = json.loads(path.read_text())
        kind = told.pop("kind")
        if kind == "memory":
            return GpuMemoryError(**told)
        found: type[NightshiftError] = getattr(errors, kind)
        return found(**told)
    lines = (folder / "log").read_text(errors="replace").splitlines()
    told = next(
        (line.strip() for line in reversed(lines) if "traceback" in line or "Error" in line), f"exit code {code}"
    )
    return ResourceError(
        "E-TRAIN-RANK",
        "torchrun",
        f"one of {processes} processes died, and the others were ended ({told[:300]})",
        "The next attempt goes on from the last checkpoint. Killed without a word, it may have lacked memory.",
    )


def _write_arrays(folder: Path, name: str, arrays: Arrays) -> None:
    for part, values in vars(arrays).items():
        if values is not None:
            np.save(folder / f"{name}-{part}.npy", values, allow_pickle=False)


def _end_with_parent() -> None:
    """Asks Linux to stop torchrun, and through it the ranks, when this process dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
