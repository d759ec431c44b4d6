"""docker/ without a Docker engine: what the files promise, and what would only show when somebody starts them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.home import REPOSITORY, Home
from pipelines.settings import load_environment

DOCKER = REPOSITORY / "docker"
BESIDE = Path(sys.executable).parent  # the programs of this environment
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
EXAMPLE = dict(
    line.split("=", 1) for line in (DOCKER / ".env.example").read_text().splitlines() if re.match(r"[A-Z_0-9]+=", line)
)
PINNED = re.compile(r".+:(\d+\.\d+(\.\d+)?)(-[a-z0-9.]+)*$")
every_service = pytest.mark.parametrize("name", SERVICES)


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "NIGHTSHIFT", "MLFLOW"))}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=given | variables, check=False)


def test_the_dockerfile_passes_its_linter() -> None:
    found = run(BESIDE / "hadolint", DOCKER / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")


def test_the_compose_file_follows_the_compose_specification() -> None:
    found = run(BESIDE / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    assert found.returncode == 0, found.stdout


def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    if not shutil.which("docker") or run("docker", "compose", "version").returncode:
        pytest.skip("this machine's docker client has no 'compose'; the schema and the tests below stand in for it")
    run(
        sys.executable,
        "-c",
        f"import make_secrets as m, pathlib; m.main(pathlib.Path('{tmp_path}'))",
        PYTHONPATH=str(DOCKER),
    )
    files = ("--file", str(DOCKER / "compose.yaml"), "--env-file", str(DOCKER / ".env.example"))
    found = run("docker", "compose", *files, "--profile", "gpu", "config", "--quiet")
    assert found.returncode == 0, found.stderr


@every_service
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in ("0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert service["stop_grace_period"]
    assert service["restart"] == ("no" if name == "prepare" else "unless-stopped")


@every_service
def test_a_service_has_limits_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    if name != "prepare":
        assert {"test", "interval", "timeout", "start_period", "retries"} <= set(service["healthcheck"])


@every_service
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image.endswith(":${NIGHTSHIFT_VERSION}") if "build" in SERVICES[name] else PINNED.match(image)


def test_bases_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert [base for base in bases if base not in stages and not PINNED.match(base)] == []


def final_stages() -> dict[str, list[str]]:
    """Instructions of each stage that is an image, those of the stages below it first."""
    stages: dict[str, list[str]] = {}
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]:
        base, name = re.match(r"(\S+) AS (\S+)", stage).groups()  # type: ignore[union-attr]
        lines = re.sub(r"\\\n\s*", "", stage).splitlines()[1:]
        stages[name] = [*stages.get(base, []), *(line for line in lines if line and not line.startswith("#"))]
    return {
        service["build"]["target"]: stages[service["build"]["target"]]
        for service in SERVICES.values()
        if "build" in service
    }


@pytest.mark.parametrize("target", final_stages())
def test_an_image_runs_as_nobody_and_hears_sigterm(target: str) -> None:
    lines = final_stages()[target]
    assert lines.index("USER 50000:0") > max(index for index, line in enumerate(lines) if line.startswith("RUN "))
    for word in ("ENTRYPOINT", "CMD"):
        assert [line for line in lines if line.startswith(word)][-1].startswith(f"{word} [")  # no shell in between
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert not any("apt-get" in line for line in lines)


def test_no_image_forbids_bytecode_or_holds_a_secret() -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in DOCKERFILE
    assert not re.search(r"^(ARG|ENV).*(PASSWORD|SECRET|TOKEN|KEY)", DOCKERFILE, flags=re.MULTILINE)


@pytest.mark.parametrize("place", ["docker/secrets/X", "docker/.env", "home/ledger.db", ".git/config"])
def test_secrets_and_data_stay_out_of_a_build(place: str) -> None:
    """The first line shuts everything out; no later one lets these in again."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert not any(Path("/", place).match(f"/{pattern}") or place.split("/")[0] == pattern for pattern in allowed)


def test_what_the_dockerfile_copies_exists_and_is_let_in() -> None:
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE)
        for word in line.split()[:-1]
    }
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word in copied:
        assert (REPOSITORY / word).exists(), word
        assert any(Path("/", word).match(f"/{pattern}") for pattern in allowed), word


def test_only_the_two_uis_are_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "mlflow": ["127.0.0.1:${MLFLOW_PORT}:5000"],
        "api-server": ["127.0.0.1:${AIRFLOW_PORT}:8080"],
    }
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == set(published)


def test_services_wait_for_services_that_exist() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            completes = condition["condition"] == "service_completed_successfully"
            assert completes == (other == "prepare"), f"{name} waits for {other}"


def test_every_variable_is_explained_and_used() -> None:
    text = "\n".join(line.split(" #")[0] for line in (DOCKER / "compose.yaml").read_text().splitlines())
    assert set(re.findall(r"(?<!\$)\$\{([A-Z_0-9]+)", text)) == set(EXAMPLE)
    assert all(EXAMPLE.values())


