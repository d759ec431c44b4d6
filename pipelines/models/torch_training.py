"""The training loop of a network on prepared arrays: one process, or one rank of several that end alike.

A step's gradient is that of the whole batch, however many processes or parts share it. Every epoch starts from its
own seed, so that a training that goes on from a checkpoint equals one that was never interrupted.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed

from pipelines.errors import ModelError
from pipelines.failpoints import reach
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import gpu_trouble
from pipelines.models.torch_epochs import WHERE, Batches, Learner, mixed
from pipelines.models.torch_losses import mean_loss, target_scale
from pipelines.models.torch_network import Network
from pipelines.models.torch_plan import Arrays, Plan, Trained
from pipelines.models.torch_threads import computing_with


@dataclass
class _Progress:
    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    best_state: dict[str, torch.Tensor] | None = None
    bad: int = 0

    def stops(self, plan: Plan) -> bool:
        return self.epoch >= plan.epochs or (plan.patience is not None and self.bad >= plan.patience)


def train_network(
    plan: Plan,
    rows: Arrays,
    validation: Arrays | None,
    checkpoints: Checkpoints | None,
    look: Callable[[int, float], None] | None = None,
    parent: bytes | None = None,
) -> Trained:
    """The network after `epochs`, or with `validation` after the best epoch, the search ended by `patience`.

    `parent`: the weights to begin with, else they are drawn; AdamW's moments begin anew either way. `look` is told each
    epoch's loss on `validation`. In a process group every rank gets the same network; only rank 0
    writes checkpoints.

    Raises:
        ModelError: E-TRAIN-FIT when the loss is no number any more.
        GpuMemoryError: when the GPU has no room.
        ResourceError: E-GPU-LOST when the GPU fails.
    """
    rank, ranks = _place()
    with _as_planned(plan):
        try:
            return _train(plan, rows, validation, checkpoints, look, parent, rank, ranks)
        except RuntimeError as error:
            if isinstance(error, ModelError):
                raise
            raise gpu_trouble(str(error), WHERE) or error from error


def _train(
    plan: Plan,
    rows: Arrays,
    validation: Arrays | None,
    checkpoints: Checkpoints | None,
    look: Callable[[int, float], None] | None,
    parent: bytes | None,
    rank: int,
    ranks: int,
) -> Trained:
    network = _first(plan, rows, parent).to(_device(plan, rank))
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    progress = _restore(network, optimizer, checkpoints)
    learner = Learner(plan, network, optimizer, Batches(plan, rows, network, rank, ranks))
    saved = progress.epoch
    while not progress.stops(plan):
        learner.epoch(plan.first_epoch + progress.epoch)
        progress.epoch += 1
        if validation is not None:
            loss = _shared(mean_loss(plan, network, validation) if rank == 0 else 0.0, network)
            _judge(progress, network, loss)
            if look:
                look(progress.epoch, loss)
        is_due = progress.epoch % plan.checkpoint_epochs == 0 or progress.stops(plan)
        if checkpoints is not None and rank == 0 and is_due:
            is_best = validation is not None and progress.best_epoch > saved
            checkpoints.save(progress.epoch, _packed(progress, network, optimizer), is_best)
            saved = progress.epoch
            reach("train.after_checkpoint")
        if progress.epoch == 2:
            reach("train.round_n")
    if validation is not None and progress.best_state is not None:
        network.load_state_dict(progress.best_state)
    epochs = progress.best_epoch if validation is not None else progress.epoch
    used = str(network.device)
    return Trained(network.cpu().eval(), max(1, epochs), used)


def _first(plan: Plan, rows: Arrays, parent: bytes | None) -> Network:
    if parent is not None:
        return Network.from_bytes(plan.shape, parent)
    torch.manual_seed(mixed(plan.seed, 0))
    return Network(plan.shape, *target_scale(plan, rows))


def _judge(progress: _Progress, network: Network, loss: float) -> None:
    if loss < progress.best:
        progress.best, progress.best_epoch, progress.bad = loss, progress.epoch, 0
        progress.best_state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    else:
        progress.bad += 1


def _packed(progress: _Progress, network: Network, optimizer: torch.optim.Optimizer) -> bytes:
    sink = io.BytesIO()
    torch.save({"progress": vars(progress), "network": network.state_dict(), "optimizer": optimizer.state_dict()}, sink)
    return sink.getvalue()


def _restore(network: Network, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints | None) -> _Progress:
    content = checkpoints.latest() if checkpoints is not None else None
    if content is None:
        return _Progress()
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return _Progress(**state["progress"])


def _shared(value: float, network: Network) -> float:
    """Rank 0's value: a decision that ranks took each for itself could differ in the last bit."""
    if not distributed.is_initialized():
        return value
    told = torch.tensor(value, dtype=torch.float64, device=network.device)
    distributed.broadcast(told, src=0)
    return float(told)


def _place() -> tuple[int, int]:
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def _device(plan: Plan, rank: int) -> torch.device:
    return torch.device("cpu") if plan.device == "cpu" else torch.device("cuda", rank)


@contextmanager
def _as_planned(plan: Plan) -> Iterator[None]:
    """Threads, kernels and random state as the plan says, and afterwards as they were."""
    kernels = torch.are_deterministic_algorithms_enabled()
    # cuBLAS reads this when it starts; without it deterministic mode refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = 1 if plan.deterministic and plan.device == "cpu" else plan.threads
    with torch.random.fork_rng(devices=[]), computing_with(threads):
        torch.use_deterministic_algorithms(plan.deterministic)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(kernels)
