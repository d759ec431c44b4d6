"""The training loop of a network on prepared arrays: one process, or one rank of several that end alike.

A step's gradient is that of the whole batch, however many processes or parts share it. Every epoch starts from its
own seed, so that a training that goes on from a checkpoint equals one that was never interrupted.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.errors import ModelError
from pipelines.failpoints import reach
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.device import gpu_trouble
from pipelines.models.torch_network import Network, Shape
from pipelines.settings.tasks import VALUE_TASKS

_PARTS_WHEN_SMALL = 8
_WHERE = "'torch'"


@dataclass(frozen=True)
class Plan:
    """Everything but the arrays that determines the weights. `is_small`: less GPU memory, the same arithmetic.

    `first_epoch`: how many a parent had before; their random numbers are not drawn again.
    """

    shape: Shape
    task: str
    seed: int
    epochs: int
    patience: int | None
    batch_rows: int
    learning_rate: float
    weight_decay: float
    precision: str
    deterministic: bool
    device: str
    threads: int
    checkpoint_epochs: int
    is_small: bool = False
    quantile: float | None = None
    first_epoch: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "shape": self.shape.to_dict()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Plan:
        return cls(**{**saved, "shape": Shape.from_dict(saved["shape"])})


@dataclass(frozen=True)
class Arrays:
    """`x` `(n, n_columns)` float32; `y` `(n,)` float64: 0/1, class numbers or values; `weight` None or `(n,)`."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None


@dataclass(frozen=True)
class Trained:
    """`epochs`: those that the network learnt from; `device`: the one its parameters lay on."""

    network: Network
    epochs: int
    device: str


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
            raise gpu_trouble(str(error), _WHERE) or error from error


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
    learner = _Learner(plan, network, optimizer, _Batches(plan, rows, network, rank, ranks))
    saved = progress.epoch
    while not progress.stops(plan):
        learner.epoch(plan.first_epoch + progress.epoch)
        progress.epoch += 1
        if validation is not None:
            loss = _shared(_loss(plan, network, validation) if rank == 0 else 0.0, network)
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
    torch.manual_seed(_mixed(plan.seed, 0))
    return Network(plan.shape, *_target_scale(plan, rows))


