"""Bad configurations are test data: each file in configs/ has its exact messages beside it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.home import REPOSITORY
from pipelines.settings import load_pipeline
from pipelines.settings.checks import is_cron
from pipelines.settings.loader import check_group, check_pipeline, pipeline_names
from pipelines.settings.problems import ConfigProblems, Problem
from pipelines.settings.yaml_source import MAX_BYTES, Document, read_document, read_text

CASES = Path(__file__).parent / "configs"
GOOD = """\
name: {name}
owner: tests
start: 2026-03-02
source:
  format: csv
  path: inbox/{{partition}}.csv
  columns:
    order_id: {{type: id}}
    ordered_at: {{type: timestamp}}
    amount_eur: {{type: number}}
key: [order_id]
event_time: ordered_at
"""


def config_folder(root: Path, **files: str) -> Path:
    """`root/config` with these pipelines, the groups of configs/features, and a suite for each pipeline."""
    config = root / "config"
    (config / "pipelines").mkdir(parents=True)
    (root / "expectations").mkdir()
    shutil.copytree(CASES / "features", config / "features")
    for name, text in files.items():
        (config / "pipelines" / f"{name}.yaml").write_text(text)
        (root / "expectations" / f"{name}.json").write_text("{}")
    return config


def good(name: str = "orders", more: str = "") -> str:
    return GOOD.format(name=name) + more


def messages(text: str, tmp_path: Path, name: str = "orders") -> list[str]:
    return [str(problem) for problem in check_pipeline(name, config_folder(tmp_path, **{name: text}))[1]]


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.yaml")))
def test_bad_file_gets_exactly_the_messages_beside_it(name: str, tmp_path: Path) -> None:
    config = config_folder(tmp_path, **{name: (CASES / f"{name}.yaml").read_text()})
    pipeline, problems = check_pipeline(name, config)
    assert pipeline is None
    assert [str(problem) for problem in problems] == (CASES / f"{name}.expected").read_text().splitlines()


def test_cases_are_there() -> None:
    assert len(list(CASES.glob("*.yaml"))) == len(list(CASES.glob("*.expected"))) >= 19


def test_good_file_loads_with_its_groups_filled_in(tmp_path: Path) -> None:
    inline = "{name: shape, owner: me, features: [{kind: calendar, column: ordered_at, parts: [hour]}]}"
    text = good(more=f"features:\n  groups: [card_activity, {inline}]\n")
    pipeline = load_pipeline("orders", config_folder(tmp_path, orders=text))
    assert [group.name for group in pipeline.feature_groups] == ["card_activity", "shape"]
    assert pipeline.start.isoformat() == "2026-03-02"


def test_all_problems_come_in_one_error_one_per_line(tmp_path: Path) -> None:
    config = config_folder(tmp_path, orders=good(more="scor: {}\naudit: {max_shfit: 1}\n"))
    with pytest.raises(ConfigError) as caught:
        load_pipeline("orders", config)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["E-CONFIG-UNKNOWN config/pipelines/orders.yaml"] * 2
    assert "Did you mean 'score'?" in lines[0]
    assert "Did you mean 'max_shift'?" in lines[1]


def test_error_survives_the_way_between_processes() -> None:
    import pickle

    error = ConfigProblems([Problem("E-CONFIG-B", "b.yaml", 2, "two"), Problem("E-CONFIG-A", "a.yaml", 1, "one")])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "E-CONFIG-A a.yaml:1: one\nE-CONFIG-B b.yaml:2: two"


def test_unknown_pipeline_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"E-CONFIG-PIPELINE .*'ordres'. Did you mean 'orders'\?"):
        load_pipeline("ordres", config_folder(tmp_path, orders=good()))


@pytest.mark.parametrize("name", ["../orders", "/etc/passwd", ""], ids=["upwards", "absolute", "empty"])
def test_name_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="E-CONFIG-PIPELINE"):
        load_pipeline(name, config_folder(tmp_path, orders=good()))


def test_missing_suite_is_named_with_the_nearest(tmp_path: Path) -> None:
    config = config_folder(tmp_path, orders=good())
    (tmp_path / "expectations" / "orders.json").rename(tmp_path / "expectations" / "order.json")
    _, problems = check_pipeline("orders", config)
    assert [str(problem) for problem in problems] == [
        "E-CONFIG-SUITE config/pipelines/orders.yaml:1: the suite 'expectations/orders.json' is missing. "
        "Did you mean 'order'?"
    ]


def test_group_problems_are_those_of_the_group_file(tmp_path: Path) -> None:
    config = config_folder(tmp_path, orders=good(more="features: {groups: [broken_group]}\n"))
    group, of_group = check_group("broken_group", config)
    pipeline, of_pipeline = check_pipeline("orders", config)
    assert group is None
    assert pipeline is None
    assert of_group == of_pipeline
    assert {problem.file for problem in of_group} == {"config/features/broken_group.yaml"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("-0.5", -0.5),
        ("+7", 7),
        ("~", None),
        ("", None),
        ("True", True),
        ("2026-03-02", "2026-03-02"),
        ("1.5.2", "1.5.2"),
        ('"no"', "no"),
        ("'012'", "012"),
        ("NA", "NA"),
        ("none", "none"),
        ("12:00:00Z", "12:00:00Z"),
    ],
)
def test_plain_values_are_read_as_written(text: str, value: object) -> None:
    document = read_text(f"key: {text}\n", Document("x.yaml"))
    assert document.problems == []
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


@pytest.mark.parametrize(
    "text", ["no", "Yes", "ON", "y", "012", "-07", "1:30", "0x1F", "0b1", "1_000", ".inf", "-.INF"]
)
def test_trap_is_a_problem_at_its_line(text: str) -> None:
    # What PyYAML makes of it silently, so that this table holds real traps only ('y' is one for YAML 1.1 readers).
    assert yaml.safe_load(text) != text or text == "y"
    document = read_text(f"a: 1\nkey: {text}\n", Document("x.yaml"))
    assert [(problem.code, problem.line) for problem in document.problems] == [("E-CONFIG-YAML", 2)]


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_characters="\x7f"), max_size=8).filter(
    lambda text: text.isprintable()
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | _TEXT,
    lambda inner: st.lists(inner, max_size=3, unique_by=repr) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXT, _VALUES, max_size=4))
def test_quoted_data_comes_back_unchanged(data: dict) -> None:
    """JSON is YAML with everything quoted: nothing in it may be taken for a trap, and nothing may change."""
    document = read_text(json.dumps(data, ensure_ascii=False), Document("x.yaml"))
    assert document.problems == []
    assert document.data == data


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    document = read_text(text, Document("x.yaml"))
    assert document.problems or isinstance(document.data, dict)


@pytest.mark.parametrize("depth", [31, 200, 5000], ids=["just", "deep", "deeper-than-the-stack"])
def test_too_deep_is_one_problem(depth: int) -> None:
    document = read_text("a: " + "[" * depth + "]" * depth, Document("x.yaml"))
    assert [problem.code for problem in document.problems] == ["E-CONFIG-SIZE"]


def test_too_large_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"# " + b"x" * MAX_BYTES)
    document = read_document(path, "x.yaml")
    assert [problem.code for problem in document.problems] == ["E-CONFIG-SIZE"]


def test_latin_1_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("name: x\nowner: Jörg\n".encode("latin-1"))
    assert [str(problem) for problem in read_document(path, "x.yaml").problems] == [
        "E-CONFIG-SYNTAX x.yaml:2: the text must be UTF-8, got the byte 0xf6"
    ]


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("0 2 * * *", True),
        ("*/5 8-18 * * MON-FRI", True),
        ("@daily", True),
        ("@dialy", False),
        ("0 2 * *", False),
        ("0 2 * * * *", False),
        ("60 2 * * *", False),
        ("0 25 * * *", False),
        ("nightly", False),
    ],
)
def test_cron(text: str, is_valid: bool) -> None:
    assert is_cron(text) is is_valid


def test_a_wrong_value_does_not_hide_a_rule_and_raises_no_false_one(tmp_path: Path) -> None:
    """`label` is wrong inside, so 'training needs label' must not be said; the unknown key column must be."""
    more = "label: {column: 5}\ntraining: {task: binary}\ndeduplicate: {latest_by: [nothing_like_it]}\n"
    assert messages(good(more=more), tmp_path) == [
        "E-CONFIG-VALUE config/pipelines/orders.yaml:13: 'label.column' must be text, got '5'. Put it in quotes",
        "E-CONFIG-COLUMN config/pipelines/orders.yaml:15: 'deduplicate.latest_by' names the unknown column "
        "'nothing_like_it'",
    ]


@pytest.mark.parametrize("name", pipeline_names(REPOSITORY / "config"))
def test_every_pipeline_of_the_repository_is_right(name: str) -> None:
    pipeline, problems = check_pipeline(name, REPOSITORY / "config")
    assert problems == []
    assert pipeline is not None
    assert pipeline.name == name


def test_settings_import_nothing_heavy() -> None:
    heavy = ["pandas", "pyarrow", "sqlalchemy", "airflow", "mlflow", "sklearn", "great_expectations", "ibis", "rich"]
    code = f"import sys, pipelines.settings; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
