"""Training by several processes through torchrun: the ranks end alike, and a dead rank leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipelines.errors import ModelError, ResourceError
from pipelines.home import REPOSITORY
from pipelines.models.checkpoints import Checkpoints
from pipelines.models.fitting import fit
from pipelines.storage.files import LocalFiles
from tests.model.fit_child import fitted, recipe, rows

pytestmark = pytest.mark.slow


def ranks(below: int) -> list[psutil.Process]:
    """Ranks that the process `below` started, through torchrun."""
    return [one for one in psutil.Process(below).children(recursive=True) if _is_rank(one)]


def _is_rank(one: psutil.Process) -> bool:
    try:
        return "pipelines.models.torch_worker" in one.cmdline() and "torch.distributed.run" not in one.cmdline()
    except psutil.Error:
        return False


def of_torch(pid: int) -> list[psutil.Process]:
    """Below a process, torchrun and its ranks; not the servers that other tests of this session share."""
    return [one for one in psutil.Process(pid).children(recursive=True) if _is_torch(one)]


def _is_torch(one: psutil.Process) -> bool:
    try:
        return any("torch" in word for word in one.cmdline())
    except psutil.Error:
        return False


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert of_torch(os.getpid()) == []


def test_two_processes_end_with_the_model_of_one() -> None:
    """The gradient of a batch is the same however many share it; only dropout draws differ."""
    two = fit(recipe("torchrun"), rows(), None)
    one = fit(recipe("torch"), rows(), None)
    assert two.facts["device"] == "cpu"
    # 0.02 apart on average where the models of two seeds are more than twice as far.
    assert np.abs(two.predict(rows().table) - one.predict(rows().table)).mean() < 0.05


def test_killed_and_resumed_two_processes_end_with_the_same_bytes(tmp_path: Path) -> None:
    """Rank 0 kills itself after a checkpoint: the attempt fails as a whole, the next one goes on."""
    checkpoints = Checkpoints(LocalFiles(tmp_path / "checkpoints"))
    os.environ |= {
        "NIGHTSHIFT_FAILPOINT": "train.after_checkpoint=kill",
        "NIGHTSHIFT_FAILPOINT_ONCE": str(tmp_path / "once"),
    }
    try:
        with pytest.raises(ResourceError, match=r"E-TRAIN-RANK torchrun: one of 2 processes died.*last checkpoint"):
            fitted("torchrun", checkpoints)
        assert of_torch(os.getpid()) == []
        resumed = fitted("torchrun", checkpoints)
    finally:
        del os.environ["NIGHTSHIFT_FAILPOINT"], os.environ["NIGHTSHIFT_FAILPOINT_ONCE"]
    assert resumed == fitted("torchrun", None)


def test_a_rank_killed_from_outside_fails_the_fit_and_ends_the_other() -> None:
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if len(found := ranks(os.getpid())) == 2:
                found[1].kill()
                killed.append(found[1].pid)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill_one)
    thread.start()
    with pytest.raises(ResourceError, match="E-TRAIN-RANK"):
        fit(recipe("torchrun"), rows(), None)
    thread.join()
    assert killed


def test_what_a_rank_refuses_is_told_as_it_is() -> None:
    hot = recipe("torchrun").with_parameters({"learning_rate": 1e30, "dropout": 0.0})
    with pytest.raises(ModelError, match="E-TRAIN-FIT 'torch': the loss is no number any more"):
        fit(hot, rows(), None)


def test_when_the_step_is_killed_no_rank_goes_on(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.model.fit_child", "torchrun", str(tmp_path), str(tmp_path / "result")],
        cwd=REPOSITORY,
    )
    deadline = time.monotonic() + 90
    while len(found := ranks(child.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    family = psutil.Process(child.pid).children(recursive=True)
    time.sleep(2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(found) == 2
    _, alive = psutil.wait_procs(family, timeout=40)
    assert alive == []
