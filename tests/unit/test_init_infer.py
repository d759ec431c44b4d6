"""Types, keys, times and labels that are inferred from literal small files, each with the mistake it must not make."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import DataError
from pipelines.init.choice import choose, feature_groups
from pipelines.init.infer import Declared, column_names, declare
from pipelines.init.life import Life, first_run, life_by_time, life_dealt, windows_of
from pipelines.init.profile import profile_columns, sampled
from pipelines.init.questions import Questions
from pipelines.init.roles import exact_copies, find_key, is_clear, label_guess, target_of, time_candidates
from pipelines.init.rows import Rows, open_rows
from pipelines.init.samples import find_sample
from pipelines.init.suspects import suspects, typed_sample
from pipelines.init.volume import volume_bounds


def opened(folder: Path, columns: dict[str, list[Any]]) -> tuple[Rows, list[Declared]]:
    """A CSV with these columns, and how they would be declared."""
    cells = [["" if one is None else str(one) for one in row] for row in zip(*columns.values(), strict=True)]
    lines = [",".join(columns), *map(",".join, cells)]
    (folder / "sample.csv").write_text("\n".join(lines) + "\n")
    rows = open_rows(find_sample([folder / "sample.csv"]), folder, header=True)
    facts, cells, names = profile_columns(rows), sampled(rows), column_names(columns)
    declared = [declare(one, names[name], cells[rows.place(name)]) for name, one in facts.items()]
    return rows, [one for one in declared if one]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        pytest.param("age", ["17", "90", "", "41"], {"type": "integer"}, id="whole numbers and an empty cell"),
        pytest.param("price", ["1.5", "2", "-3e2"], {"type": "number"}, id="numbers"),
        pytest.param("plz", ["01067", "80331", "10115"], {"type": "id"}, id="leading zeros are no number"),
        pytest.param(
            "CustomerID", ["17850.0", "13047.0"], {"type": "id", "source_name": "CustomerID"}, id="id as float"
        ),
        pytest.param("ean", ["4006381333931", "5901234123457"], {"type": "id"}, id="long digits name something"),
        pytest.param("total", ["1.5", " ", "2.5", " "], {"type": "number", "null_tokens": ["", " "]}, id="blanks"),
        pytest.param(
            "total", ["1.5", "N/A", "2.5", "-"], {"type": "number", "null_tokens": ["", "-", "N/A"]}, id="words"
        ),
        pytest.param("country", ["NA", "DE", "NA", "DE"], {"type": "category"}, id="Namibia is a country"),
        pytest.param("job", ["?", "clerk", "cook", "?"], {"type": "category", "null_tokens": ["", "?"]}, id="a mark"),
        pytest.param("is_new", ["Yes", "No", "Yes"], {"type": "boolean"}, id="yes and no"),
        pytest.param("grade", ["a", "b", "a"], {"type": "category"}, id="few words"),
        pytest.param("at", ["2026-03-01 10:00:00", "2026-03-02T11:00:00Z"], {"type": "timestamp"}, id="ISO"),
        pytest.param("on", ["2026-03-01", "2026-03-02"], {"type": "date", "source_name": "on"}, id="ISO days"),
        pytest.param(
            "at",
            ["31.12.2025 23:59", "01.01.2026 00:01"],
            {"type": "timestamp", "format": "%d.%m.%Y %H:%M"},
            id="German",
        ),
        pytest.param(
            "at",
            ["12/31/2025 11:59:00 PM", "01/01/2026 12:01:00 AM"],
            {"type": "timestamp", "format": "%m/%d/%Y %I:%M:%S %p"},
            id="American",
        ),
        pytest.param("day", ["20260301", "20260302"], {"type": "date", "format": "%Y%m%d"}, id="compact, called a day"),
        pytest.param("amount", ["20260301", "20260302"], {"type": "integer"}, id="compact, not called a day"),
        pytest.param("y", ["1", "0", "1"], {"type": "integer", "source_name": "y"}, id="a name that YAML misreads"),
        pytest.param("nothing", ["", "", ""], {"type": "text"}, id="no value at all"),
    ],
)
def test_a_column_gets_the_first_type_that_its_values_fit(
    name: str, values: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    _, (_, found) = opened(tmp_path, {"number": list(range(len(values))), name: values})
    assert found.settings == expected


def test_free_text_is_no_category(tmp_path: Path) -> None:
    messages = [f"the customer number {number} wrote a letter about it" for number in range(30)]
    _, (_, found) = opened(tmp_path, {"number": list(range(30)), "message": messages})
    assert found.type == "text"


def test_one_wrong_cell_in_a_thousand_is_wrong_and_not_another_type(tmp_path: Path) -> None:
    _, (found, _) = opened(tmp_path, {"n": [*range(999), "many"], "x": list(range(1000))})
    assert (found.type, found.unfit) == ("integer", 1)


def test_dates_that_read_both_ways_are_told(tmp_path: Path) -> None:
    _, (_, found) = opened(tmp_path, {"n": [1, 2], "at": ["03/04/2026", "05/06/2026"]})
    assert (found.format, found.other_formats) == ("%d/%m/%Y", ("%m/%d/%Y",))


def test_names_are_snake_case_unlike_and_free() -> None:
    found = column_names(["CustomerID", "customer_id", "partition", "2nd Value (€)", "HTTPStatus", "n"])
    assert list(found.values()) == [
        "customer_id",
        "customer_id_2",
        "partition_value",
        "c_2nd_value",
        "http_status",
        "n_value",
    ]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(
            {"amount": [1, 2, 3], "order_id": ["a", "b", "c"]}, ("order_id",), id="the one that names something"
        ),
        pytest.param({"amount": [1.5, 2.5, 3.5]}, (), id="a measurement is no key"),
        pytest.param({"order_id": ["a", "a", "b"], "line_no": [1, 2, 1]}, ("line_no", "order_id"), id="two together"),
        pytest.param({"order_id": ["a", "b", None], "x": [1, 1, 1]}, (), id="one is missing"),
        pytest.param({"order_id": ["a", "b", "b"], "x": [1, 2, 2]}, ("order_id",), id="an exact copy is no second row"),
        pytest.param({"order_id": ["a", "b", "b"], "x": [1.5, 2.5, 2.25]}, (), id="no unique key"),
    ],
)
def test_key_tells_all_rows_apart(columns: dict[str, list[Any]], expected: tuple[str, ...], tmp_path: Path) -> None:
    rows, declared = opened(tmp_path, columns)
    assert set(find_key(declared, rows, exact_copies(rows)).columns) == set(expected)


@pytest.mark.parametrize(
    ("columns", "expected", "clear"),
    [
        pytest.param(
            {"paid_at": ["2026-03-01 10:00"], "day": ["2026-03-01"]}, "paid_at", True, id="timestamp before day"
        ),
        pytest.param({"birth_date": ["2001-03-01"], "n": [1]}, None, False, id="a birthday is no event"),
        pytest.param(
            {"sent": ["2026-03-01 10:00"], "got": ["2026-03-01 11:00"]}, "sent", False, id="two alike: a question"
        ),
    ],
)
def test_time_of_the_event(columns: dict[str, list[Any]], expected: str | None, clear: bool, tmp_path: Path) -> None:
    later = {name: [*values, str(values[0]).replace("-03-", "-04-")] for name, values in columns.items()}
    _, declared = opened(tmp_path, later)
    found = time_candidates(declared)
    assert (found[0].name if found else None, is_clear(found)) == (expected, clear)


@pytest.mark.parametrize(
    ("values", "task", "positive"),
    [
        pytest.param([0, 1] * 30, "binary", None, id="0 and 1"),
        pytest.param(["Yes", "No", "No"] * 20, "binary", "Yes", id="a word that says so"),
        pytest.param(["<=50K", "<=50K", ">50K"] * 20, "binary", ">50K", id="the rarer one"),
        pytest.param([1, 2, 2] * 20, "binary", "1", id="1 and 2"),
        pytest.param(["a", "b", "c"] * 20, "multiclass", None, id="three words"),
        pytest.param([1, 2, 3, 4, 5] * 20, "multiclass", None, id="marks"),
        pytest.param(list(range(60)), "regression", None, id="numbers"),
        pytest.param([x / 2 for x in range(60)], "regression", None, id="fractions"),
    ],
)
def test_task_follows_from_the_label(values: list[Any], task: str, positive: str | None, tmp_path: Path) -> None:
    _, (label, _) = opened(tmp_path, {"label": values, "x": list(range(len(values)))})
    found = target_of(label, None, None)
    assert (found.task, found.positive) == (task, positive)
    assert found.column.type != "boolean"


@pytest.mark.parametrize(
    ("values", "task", "what"),
    [
        pytest.param([None, None, None], None, "no row has a label", id="missing everywhere"),
        pytest.param(["x", "x", "x"], None, "all labels are 'x'", id="constant"),
        pytest.param([f"word{number}x" for number in range(80)], None, "at most 50 classes", id="one word per row"),
        pytest.param(["a", "b", "c"], "binary", "has two values", id="three classes are not two"),
        pytest.param(["a", "b", "a"], "regression", "needs numbers", id="words are no numbers"),
        pytest.param([x / 2 for x in range(90)], "binary", "at most 50 classes", id="numbers are no classes"),
    ],
)
def test_a_label_that_cannot_be_learnt_is_refused(
    values: list[Any], task: str | None, what: str, tmp_path: Path
) -> None:
    _, columns = opened(tmp_path, {"label": values, "x": list(range(len(values)))})
    with pytest.raises(DataError, match=what):
        target_of(columns[0], task, None)


def test_the_label_is_guessed_by_its_name(tmp_path: Path) -> None:
    _, columns = opened(tmp_path, {"is_fraud": [0, 1], "amount": [1, 2]})
    assert label_guess(columns) == "is_fraud"
    assert label_guess(columns[1:]) is None


def test_two_columns_that_add_up_to_the_label_are_put_aside(tmp_path: Path) -> None:
    one, other = [(7 * n) % 41 for n in range(60)], [(11 * n) % 53 for n in range(60)]
    noise = [(13 * n) % 17 for n in range(60)]
    total = [a + b for a, b in zip(one, other, strict=True)]
    rows, columns = opened(tmp_path, {"casual": one, "registered": other, "wind": noise, "cnt": total})
    target = target_of(columns[3], None, None)
    found = suspects(columns, target, typed_sample(columns, rows, sampled(rows)))
    assert {name for name, one in found.items() if one.is_sure} == {"casual", "registered"}
    assert found["casual"].why == "tells the label: casual + registered = cnt"


def test_a_column_that_is_the_label_by_another_name_is_put_aside(tmp_path: Path) -> None:
    label = [int(n % 3 == 0) for n in range(90)]
    told = ["refunded" if one else "kept" for one in label]
    rows, columns = opened(tmp_path, {"outcome": told, "other": [n % 7 for n in range(90)], "label": label})
    target = target_of(columns[2], None, None)
    found = suspects(columns, target, typed_sample(columns, rows, sampled(rows)))
    assert [name for name, one in found.items() if one.is_sure] == ["outcome"]
    assert choose(columns, [], None, target, found, []).used == ("other",)


def test_what_tells_nothing_or_names_a_row_is_no_feature(tmp_path: Path) -> None:
    count = 200
    columns: dict[str, list[Any]] = {
        "order_id": [f"o{n}" for n in range(count)],
        "shop": ["s1"] * count,
        "city": [f"c{n % 150}" for n in range(count)],
        "amount": [n * 7 % 90 for n in range(count)],
        "empty": [None] * count,
        "label": [n % 2 for n in range(count)],
    }
    _, declared = opened(tmp_path, columns)
    found = choose(declared, ["order_id"], None, target_of(declared[-1], None, None), {}, [])
    assert found.used == ("amount",)
    assert found.aside["shop"].startswith("constant")
    assert found.aside["empty"] == "no row has a value"
    assert found.aside["order_id"] == "names the row"


def test_windows_are_of_what_comes_again_and_not_of_lines_of_one_order(tmp_path: Path) -> None:
    count = 240
    columns: dict[str, list[Any]] = {
        "order_id": [f"o{n // 4}" for n in range(count)],
        "customer_id": [f"c{n % 24}" for n in range(count)],
        "paid_at": [f"2026-03-{1 + n // 8:02d} {(n // 4) % 2 + 10}:00:00" for n in range(count)],
        "amount": [n * 7 % 90 for n in range(count)],
        "label": [n % 2 for n in range(count)],
    }
    rows, declared = opened(tmp_path, columns)
    time, target = declared[2], target_of(declared[-1], None, None)
    life = life_by_time(rows, time, target.column, None)
    groups = feature_groups("orders", "me", declared, choose(declared, [], time, target, {}, []), time, life, rows)
    assert [group.settings.get("entity") for group in groups] == [["customer_id"]]


def days(count: int, rows: int) -> Life:
    return Life("day", tuple((date.fromordinal(739676 + n).isoformat(), rows, rows) for n in range(count)), "test")


@pytest.mark.parametrize(
    ("life", "holdout", "first_after", "policy"),
    [
        pytest.param(days(300, 1000), 2, 14, "default", id="busy: two days, after two weeks"),
        pytest.param(days(300, 24), 13, 39, "default", id="24 rows a day: 312 to judge on, 600 to learn from"),
        pytest.param(days(10, 700), 2, 8, "default", id="ten days: the last two are scored"),
        pytest.param(days(12, 10), 3, 11, "bootstrap", id="hardly any rows: one day is left"),
    ],
)
def test_windows_fit_the_sample(life: Life, holdout: int, first_after: int, policy: str, tmp_path: Path) -> None:
    _, columns = opened(tmp_path, {"label": list(range(80)), "x": list(range(80))})
    found = windows_of(life, target_of(columns[0], None, None))
    assert (found.holdout, found.first_after, found.policy) == (holdout, first_after, policy)
    assert found.first_after >= 2 * found.holdout
    assert first_run(life, found)[1] == life.keys[min(first_after + 2, len(life.keys)) - 1]


@pytest.mark.parametrize(
    ("times", "grain"),
    [
        pytest.param(
            [f"2026-03-01 {n // 60 % 24:02d}:{n % 60:02d}:00" for n in range(7200)], "hour", id="one busy day"
        ),
        pytest.param([f"2026-03-{1 + n // 20:02d} 10:00:00" for n in range(400)], "day", id="twenty a day"),
        pytest.param([f"{date.fromordinal(739676 + 3 * n)} 10:00:00" for n in range(400)], "month", id="two a week"),
    ],
)
def test_partitions_are_as_long_as_rows_ask_for(times: list[str], grain: str, tmp_path: Path) -> None:
    rows, (time, _) = opened(tmp_path, {"at": times, "x": list(range(len(times)))})
    assert life_by_time(rows, time, None, None).grain == grain


def test_dealt_days_end_yesterday(tmp_path: Path) -> None:
    rows, _ = opened(tmp_path, {"a": list(range(100)), "b": list(range(100))})
    life = life_dealt(rows, 5, date(2026, 3, 6))
    assert (life.start, life.end, life.usual_rows) == (date(2026, 3, 1), date(2026, 3, 5), 20)


def test_volume_bounds_are_widened_only_where_the_sample_leaves_them() -> None:
    steady = Life("day", tuple((f"2026-03-{n:02d}", 100, 100) for n in range(1, 9)), "")
    assert volume_bounds(steady) is None
    storm = Life("day", (*steady.counts, ("2026-03-09", 6, 6)), "")
    low, high, why = volume_bounds(storm) or (0, 0, "")
    assert (low, high) == (0.04, 5.0)
    assert "0.06 (2026-03-09)" in why


def test_an_empty_answer_is_told_what_there_is_and_is_one_question() -> None:
    said: list[str] = []
    answers = iter(["", "", "returned"])
    questions = Questions(lambda _: next(answers), said.append)
    check = [None, "There are 'returned'."]
    assert questions.ask("--label x", "Which?", None, lambda given: check[given != "returned"]) == "returned"
    assert (questions.asked, said) == (1, ["\nWhich?", *["  There are 'returned'."] * 2])
