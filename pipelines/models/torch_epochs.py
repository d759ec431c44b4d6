"""One epoch of a network after another: the batches, the steps, and the ranks that share them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.errors import ModelError
from pipelines.models.torch_losses import losses_of_rows, target_of
from pipelines.models.torch_network import Network
from pipelines.models.torch_plan import Arrays, Plan

WHERE = "'torch'"
_PARTS_WHEN_SMALL = 8


class Batches:
    """The rank's share of every batch of an epoch, with what it weighs among the whole batch."""

    def __init__(self, plan: Plan, rows: Arrays, network: Network, rank: int, ranks: int) -> None:
        self.plan, self.rank, self.ranks, self.device = plan, rank, ranks, network.device
        # All rows lie on the GPU, unless memory is short: then a batch's share is copied when it is needed.
        place = torch.device("cpu") if plan.is_small else self.device
        self.x = torch.from_numpy(rows.x).to(place)
        self.y = target_of(plan, rows.y, network).to(place)
        weight = np.ones(len(rows.y)) if rows.weight is None else rows.weight
        self.weight = torch.from_numpy(weight.astype(np.float32)).to(place)

    def of_epoch(self, epoch: int) -> Iterator[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
        """Parts `(x, y, weight)` whose weights over all parts and ranks sum to the number of ranks."""
        generator = torch.Generator().manual_seed(mixed(self.plan.seed, epoch))
        order = torch.randperm(len(self.x), generator=generator).to(self.x.device)
        parts = _PARTS_WHEN_SMALL if self.plan.is_small else 1
        for batch in order.split(self.plan.batch_rows):
            total = self.weight[batch].sum().clamp(min=1e-12)
            own = batch[self.rank :: self.ranks]
            yield [self._part(chosen, total) for chosen in own.chunk(parts)]

    def _part(self, chosen: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weight = self.weight[chosen] / total * self.ranks
        return self.x[chosen].to(self.device), self.y[chosen].to(self.device), weight.to(self.device)


class Learner:
    """One epoch after another."""

    def __init__(self, plan: Plan, network: Network, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
        self.plan, self.network, self.optimizer, self.batches = plan, network, optimizer, batches
        self.model: nn.Module = network
        if batches.ranks > 1:
            on_gpu = [network.device] if network.device.type == "cuda" else None
            self.model = DistributedDataParallel(network, device_ids=on_gpu)

    def epoch(self, number: int) -> None:
        torch.manual_seed(mixed(self.plan.seed, number, self.batches.rank + 1))
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
                "E-TRAIN-FIT", WHERE, f"the loss is no number any more in epoch {number + 1}", "Lower learning_rate."
            )

    def _losses(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        bf16 = self.plan.precision == "bf16"
        with torch.autocast(self.network.device.type, dtype=torch.bfloat16, enabled=bf16):
            raw = self.model(x)
        return losses_of_rows(self.plan, raw.float(), y if self.plan.task != "anomaly" else self.network.inputs(x))

    def _synchronised(self, is_last: bool) -> Any:
        """The ranks exchange gradients once per step, with its last part."""
        if is_last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()


def mixed(*numbers: int) -> int:
    """A seed from several numbers, well apart for neighbours."""
    return int(np.random.SeedSequence([number % 2**32 for number in numbers]).generate_state(1, np.uint64)[0] >> 1)
