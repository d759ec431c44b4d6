"""`make up` on a fresh home, over fake steps: a backfill through the REST API, the chain to retrain, a clean stop."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from pipelines.champions import champion_history
from pipelines.ledger import Ledger
from pipelines.runs.airflow_home import passwords
from pipelines.servers.postgres import PostgreSQL
from tests.airflow_server import DAGS, Server, running, wait_for
from tests.notify_servers import Webhook, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Webhook()) as hook, running(tmp_path_factory.mktemp("up"), hook) as started:
        yield started


def test_dags_are_there_without_errors_and_not_paused(server: Server) -> None:
    dags = wait_for("all DAGs", server.all_dags)
    assert {dag["dag_id"]: dag["is_paused"] for dag in dags} == dict.fromkeys(DAGS, False)
    assert server.call("GET", "/api/v2/importErrors")[1]["import_errors"] == []


def test_the_plugin_is_accepted(server: Server) -> None:
    """One wrong entry removes a whole plugin from the UI with nothing but a line in a log."""
    plugins = server.call("GET", "/api/v2/plugins")[1]["plugins"]
    (mine,) = [plugin for plugin in plugins if plugin["name"] == "nightshift"]
    views = [(view["destination"], view["name"]) for view in mine["external_views"]]
    assert views == [("nav", "Nightshift"), ("dag", "Nightshift"), ("dag_run", "Nightshift")]


def test_reports_need_a_sign_in(server: Server) -> None:
    reports = server.home.root / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "index.html").write_text("the morning page")
    assert server.call("GET", "/nightshift/reports/index.html") == (200, "the morning page")
    assert server.call("GET", "/nightshift/reports/..%2Fairflow%2Fsecrets.json")[0] == 404
    token, server.token = server.token, ""
    try:
        assert server.call("GET", "/nightshift/reports/index.html")[0] == 401
    finally:
        server.token = token


def test_a_backfill_runs_each_day_once_and_in_any_order_waits_for_history(server: Server) -> None:
    wishes = server.root / "wishes"
    (wishes / "monitor.2026-03-02").write_text('{"decision": "RETRAIN", "trigger": true, "reasons": ["drift"]}')
    body = {
        **{"dag_id": "alpha__daily", "from_date": "2026-03-01T00:00:00Z", "to_date": "2026-03-04T23:59:00Z"},
        **{"max_active_runs": 4, "reprocess_behavior": "none", "run_backwards": True, "dag_run_conf": {}},
    }
    status, answer = server.call("POST", "/api/v2/backfills", body)
    assert status == 200, answer
    days = [f"2026-03-0{day}" for day in (1, 2, 3, 4)]
    wait_for("four released days", lambda: _released(server, days))
    position = {(call["step"], call["partition"]): at for at, call in enumerate(_calls(server))}
    for earlier, later in itertools.pairwise(days):
        assert position["deduplicate", earlier] < position["deduplicate", later]
    assert server.runs("alpha__retrain") == []  # a backfill never moves the champion


def _released(server: Server, days: list[str]) -> bool:
    runs = [run for run in server.runs("alpha__daily") if run["run_type"] == "backfill"]
    assert not [run for run in runs if run["state"] == "failed"]
    return sorted(run["partition_key"] for run in runs if run["state"] == "success") == days


def _calls(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (server.root / "wishes" / "calls.jsonl").read_text().splitlines()]


def test_drift_starts_a_retrain_through_the_asset(server: Server) -> None:
    body: dict[str, Any] = {"logical_date": None, "partition_key": "2026-03-02", "conf": {}}
    assert server.call("POST", "/api/v2/dags/alpha__daily/dagRuns", body)[0] == 200
    wait_for("the retrain", lambda: [run["state"] for run in server.runs("alpha__retrain")] == ["success"])
    (run,) = server.runs("alpha__retrain")
    assert (run["run_type"], run["partition_key"]) == ("asset_triggered", "2026-03-02")
    attempts = Ledger(server.home.ledger_url).attempts("alpha", "2026-03-02")
    (promote,) = [row for row in attempts if row["step"] == "promote"]
    assert promote["summary"]["trigger"] == "monitor on 2026-03-02: drift"


def test_the_nightly_cron_starts_a_retrain_for_the_newest_partition(server: Server) -> None:
    body: dict[str, Any] = {"logical_date": None, "conf": {}}
    assert server.call("POST", "/api/v2/dags/alpha__retrain_nightly/dagRuns", body)[0] == 200
    newest = "2026-03-04"
    wait_for("the retrain", lambda: [run for run in server.runs("alpha__retrain") if _is_done(run, newest)])


def _links(server: Server, path: str, task: str, map_index: int = -1) -> dict[str, str | None]:
    """The links of a task, as the UI asks for them."""
    status, found = server.call("GET", f"{path}/taskInstances/{task}/links?map_index={map_index}")
    assert status == 200, found
    return dict(found["extra_links"])


def _triggered(server: Server, dag_id: str, **given: Any) -> str:
    """The address of a new run."""
    status, run = server.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": {}, **given})
    assert status == 200, run
    return f"/api/v2/dags/{dag_id}/dagRuns/{urllib.parse.quote(run['dag_run_id'], safe='')}"


def test_a_failed_task_links_to_what_it_made_and_a_later_one_to_nothing(server: Server) -> None:
    """`validate` refuses the day, but its Data Docs are there; of `monitor` there is no drift report."""
    (server.root / "wishes" / "validate.2026-03-05").write_text("fail")
    docs = server.home.root / "reports" / "alpha" / "data_docs"
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "2026-03-05.html").write_text("<html>")
    path = _triggered(server, "alpha__daily", partition_key="2026-03-05")
    wait_for("the failure", lambda: server.call("GET", path)[1]["state"] == "failed")
    page = "/nightshift/partition/alpha/2026-03-05"
    found = "/nightshift/reports/alpha/data_docs/2026-03-05.html"
    assert _links(server, path, "validate") == {"Data Docs": found, "Partition": page, "Quarantine": None}
    assert _links(server, path, "monitor") == {"Decision": None, "Drift report": None, "Partition": page}
    assert set(_links(server, path, "release").values()) == {None}  # it never ran


def test_links_of_a_retrain_lead_to_its_own_version_also_where_a_task_was_skipped(server: Server) -> None:
    ledger, moment = Ledger(server.home.ledger_url), datetime(2026, 3, 6, tzinfo=UTC)
    entry: dict[str, Any] = {"artifact_uri": "models/x", "artifact_sha256": "x", "record": {"mlflow_version": "9"}}
    version = ledger.record_model("gamma", run_id="earlier", as_of=moment, mlflow_run_id="abc", **entry)
    decided: dict[str, Any] = {"outcome": "HOLD", "model_version": version, "reasons": [], "numbers": {}}
    ledger.record_decision("gamma", "gate", "2026-03-05", run_id="earlier", **decided)
    for step in ("train", "gate"):
        (server.root / "wishes" / f"{step}.2026-03-05").write_text(json.dumps({"outcome": "HOLD", "version": version}))
    path = _triggered(server, "gamma__retrain", conf={"as_of_partition": "2026-03-05"})
    wait_for("the end", lambda: server.call("GET", path)[1]["state"] == "success")
    assert _states(server, path)["promote"] == "skipped"
    page, mlflow = f"/nightshift/version/gamma/{version}", f"http://127.0.0.1:{server.mlflow_port}/#"
    entries = {"MLflow run": f"{mlflow}/runs/abc", "MLflow version": f"{mlflow}/models/gamma/versions/9"}
    assert _links(server, path, "train") == entries | {"Model version": page}
    assert _links(server, path, "gate") == entries | {"Model version": page, "Decision": f"{page}#gate"}
    assert _links(server, path, "approve") == _links(server, path, "gate")
    assert _links(server, path, "tune") == {"MLflow run": None, "Pipeline": "/nightshift/pipeline/gamma"}
    assert set(_links(server, path, "promote").values()) == {None}  # skipped before it asked for the version


def _is_done(run: dict[str, Any], partition: str) -> bool:
    return (run["partition_key"], run["state"]) == (partition, "success")


RISK = "a plain linear model did better on the holdout, by 0.0123"


def _asked(server: Server, day: str, risks: list[str]) -> tuple[str, str]:
    """Path and id of a retrain whose gate says PROMOTE with these risks."""
    wish = {"outcome": "PROMOTE", "version": 7, "champion": 3, "risks": risks}
    (server.root / "wishes" / f"gate.{day}").write_text(json.dumps(wish))
    status, run = server.call(
        "POST", "/api/v2/dags/gamma__retrain/dagRuns", {"logical_date": None, "conf": {"as_of_partition": day}}
    )
    assert status == 200, run
    return f"/api/v2/dags/gamma__retrain/dagRuns/{urllib.parse.quote(run['dag_run_id'], safe='')}", run["dag_run_id"]


def _approval(server: Server, day: str) -> dict[str, Any]:
    """What the history says about the question of that day."""
    found = champion_history(Ledger(server.home.ledger_url), "gamma")["approvals"]
    (mine,) = [row for row in found if row["partition"] == day]
    return dict(mine)


def _promoted_by(server: Server, run_id: str) -> list[str]:
    calls = [call for call in _calls(server) if (call["step"], call["run_id"]) == ("promote", run_id)]
    return [call["arguments"]["approved_by"] for call in calls]


@pytest.mark.parametrize(
    ("answer", "outcome", "promoted"), [("Approve", "YES", "success"), ("Reject", "NO", "skipped")]
)
def test_a_risky_promotion_waits_for_a_person_whose_answer_is_kept(
    server: Server, answer: str, outcome: str, promoted: str
) -> None:
    day = "2026-03-06" if answer == "Approve" else "2026-03-07"
    path, run_id = _asked(server, day, [RISK])
    _wait_for_question(server, path)
    assert _states(server, path)["promote"] not in ("success", "running")
    assert (_approval(server, day)["outcome"], _approval(server, day)["by"]) == ("WAITING", None)
    question = server.call("GET", f"{path}/taskInstances/approve/-1/hitlDetails")[1]["body"]
    assert "version 7 may take the place of version 3." in question
    assert f"* {RISK}" in question
    assert "Asked for: manual by admin" in question
    assert "(/nightshift/version/gamma/7)" in question
    wait_for("the end", lambda: _answered(server, path, answer) and server.call("GET", path)[1]["state"] == "success")
    assert _states(server, path)["promote"] == promoted
    assert _promoted_by(server, run_id) == (["admin"] if answer == "Approve" else [])
    kept = _approval(server, day)
    assert (kept["outcome"], kept["by"], kept["risks"]) == (outcome, "admin", [RISK])
    assert server.told("approval").count(f"gamma {day}: may version 7 be promoted?") == 1
    assert abs(datetime.now(UTC) - datetime.fromisoformat(kept["answered_at"])) < timedelta(minutes=5)


def test_nobody_answering_in_time_keeps_the_champion_and_the_history_says_so(server: Server) -> None:
    path, run_id = _asked(server, "2026-03-08", [RISK])
    _wait_for_question(server, path)
    wait_for("the end", lambda: _let_time_run_out(server, run_id) and server.call("GET", path)[1]["state"] == "success")
    assert (_states(server, path)["approve"], _states(server, path)["promote"]) == ("success", "skipped")
    assert _promoted_by(server, run_id) == []
    kept = _approval(server, "2026-03-08")
    assert (kept["outcome"], kept["by"]) == ("TIMEOUT", None)
    assert kept["reasons"][0].startswith("nobody answered by ")
    assert "gamma 2026-03-08: nobody answered about version 7" in server.told("approval")


def _wait_for_question(server: Server, path: str) -> None:
    """A person reads before they answer; Airflow may fail a task whose answer comes within its first seconds."""
    wait_for("the question", lambda: _states(server, path).get("approve") == "awaiting_input")
    time.sleep(8)


def _let_time_run_out(server: Server, run_id: str) -> bool:
    """Makes the time-out of a question one that is over: the scheduler looks at this column."""
    _in_airflow(
        server,
        "update task_instance set trigger_timeout = now() - interval '1 minute' "
        "where run_id = :run_id and task_id = 'approve' and state = 'awaiting_input'",
        run_id,
    )
    return True


def _in_airflow(server: Server, statement: str, run_id: str) -> int:
    """Runs a statement in Airflow's own database; how many rows it changed."""
    port = int((server.home.airflow / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[3])
    with create_engine(PostgreSQL(server.home.airflow / "postgres", port).url("airflow")).begin() as connection:
        return connection.execute(text(statement), {"run_id": run_id}).rowcount


def test_without_a_risk_nobody_is_asked(server: Server) -> None:
    path, run_id = _asked(server, "2026-03-09", [])
    wait_for("the end", lambda: server.call("GET", path)[1]["state"] == "success")
    assert _promoted_by(server, run_id) == ["rule: no risk found"]
    kept = _approval(server, "2026-03-09")
    assert (kept["outcome"], kept["reasons"]) == ("BY RULE", ["approved by rule: no risk found"])
    assert server.call("GET", f"{path}/taskInstances/approve/-1/hitlDetails")[0] == 404


def _answered(server: Server, path: str, answer: str) -> bool:
    """Answers each time that the question is open: an answer that came too early for Airflow is asked for again."""
    question = f"{path}/taskInstances/approve/-1/hitlDetails"
    if _states(server, path).get("approve") == "awaiting_input":
        status, said = server.call("PATCH", question, {"chosen_options": [answer], "params_input": {}})
        assert status in (200, 409), said  # 409: answered already
    return True


def _states(server: Server, path: str) -> dict[str, str]:
    tasks = server.call("GET", f"{path}/taskInstances?limit=100")[1]["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


def test_a_night_is_told_once_when_it_is_late_when_it_ends_and_when_the_webhook_is_back(server: Server) -> None:
    """A webhook that refuses is a failed task in a run that went well."""
    wish, day = server.root / "wishes" / "ingest.2026-03-01", "2026-03-01"
    wish.write_text("hold")
    path = _triggered(server, "gamma__daily", partition_key=day)
    run_id = urllib.parse.unquote(path.rpartition("/")[2])
    wait_for("ingest", lambda: _states(server, path).get("ingest") == "running")
    of_run = "where dagrun_id = (select id from dag_run where run_id = :run_id)"
    assert _in_airflow(server, f"update deadline set deadline_time = now() {of_run}", run_id) == 1
    wait_for("the word that it is late", lambda: server.told("late"))
    server.hook.answers = [503]
    wish.unlink()
    wait_for("the end", lambda: server.call("GET", path)[1]["state"] in ("success", "failed"))
    assert server.call("GET", path)[1]["state"] == "success"
    assert _states(server, path)["notify"] == "failed"
    assert "E-NOTIFY-UNSENT gamma: connection 'night_hook' did not take the message (it answered 503)" in _log(
        server, path, "notify", 1
    )
    for attempt in (2, 3):
        again = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["notify"], "only_failed": False}
        assert server.call("POST", "/api/v2/dags/gamma__daily/clearTaskInstances", again)[0] == 200
        wait_for("the repeat", lambda attempt=attempt: _ended(server, path, "notify", attempt))
    assert _states(server, path)["notify"] == "success"
    assert server.told("night") == ["gamma 2026-03-01: accepted, no scores"]
    assert server.told("late") == ["gamma 2026-03-01: late, not done after 600 minutes"]


def _ended(server: Server, path: str, task: str, attempt: int) -> bool:
    found = server.call("GET", f"{path}/taskInstances/{task}")[1]
    return (found["try_number"], found["state"]) in ((attempt, "success"), (attempt, "failed"))


def _log(server: Server, path: str, task: str, attempt: int) -> str:
    return json.dumps(server.call("GET", f"{path}/taskInstances/{task}/logs/{attempt}?full_content=true")[1])


def test_a_failure_is_told_at_once_and_only_once(server: Server) -> None:
    """The end of the failed run has nothing to add; the run stays a failed one."""
    (server.root / "wishes" / "validate.2026-03-02").write_text("fail")
    path = _triggered(server, "gamma__daily", partition_key="2026-03-02")
    wait_for("the failure", lambda: server.call("GET", path)[1]["state"] == "failed")
    assert _states(server, path)["notify"] == "skipped"
    assert server.told("failure") == ["gamma 2026-03-02: daily failed at validate"]
    (body,) = [body for _, _, body in server.hook.got if body["kind"] == "failure"]
    assert body["changed"] == ["validate: the fake data are bad. Send other data. (E-FAKE-DATA)"]
    assert body["links"][0]["url"] == f"http://127.0.0.1:{server.port}/nightshift/partition/gamma/2026-03-02"
    assert len(server.told("night")) == 1  # that of the night before


def test_a_task_that_was_killed_is_told_when_its_run_ends(server: Server) -> None:
    """Airflow calls no callback for it: the process that would is the one that died."""
    (server.root / "wishes" / "validate.2026-03-02").unlink()
    (server.root / "wishes" / "deduplicate.2026-03-02").write_text("hold")
    before = len(server.told("failure"))
    path = _triggered(server, "gamma__daily", partition_key="2026-03-02")
    wait_for("the step", lambda: ("deduplicate", "2026-03-02") in _begun(server, path))
    task = server.call("GET", f"{path}/taskInstances/deduplicate")[1]["id"]
    found = subprocess.run(["pgrep", "-f", f"airflow worker -- {task}"], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    wait_for("the failure", lambda: server.call("GET", path)[1]["state"] == "failed")
    assert server.told("failure")[before:] == ["gamma 2026-03-02: daily failed at deduplicate"]
    body = next(body for _, _, body in reversed(server.hook.got) if body["kind"] == "failure")
    assert body["changed"] == ["deduplicate: it was killed or did not answer any more. (E-RUN-KILLED)"]


def _begun(server: Server, path: str) -> list[tuple[str, str]]:
    run_id = urllib.parse.unquote(path.rpartition("/")[2])
    return [(call["step"], call["partition"]) for call in _calls(server) if call["run_id"] == run_id]


def test_a_run_without_partition_key_fails_at_once_with_a_reason(server: Server) -> None:
    _, run = server.call("POST", "/api/v2/dags/alpha__daily/dagRuns", {"logical_date": None, "conf": {}})
    run_id = urllib.parse.quote(run["dag_run_id"], safe="")
    path = f"/api/v2/dags/alpha__daily/dagRuns/{run_id}"
    wait_for("the failure", lambda: server.call("GET", path)[1]["state"] == "failed")
    log = server.call("GET", f"{path}/taskInstances/ingest/logs/1?full_content=true")[1]
    assert "E-RUN-PARTITION alpha__daily: this run has no partition key" in json.dumps(log)


def _browser(server: Server, user: str) -> httpx.Client:
    """Signed in by cookie, as a browser is; it follows no redirect."""
    answer = server.call("POST", "/auth/token", {"username": user, "password": passwords(server.home)[user]})
    cookies = {"_token": answer[1]["access_token"]}
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", cookies=cookies, timeout=60)


def _pressed(
    browser: httpx.Client, action: str, answers: dict[str, str] | None = None, token: str = "", origin: str | None = ""
) -> httpx.Response:
    """The form of `action`, sent. `token`: of an earlier form; `origin`: of the page that sends it, None for none."""
    path = f"/nightshift/actions/{action}"
    shown = re.search(r'name="token" value="([0-9a-f]{16})"', browser.get(path).text)
    data = {"token": token or (shown[1] if shown else "0" * 16), **(answers or {})}
    headers = {} if origin is None else {"Origin": origin or str(browser.base_url).rstrip("/")}
    return browser.post(path, data=data, headers=headers)


def _run_behind(server: Server, dag_id: str, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 303, answer.text
    run_id = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)["run"][0]
    run: dict[str, Any] = server.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")[1]
    return run


def test_a_button_starts_one_run_in_the_name_of_who_pressed_it(server: Server) -> None:
    browser, token = _browser(server, "admin"), "00112233445566aa"
    for _ in range(2):  # pressed twice: the same run
        run = _run_behind(server, "alpha__daily", _pressed(browser, "alpha/run?partition=2026-03-03", token=token))
        assert (run["partition_key"], run["triggering_user_name"]) == ("2026-03-03", "admin")
    mine = [one for one in server.runs("alpha__daily") if one["dag_run_id"] == f"page__run__{token}"]
    assert len(mine) == 1
    log = server.call("GET", "/api/v2/eventLogs?dag_id=alpha__daily&event=trigger_dag_run&order_by=-when")[1]
    assert log["event_logs"][0]["owner"] == "admin"
    notice = browser.get(f"/nightshift/partition/alpha/2026-03-03?started=run&run=page__run__{token}").text
    assert f'/dags/alpha__daily/runs/page__run__{token}"' in notice


def test_taking_scores_back_and_a_rollback_pass_who_and_why(server: Server) -> None:
    ledger, day = Ledger(server.home.ledger_url), "2026-03-04"
    _known_to(ledger, day)
    browser, why = _browser(server, "admin"), {"reason": "  wrong <b>scores</b>  "}
    retract = _run_behind(server, "alpha__retract", _pressed(browser, f"alpha/retract?partition={day}", why))
    rollback = _run_behind(server, "alpha__rollback", _pressed(browser, "alpha/rollback?version=1", why))
    expected = {"reason": "wrong <b>scores</b>", "actor": "admin"}
    for step, run, more in (("retract", retract, {}), ("rollback", rollback, {"version": 1})):
        assert [one["arguments"] for one in _called(server, run["dag_run_id"], step)] == [expected | more]
    assert _pressed(browser, "alpha/rollback?version=2", why).status_code == 409  # the champion already
    short = _pressed(browser, "alpha/rollback?version=1", {"reason": "x"})
    assert (short.status_code, "at least 3 characters" in short.text) == (422, True)


def _called(server: Server, run_id: str, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wait_for(
        step, lambda: [one for one in _calls(server) if (one["run_id"], one["step"]) == (run_id, step)]
    )
    return found


def _known_to(ledger: Ledger, day: str) -> None:
    """Two versions, of which the second is champion, and a release of `day`."""
    for version in (1, 2):
        facts: dict[str, Any] = {"mlflow_run_id": None, "artifact_uri": "a", "artifact_sha256": "s", "record": {}}
        ledger.record_model("alpha", run_id=f"made {version}", as_of=datetime(2026, 3, 1, tzinfo=UTC), **facts)
        change: dict[str, Any] = {"action": "promote", "reason": "better", "actor": "gate", "run_id": f"made {version}"}
        moment = datetime(2026, 3, version, tzinfo=UTC)
        assert ledger.change_champion("alpha", version, expected_seq=version - 1, effective_from=moment, **change)
    release: dict[str, Any] = {"release_id": "r1", "model_version": 2, "row_count": 3, "digest": "d"}
    path = f"exports/alpha/_releases/{day}/r1"
    ledger.record_release("alpha", day, path=path, is_hindsight=False, run_id="made 2", **release)


@pytest.mark.parametrize(
    ("origin", "headers"),
    [("http://evil.example", {}), (None, {}), ("null", {}), ("", {"Sec-Fetch-Site": "cross-site"})],
    ids=["another site", "no origin", "a hidden origin", "the browser says so"],
)
def test_no_other_site_presses_a_button(server: Server, origin: str | None, headers: dict[str, str]) -> None:
    browser = _browser(server, "admin")
    browser.headers.update(headers)
    before = len(server.runs("alpha__retrain"))
    answer = _pressed(browser, "alpha/retrain", origin=origin)
    assert (answer.status_code, "did not come from a page of this server" in answer.text) == (403, True)
    assert len(server.runs("alpha__retrain")) == before


def test_who_may_only_look_is_told_so_and_starts_nothing(server: Server) -> None:
    viewer = _browser(server, "viewer")
    page = viewer.get("/nightshift/partition/alpha/2026-03-03").text
    assert "may look, but not start DAGs" in page
    assert "/nightshift/actions/" not in page
    asked, pressed = viewer.get("/nightshift/actions/alpha/retrain"), _pressed(viewer, "alpha/retrain")
    for answer in (asked, pressed):
        assert (answer.status_code, "may not start this DAG" in answer.text) == (403, True)
    assert not [one for one in server.runs("alpha__retrain") if one["dag_run_id"].startswith("page__")]


def test_a_backfill_is_started_from_the_page_and_a_second_one_refused_in_words(server: Server) -> None:
    days = {"first": "2026-03-09", "last": "2026-03-09", "which": "none"}
    browser = _browser(server, "admin")
    wait_for("room for it", lambda: _pressed(browser, "alpha/backfill", days).status_code == 303)
    second = _pressed(browser, "alpha/backfill", days)
    assert (second.status_code, "Airflow refuses it: There is already a running" in second.text) == (409, True)
    assert second.text.count('value="2026-03-09"') == 2  # what was filled in is still there
    found = wait_for("its run", lambda: [one for one in server.runs("alpha__daily") if _is_of(one, "2026-03-09")])
    assert {one["run_type"] for one in found} == {"backfill"}


def _is_of(run: dict[str, Any], key: str) -> bool:
    return bool(run["partition_key"] == key)


def test_what_is_not_there_is_said_in_words(server: Server) -> None:
    browser = _browser(server, "admin")
    for path in ("partition/alpha/2026-3-1", "version/alpha/99", "actions/alpha/nothing", "nowhere", "version/alpha/x"):
        answer = browser.get(f"/nightshift/{path}")
        assert (path, answer.status_code) == (path, 404)
        assert "<h1>" in answer.text


@pytest.mark.parametrize("name", ["scheduler", "postgres"])
def test_a_dead_process_is_started_again(server: Server, name: str) -> None:
    found = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", name], capture_output=True, text=True, check=True
    )
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    wait_for("the restart", lambda: f"{name} started again" in server.output.read_text(), seconds=30)
    wait_for("good health", lambda: _is_healthy(server), seconds=60)


def _is_healthy(server: Server) -> bool:
    status, parts = server.call("GET", "/api/v2/monitor/health")
    return status == 200 and {part["status"] for part in parts.values()} == {"healthy"}


def test_ctrl_c_stops_everything_within_seconds(server: Server) -> None:
    """Last: it ends the server."""
    family = _family(server.process.pid)
    assert len(family) > 5
    asked = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 0
    assert time.monotonic() - asked < 30
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []


def _family(pid: int) -> list[int]:
    """All descendants of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *_family(child))]