class _Batches:
    """The rank's share of every batch of an epoch, with what it weighs among the whole batch."""

    def __init__(self, plan: Plan, rows: Arrays, network: Network, rank: int, ranks: int) -> None:
        self.plan, self.rank, self.ranks, self.device = plan, rank, ranks, network.device
        # All rows lie on the GPU, unless memory is short: then a batch's share is copied when it is needed.
        place = torch.device("cpu") if plan.is_small else self.device
        self.x = torch.from_numpy(rows.x).to(place)
        self.y = _target(plan, rows.y, network).to(place)
        weight = np.ones(len(rows.y)) if rows.weight is None else rows.weight
        self.weight = torch.from_numpy(weight.astype(np.float32)).to(place)

    def of_epoch(self, epoch: int) -> Iterator[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
        """Parts `(x, y, weight)` whose weights over all parts and ranks sum to the number of ranks."""
        generator = torch.Generator().manual_seed(_mixed(self.plan.seed, epoch))
        order = torch.randperm(len(self.x), generator=generator).to(self.x.device)
        parts = _PARTS_WHEN_SMALL if self.plan.is_small else 1
        for batch in order.split(self.plan.batch_rows):
            total = self.weight[batch].sum().clamp(min=1e-12)
            own = batch[self.rank :: self.ranks]
            yield [self._part(chosen, total) for chosen in own.chunk(parts)]

    def _part(self, chosen: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weight = self.weight[chosen] / total * self.ranks
        return self.x[chosen].to(self.device), self.y[chosen].to(self.device), weight.to(self.device)


class _Learner:
    """One epoch after another."""

    def __init__(self, plan: Plan, network: Network, optimizer: torch.optim.Optimizer, batches: _Batches) -> None:
        self.plan, self.network, self.optimizer, self.batches = plan, network, optimizer, batches
        self.model: nn.Module = network
        if batches.ranks > 1:
            on_gpu = [network.device] if network.device.type == "cuda" else None
            self.model = DistributedDataParallel(network, device_ids=on_gpu)

    def epoch(self, number: int) -> None:
        torch.manual_seed(_mixed(self.plan.seed, number, self.batches.rank + 1))
        self.model.train()
        worst = torch.zeros((), device=self.network.device)
        for parts in self.batches.of_epoch(number):
            self.optimizer.zero_grad(set_to_none=True)
            for index, (x, y, weight) in enumerate(parts):
                with self._synchronised(is_last=index == len(parts) - 1):
                    loss = (self._losses(x, y) * weight).sum()
                    loss.backward()
                worst = worst + loss.detach()
            self.optimizer.step()
        if not torch.isfinite(worst):
            raise ModelError(
                "E-TRAIN-FIT", _WHERE, f"the loss is no number any more in epoch {number + 1}", "Lower learning_rate."
            )

    def _losses(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        bf16 = self.plan.precision == "bf16"
        with torch.autocast(self.network.device.type, dtype=torch.bfloat16, enabled=bf16):
            raw = self.model(x)
        return _each(self.plan, raw.float(), y if self.plan.task != "anomaly" else self.network.inputs(x))

    def _synchronised(self, is_last: bool) -> Any:
        """The ranks exchange gradients once per step, with its last part."""
        if is_last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()


def _each(plan: Plan, raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`(n,)` loss of each row: log loss, or the squared error or pinball loss of the standardised target."""
    task = plan.task
    if plan.quantile is not None:
        above = y - raw[:, 0]
        return torch.maximum(plan.quantile * above, (plan.quantile - 1) * above)
    if task == "anomaly":
        return ((raw - y) ** 2).mean(dim=1)
    if task == "multiclass":
        return nn.functional.cross_entropy(raw, y, reduction="none")
    if task == "binary":
        return nn.functional.binary_cross_entropy_with_logits(raw[:, 0], y, reduction="none")
    return (raw[:, 0] - y) ** 2


def _loss(plan: Plan, network: Network, rows: Arrays) -> float:
    """Weighted mean loss of the rows, in float64 from the scores that the model would give."""
    scores = network.scores(rows.x, plan.task)
    if plan.task == "anomaly":
        each = scores
    elif plan.quantile is not None:
        each = np.maximum(plan.quantile * (rows.y - scores), (plan.quantile - 1) * (rows.y - scores))
    elif plan.task == "regression":
        each = (scores - rows.y) ** 2
    else:
        own = (
            scores[np.arange(len(scores)), rows.y.astype(int)]
            if plan.task == "multiclass"
            else (np.where(rows.y > 0.5, scores, 1 - scores))
        )
        each = -np.log(np.clip(own, 1e-15, None))
    weight = np.ones(len(each)) if rows.weight is None else rows.weight
    return float((each * weight).sum() / max(weight.sum(), 1e-12))


def _judge(progress: _Progress, network: Network, loss: float) -> None:
    if loss < progress.best:
        progress.best, progress.best_epoch, progress.bad = loss, progress.epoch, 0
        progress.best_state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    else:
        progress.bad += 1


def _target(plan: Plan, y: np.ndarray, network: Network) -> torch.Tensor:
    if plan.task == "multiclass":
        return torch.from_numpy(y.astype(np.int64))
    if plan.task in VALUE_TASKS:
        y = (y - float(network.center)) / float(network.scale)
    return torch.from_numpy(y.astype(np.float32))


def _target_scale(plan: Plan, rows: Arrays) -> tuple[float, float]:
    """Mean and deviation of a target that is a value; a constant keeps scale 1."""
    if plan.task not in VALUE_TASKS:
        return 0.0, 1.0
    deviation = float(np.std(rows.y))
    return float(np.mean(rows.y)), deviation if deviation > 0 else 1.0


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


def _mixed(*numbers: int) -> int:
    """A seed from several numbers, well apart for neighbours."""
    return int(np.random.SeedSequence([number % 2**32 for number in numbers]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _as_planned(plan: Plan) -> Iterator[None]:
    """Threads, kernels and random state as the plan says, and afterwards as they were."""
    threads, kernels = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    # cuBLAS reads this when it starts; without it deterministic mode refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[]):
        # On a CPU the order of a sum, and with it the last bits, changes with the number of threads.
        torch.set_num_threads(1 if plan.deterministic and plan.device == "cpu" else plan.threads)
        torch.use_deterministic_algorithms(plan.deterministic)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(kernels)
