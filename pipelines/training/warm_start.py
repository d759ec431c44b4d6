"""Whether a training goes on from the champion: decided once, with its snapshot, and kept there with the reason.

The parent is named by version and sha256, so that a retry goes on from the same one whoever is champion by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipelines.context import Context
from pipelines.errors import ModelError, names
from pipelines.features.functions import module_digest
from pipelines.features.names import modules_of
from pipelines.ledger import Row
from pipelines.models import load_model
from pipelines.models.artifact import artifact_sha256
from pipelines.models.column_fitting import MOST_CATEGORIES_NATIVE, MOST_CATEGORIES_ONE_HOT
from pipelines.models.pixels import Pixels
from pipelines.models.stored import read_stored
from pipelines.settings.pipeline import Pipeline
from pipelines.training.provenance import determining
from pipelines.training.replay_differences import changed

if TYPE_CHECKING:
    from pipelines.models.model import Model
    from pipelines.training.dataset import Frozen

# Settings that a parent need not share: which rows are used, how long it is trained, where, and for whom.
_MAY_DIFFER = (
    *("gate.", "resources.", "label_rules."),
    *(
        f"training.{name}"
        for name in (
            *("window_partitions", "holdout_partitions", "exclude_partitions", "seed", "min_rows"),
            *("max_rows_in_memory", "metric", "warm_start", "checkpoints"),
            *("model.rounds", "model.early_stopping_rounds", "model.checkpoint_rounds"),
            *("model.epochs", "model.early_stopping_epochs", "model.checkpoint_epochs", "model.processes"),
        )
    ),
)


def champion_of(context: Context) -> Row | None:
    """The model that the next training would go on from; None without a champion, or when no warm start is wanted."""
    training = context.pipeline.training
    champion = context.ledger.champion(context.name) if training and training.warm_start else None
    return context.ledger.model(context.name, champion["version"]) if champion else None


def decide(context: Context, frozen: Frozen, champion: Row | None) -> dict[str, Any] | None:
    """`{"parent": {"version", "sha256"}, "in_a_row", "seen"}` or `{"reason"}`; None when no warm start is wanted.

    `seen`: all partitions that the parent and those before it have learnt from; the holdout lies behind them.
    """
    training = context.pipeline.training
    if training is None or training.warm_start is None:
        return None
    if champion is None:
        return {"reason": "there is no champion yet"}
    if reason := next(_obstacles(context, frozen, champion), None):
        return {"reason": f"{reason} (champion: version {champion['version']})"}
    return {
        "parent": {"version": champion["version"], "sha256": champion["artifact_sha256"]},
        "in_a_row": _in_a_row(champion["record"]) + 1,
        "seen": sorted(seen_by(champion["record"])),
    }


def parent_of(context: Context, frozen: Frozen) -> Model | None:
    """The pinned parent, loaded; None for a training that begins anew.

    Raises:
        ModelError: E-TRAIN-PARENT when its files are not those that were pinned: nothing else is trained silently.
    """
    pinned = (frozen.warm_start or {}).get("parent")
    if pinned is None:
        return None
    where = f"{context.name} {frozen.snapshot_id}"
    row = context.ledger.model(context.name, pinned["version"])
    try:
        if row["artifact_sha256"] != pinned["sha256"]:
            raise ModelError("E-MODEL-HASH", where, "the ledger names other files")
        return load_model(context, pinned["version"])
    except ModelError as error:
        raise ModelError(
            "E-TRAIN-PARENT",
            where,
            f"the training goes on from version {pinned['version']} (sha256 {pinned['sha256'][:16]}...), which must be "
            f"readable, but {error.code}: {error.what}",
            "Restore its files, put another champion back, or leave out training.warm_start.",
            repeat="snapshot",
        ) from error


def recorded_start(context: Context, row: Row) -> dict[str, Any] | None:
    """What a version's record says of where its training began, for a replay.

    Raises:
        ModelError: E-REPLAY-PARENT when the parent's files are gone or changed: the version cannot be made again.
    """
    start: dict[str, Any] | None = row["record"].get("warm_start")
    if not start or "parent" not in start:
        return start
    parent = start["parent"]
    problem = _file_problem(context, context.ledger.model(context.name, parent["version"]), parent["sha256"])
    if problem:
        raise ModelError(
            "E-REPLAY-PARENT",
            f"{context.name} version {row['version']}",
            f"it was trained on from version {parent['version']} (sha256 {parent['sha256'][:16]}...), which must be as "
            f"it was, but {problem}",
            "Restore them; '--settings today' rebuilds it from nothing where training.warm_start is left out.",
        )
    return start


def told(warm_start: Mapping[str, Any] | None) -> str | None:
    """In words, for summaries, tags and cards; None when no warm start was wanted."""
    if not warm_start:
        return None
    parent = warm_start.get("parent")
    if parent is None:
        return f"cold: {warm_start['reason']}"
    times = warm_start["in_a_row"]
    return f"from version {parent['version']} (sha256 {parent['sha256'][:16]}), {times} in a row"


def seen_by(record: Mapping[str, Any]) -> set[str]:
    """Partitions that a version has learnt from, itself or through its parents."""
    return {*record.get("training_partitions", []), *(record.get("warm_start") or {}).get("seen", [])}


def _in_a_row(record: Mapping[str, Any]) -> int:
    return int((record.get("warm_start") or {}).get("in_a_row", 0))


def _obstacles(context: Context, frozen: Frozen, champion: Row) -> Iterator[str]:
    """Why the champion cannot be gone on from, the cheapest to find first."""
    record = champion["record"]
    if "made_from" not in record or "row_digests" not in record:
        yield "it was registered by a release that did not record what made it"
        return
    yield from _too_often(context, record)
    yield from _other_settings(context, record)
    yield from _other_inputs(frozen, record)
    yield from _other_rows(context, frozen, record)
    yield from _unreadable(context, frozen, champion)


def _too_often(context: Context, record: Mapping[str, Any]) -> Iterator[str]:
    training = context.pipeline.training
    done = _in_a_row(record)
    if training and training.warm_start and done >= training.warm_start.at_most:
        yield f"{done} warm start(s) in a row are the most that 'warm_start.at_most' allows"


def _other_settings(context: Context, record: Mapping[str, Any]) -> Iterator[str]:
    try:
        then = Pipeline.model_validate(record["made_from"]["settings"])
    except ValidationError:
        yield "this release does not understand its settings"
        return
    families = [one.training.model.family for one in (then, context.pipeline) if one.training]
    if len(set(families)) > 1:
        yield f"another family: '{families[0]}' -> '{families[1]}'"
    if lines := changed(_meaning(then), _meaning(context.pipeline)):
        yield f"other settings: {_few(lines)}"
    code = {name: module_digest(context.home.config, name) for name in modules_of(context.pipeline)}
    if lines := changed(record["made_from"]["feature_code"], code):
        yield f"other feature functions: {_few(lines)}"


def _meaning(pipeline: Pipeline) -> dict[str, Any]:
    """What must be alike for scores and inputs to mean the same; what is not known here counts."""
    found = determining(pipeline)
    return {path: value for path, value in found.items() if not path.startswith(_MAY_DIFFER)}


def _other_inputs(frozen: Frozen, record: Mapping[str, Any]) -> Iterator[str]:
    if lines := changed(record["features"], frozen.types):
        yield f"other features: {_few(lines)}"
    if list(record["classes"]) != frozen.classes:
        yield f"other classes: {names(record['classes'])} -> {names(frozen.classes)}"


def _other_rows(context: Context, frozen: Frozen, record: Mapping[str, Any]) -> Iterator[str]:
    """The holdout must be news to it, and what it has learnt must still be true."""
    seen, training = seen_by(record), context.pipeline.training
    if known := sorted(key for key in seen if key >= min(frozen.holdout_partitions)):
        yield f"it has learnt from {names(known)}, and the holdout begins with '{min(frozen.holdout_partitions)}'"
    if excluded := sorted(seen & set(training.exclude_partitions if training else ())):
        yield f"it has learnt from {names(excluded)}, excluded now"
    accepted = {row["partition"] for row in context.ledger.accounting(context.name) if row["state"] == "clean"}
    if refused := sorted(seen - accepted):
        yield f"it has learnt from {names(refused)}, refused since"
    digests = record["row_digests"]
    both = set(record["training_partitions"]) & set(frozen.training_partitions)
    if corrected := sorted(key for key in both if digests.get(key) != frozen.row_digests.get(key)):
        yield f"it has learnt from {names(corrected)}, whose rows are others now"


def _unreadable(context: Context, frozen: Frozen, champion: Row) -> Iterator[str]:
    if problem := _file_problem(context, champion, champion["artifact_sha256"]):
        yield problem
        return
    manifest = json.loads(read_stored(context.home, champion["artifact_uri"])["model.json"])
    yield from _new_categories(context, frozen, manifest["preprocess"])
    yield from _new_forms(context, frozen, manifest["preprocess"])


def _file_problem(context: Context, row: Row, sha256: str) -> str | None:
    try:
        files = read_stored(context.home, row["artifact_uri"])
    except ModelError:
        return "its files are gone"
    return None if artifact_sha256(files) == sha256 else "its files are others now"


def _new_forms(context: Context, frozen: Frozen, preprocess: Mapping[str, Any]) -> Iterator[str]:
    """Images of another size or with other channels than those that its weights are for."""
    known = {one["name"]: Pixels.from_dict(one["pixels"]) for one in preprocess["columns"] if "pixels" in one}
    if not known:
        return
    rows = frozen.table(context, "train").select(list(known))
    for name, form in known.items():
        lengths = set(pc.unique(pc.binary_length(rows[name])).drop_null().to_pylist())
        if lengths - {form.length}:
            yield f"the images of '{name}' have another form than {form.size} x {form.size} x {form.channels}"


def _new_categories(context: Context, frozen: Frozen, preprocess: Mapping[str, Any]) -> Iterator[str]:
    """Its codes stay as they are: a category that it does not know would count as missing for as long as it is gone
    on from. One that it knows and that is no longer there does no harm.
    """
    most = MOST_CATEGORIES_ONE_HOT if preprocess["one_hot"] else MOST_CATEGORIES_NATIVE
    columns = [one for one in preprocess["columns"] if one["type"] == "category"]
    known = {one["name"]: set(one.get("encoder", one)["categories"]) for one in columns}
    if not known:
        return
    rows = frozen.table(context, "train").select(list(known))
    for name, categories in known.items():
        if len(categories) >= most:  # the rarest are left out anyway
            continue
        new = set(rows[name].cast(pa.string()).unique().drop_null().to_pylist()) - categories
        if new:
            yield f"new categories of '{name}': {names(sorted(new))}"


def _few(lines: list[str]) -> str:
    more = f", and {len(lines) - 3} more" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more
