from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipelines.ledger import Ledger
from tests.builders import utc


def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def crown(book: Ledger, version: int, expected: int, since: str = "2026-03-01") -> bool:
    return book.change_champion(
        "p",
        version,
        expected_seq=expected,
        effective_from=utc(since),
        action="promote",
        reason="gain",
        actor="gate",
        run_id="r",
    )


def test_champion_change_needs_the_newest_seq(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    assert crown(book, 1, expected=0)
    assert not crown(book, 2, expected=0)
    assert crown(book, 3, expected=1)
    assert [row["version"] for row in book.champions("p")] == [1, 3]


def test_racing_promotions_have_one_winner(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda version: crown(book, version, expected=0), range(1, 9)))
    assert sum(won) == 1
    assert len(book.champions("p")) == 1


def test_champion_of_a_past_day_is_the_one_of_that_day(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    crown(book, 1, 0, "2026-03-05")
    crown(book, 2, 1, "2026-03-09")
    in_force: list[Any] = [
        book.champion("p", utc(day)) for day in ("2026-03-04", "2026-03-05", "2026-03-08", "2026-03-09")
    ]
    assert [row and row["version"] for row in in_force] == [None, 1, 1, 2]


def test_rollback_at_the_same_moment_wins_by_order(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    crown(book, 1, 0, "2026-03-05")
    crown(book, 2, 1, "2026-03-09")
    crown(book, 1, 2, "2026-03-09")
    newest = book.champion("p", utc("2026-03-09"))
    assert newest is not None
    assert newest["version"] == 1


def test_retry_of_a_training_run_keeps_its_version(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    values: dict[str, Any] = {
        "as_of": utc("2026-03-05"),
        "mlflow_run_id": None,
        "artifact_uri": "a",
        "artifact_sha256": "s",
        "record": {},
    }
    assert [book.record_model("p", run_id=run, **values) for run in ("r1", "r2", "r1")] == [1, 2, 1]


def test_second_release_supersedes_and_retraction_keeps_history(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    values: dict[str, Any] = {"model_version": 1, "row_count": 3, "path": "x", "is_hindsight": False, "run_id": "r"}
    assert book.record_release("p", "2026-03-01", release_id="one", digest="1", **values) == 1
    assert book.record_release("p", "2026-03-01", release_id="one", digest="1", **values) == 1
    assert book.record_release("p", "2026-03-01", release_id="two", digest="2", **values) == 2
    assert book.retract_release("p", "2026-03-01", "wrong labels")
    assert not book.retract_release("p", "2026-03-01", "again")
    assert [row["state"] for row in book.releases("p")] == ["superseded", "retracted"]


def test_publications_give_the_newest_generation(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    for digest in ("one", "two"):
        for partition in ("2026-03-02", "2026-03-01"):
            book.record_publication(
                "p",
                "clean",
                partition,
                run_id="r",
                delta_version=1,
                input_digest=digest,
                content_digest=digest,
                row_count=1,
                facts={},
            )
    newest = book.publications("p", "clean")
    assert [(row["partition"], row["generation"], row["input_digest"]) for row in newest] == [
        ("2026-03-01", 2, "two"),
        ("2026-03-02", 2, "two"),
    ]