def test_no_secret_stands_in_the_compose_file() -> None:
    """Addresses with passwords in them are secrets, too."""
    for service in SERVICES.values():
        given = set(service.get("environment", {}))
        assert not given & set(COMPOSE["secrets"])
        assert not re.search(r"://[^/ ]*:[^/ ]*@", json.dumps(service))
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_workers_cannot_sign_tokens() -> None:
    for name in ("worker", "worker-gpu"):
        assert not {"AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY"} & set(SERVICES[name]["secrets"])


def test_secrets_are_made_once_and_for_the_owner(tmp_path: Path) -> None:
    """A second call keeps what is there; the addresses hold the passwords of the servers."""
    folder = tmp_path / "secrets"
    make = f"import make_secrets, pathlib; make_secrets.main(pathlib.Path({str(folder)!r}))"
    assert run(sys.executable, "-c", make, PYTHONPATH=str(DOCKER)).returncode == 0
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert run(sys.executable, "-c", make, PYTHONPATH=str(DOCKER)).returncode == 0
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert set(first) == set(COMPOSE["secrets"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert f":{first['POSTGRES_PASSWORD']}@postgres:5432/ledger" in first["NIGHTSHIFT_LEDGER_URL"]
    assert f">{first['REDISCLI_AUTH']} " in first["redis.acl"]
    assert json.loads(first["s3.json"])["identities"][0]["credentials"] == [
        {"accessKey": first["AWS_ACCESS_KEY_ID"], "secretKey": first["AWS_SECRET_ACCESS_KEY"]}
    ]


@pytest.fixture
def secrets(tmp_path: Path) -> Mapping[str, str]:
    """Variables of a container whose secrets are mounted, with a home of its own."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in load_environment(REPOSITORY / "config", "cluster").requires:
        (folder / name).write_text("s3://bucket/data\n")
    (folder / "s3.json").write_text("{}")  # no variable: its name is a file's
    return {
        "NIGHTSHIFT_SECRETS": str(folder),
        "NIGHTSHIFT_HOME": str(tmp_path / "home"),
        "NIGHTSHIFT_ENVIRONMENT": "cluster",
    }


def entrypoint(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, DOCKER / "entrypoint.py", *command, PYTHONPATH=str(REPOSITORY), **variables)


def test_secrets_become_variables_and_airflow_gets_the_settings_of_the_cluster(secrets: Mapping[str, str]) -> None:
    found = entrypoint("env", **secrets)
    variables = dict(line.split("=", 1) for line in found.stdout.splitlines() if "=" in line)
    assert variables["NIGHTSHIFT_LEDGER_URL"] == "s3://bucket/data"
    assert variables["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert variables["AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS"] == "30"
    assert "s3.json" not in variables


def test_a_variable_of_the_container_wins_over_a_secret(secrets: Mapping[str, str]) -> None:
    assert "NIGHTSHIFT_STORAGE=s3://mine\n" in entrypoint("env", **secrets, NIGHTSHIFT_STORAGE="s3://mine").stdout


@pytest.mark.parametrize("server", ["api-server", "scheduler", "dag-processor", "triggerer"])
def test_a_server_does_not_make_up_keys_of_its_own(secrets: Mapping[str, str], server: str) -> None:
    found = entrypoint("airflow", server, **secrets)
    assert found.returncode == 1
    assert found.stderr.startswith(f"E-CONFIG-VARIABLE {server}: ")
    assert "AIRFLOW__CORE__FERNET_KEY" in found.stderr


def test_an_environment_without_its_addresses_does_not_start(secrets: Mapping[str, str]) -> None:
    Path(secrets["NIGHTSHIFT_SECRETS"], "NIGHTSHIFT_LEDGER_URL").unlink()
    found = entrypoint("airflow", "version", **secrets)
    assert found.returncode == 1
    assert "NIGHTSHIFT_LEDGER_URL" in found.stderr


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of ours in compose file and images, its variables replaced by those of the example."""
    for name, service in SERVICES.items():
        words = [re.sub(r"\$\{([A-Z_]+)\}", lambda found: EXAMPLE[found[1]], word) for word in service["command"]]
        if words[0] in ("airflow", "mlflow"):
            yield name, words
    for target, lines in final_stages().items():
        words = json.loads([line for line in lines if line.startswith("CMD ")][-1].removeprefix("CMD "))
        if words[0] in ("airflow", "mlflow"):
            yield f"image {target}", words


@pytest.mark.slow
def test_every_command_is_understood(tmp_path: Path) -> None:
    """The parsers of the real programs read every option."""
    found = dict(commands())
    assert {"api-server", "scheduler", "worker", "worker-gpu", "mlflow", "image worker-cuda"} <= set(found)
    airflow = [words[1:] for words in found.values() if words[0] == "airflow"]
    airflow += [
        service["healthcheck"]["test"][3:] for service in SERVICES.values() if "jobs" in str(service["healthcheck"])
    ]
    code = "import sys, json; from airflow.cli.cli_parser import get_parser; parser = get_parser()\n"
    code += "for words in json.loads(sys.argv[1]): parser.parse_args(words)"
    settings = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}
    parsed = run(sys.executable, "-c", code, json.dumps(airflow), **settings)
    assert parsed.returncode == 0, parsed.stderr[-500:]
    code = "import sys, json; from mlflow.cli import cli\n"
    code += "for words in json.loads(sys.argv[1]): cli.commands['server'].make_context('server', words)"
    parsed = run(
        sys.executable, "-c", code, json.dumps([words[2:] for words in found.values() if words[0] == "mlflow"])
    )
    assert parsed.returncode == 0, parsed.stderr[-500:]


def test_mlflow_answers_to_its_name_with_and_without_a_port() -> None:
    option = next(word for word in SERVICES["mlflow"]["command"] if word.startswith("--allowed-hosts="))
    assert {"mlflow", "mlflow:*", "127.0.0.1:*"} <= set(option.split("=")[1].split(","))
    assert SERVICES["worker"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_redis_forgets_no_task() -> None:
    words = SERVICES["redis"]["command"]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings["--appendonly"] == "yes"
    assert settings["--appendfsync"] == "always"
    assert settings["--maxmemory-policy"] == "noeviction"


def test_a_gpu_worker_takes_one_task_at_a_time_and_asks_for_a_gpu() -> None:
    service = SERVICES["worker-gpu"]
    assert service["profiles"] == ["gpu"]
    assert service["command"][-2:] == ["--concurrency", "1"]
    assert "gpu" in service["command"][service["command"].index("--queues") + 1].split(",")
    devices = service["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "${GPU_COUNT}", "capabilities": ["gpu"]}]


def test_cuda_images_have_the_versions_of_the_lock() -> None:
    """A model fitted on a GPU is scored on a CPU: libraries differ in their build alone."""

    def pins(*files: str) -> dict[str, str]:
        lines = [line.split("#")[0].strip() for file in files for line in (REPOSITORY / file).read_text().splitlines()]
        return dict(line.split("==") for line in lines if "==" in line)

    lock, cuda = pins("constraints.txt", "requirements-torch.txt"), pins("docker/constraints-cuda.txt")
    assert (cuda["xgboost"], cuda["torch"]) == (lock["xgboost-cpu"], lock["torch"])
    assert {name: cuda[name] for name in cuda if name in lock} == {name: lock[name] for name in cuda if name in lock}
    assert {"nvidia-cublas", "triton"} <= set(cuda)


# --- Kubernetes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((DOCKER / "kubernetes" / "values.yaml").read_text())
    return parsed


def test_the_values_fit_the_image_and_the_environment(values: Mapping[str, Any]) -> None:
    environment = load_environment(REPOSITORY / "config", "kubernetes")
    home = Home(root=Path("/var/lib/nightshift"), config=REPOSITORY / "config")
    assert values["executor"] == environment.airflow["core"]["executor"]
    assert values["airflowHome"] == str(home.airflow)
    assert (values["uid"], values["gid"]) == (50000, 0)
    assert f"apache-airflow=={values['airflowVersion']}" in (REPOSITORY / "constraints.txt").read_text()
    assert values["airflowLocalSettings"] is None
    assert values["config"]["kubernetes_executor"]["worker_container_repository"] == ""
    assert {entry["name"]: entry["value"] for entry in values["env"]}["NIGHTSHIFT_ENVIRONMENT"] == "kubernetes"


def test_the_values_hold_no_secret(values: Mapping[str, Any]) -> None:
    forbidden = {"fernetKey", "apiSecretKey", "jwtSecret", "webserverSecretKey", "password", "pass"}
    assert not forbidden & set(re.findall(r'"(\w+)":', json.dumps(values)))


def test_the_gpu_pod_asks_for_a_gpu_where_there_is_one() -> None:
    pod = yaml.safe_load((DOCKER / "kubernetes" / "pods" / "gpu.yaml").read_text())
    container = pod["spec"]["containers"][0]
    assert (pod["kind"], pod["spec"]["restartPolicy"], container["name"]) == ("Pod", "Never", "base")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["spec"]["nodeSelector"]
    assert [entry["key"] for entry in pod["spec"]["tolerations"]] == ["nvidia.com/gpu"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["spec"]["volumes"]
    }


@pytest.mark.slow
def test_a_queue_gets_its_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "plugins"))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    code = (
        "from nightshift_resources import task_arguments; from pipelines.settings import load_pipeline;"
        "from pathlib import Path; pipeline = load_pipeline('card_payments', Path('config').absolute());"
        "print(*(task_arguments(pipeline, step)['executor_config'] for step in ('train', 'ingest')))"
    )
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")])
    given = {"NIGHTSHIFT_POD_TEMPLATES": str(DOCKER / "kubernetes" / "pods"), "NIGHTSHIFT_ENVIRONMENT": "kubernetes"}
    found = run(sys.executable, "-c", code, PYTHONPATH=paths, AIRFLOW_HOME=str(tmp_path), **given)
    assert found.stdout.strip() == f"{{'pod_template_file': '{DOCKER / 'kubernetes' / 'pods' / 'gpu.yaml'}'}} {{}}"
