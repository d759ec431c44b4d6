"""Where everything of one installation lies: one folder, `--home` or NIGHTSHIFT_HOME."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.storage.files import Files, open_files

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """Paths below the home folder. Nothing here creates or reads anything."""

    root: Path
    config: Path

    @classmethod
    def resolve(cls, home: str | os.PathLike[str] | None = None, config: str | os.PathLike[str] | None = None) -> Home:
        """The home and configuration folder from arguments, else NIGHTSHIFT_HOME / NIGHTSHIFT_CONFIG, else defaults."""
        root = Path(home or os.environ.get("NIGHTSHIFT_HOME") or REPOSITORY / "home")
        folder = Path(config or os.environ.get("NIGHTSHIFT_CONFIG") or REPOSITORY / "config")
        return cls(root=root.expanduser().absolute(), config=folder.expanduser().absolute())

    @property
    def expectations(self) -> Path:
        """Suites lie beside the configuration folder, as in the repository."""
        return self.config.parent / "expectations"

    @property
    def storage(self) -> str:
        """Where tables, exports, staged work and reports lie: NIGHTSHIFT_STORAGE (`s3://bucket/prefix`), else home."""
        return (os.environ.get("NIGHTSHIFT_STORAGE") or str(self.root)).rstrip("/")

    @property
    def ledger_url(self) -> str:
        return os.environ.get("NIGHTSHIFT_LEDGER_URL") or f"sqlite:///{self.root / 'ledger.db'}"

    @property
    def mlflow_uri(self) -> str:
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlflow" / "artifacts"

    @property
    def airflow(self) -> Path:
        return self.root / "airflow"

    @property
    def scratch(self) -> Path:
        """Work of this machine alone; may be emptied whenever nothing runs."""
        return self.root / "scratch"

    def files(self, *parts: str) -> Files:
        """Files of the storage below a folder of these parts, e.g. `exports`, `reports`, `staging` or `models`."""
        return open_files(self.storage).at(*parts)

    def table(self, pipeline: str, table: str) -> str:
        return f"{self.storage}/tables/{pipeline}/{table}"

    def environment(self) -> dict[str, str]:
        """Variables that hand this home to a child process."""
        return {"NIGHTSHIFT_HOME": str(self.root), "NIGHTSHIFT_CONFIG": str(self.config)}
