"""Makes the secrets of docker/compose.yaml, each in a file below docker/secrets/: `python3 docker/make_secrets.py`.

The folder is closed to everybody else on this machine; the files in it are readable, because the users inside the
containers are others than the one who starts them. What exists stays: a second call makes only what is missing.
Standard library only.
"""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "secrets"


def main(folder: Path = FOLDER) -> None:
    """Writes all files. The passwords come first: addresses are made of them."""
    folder.mkdir(mode=0o700, exist_ok=True)
    postgres = _kept(folder / "POSTGRES_PASSWORD", secrets.token_hex(24))
    redis = _kept(folder / "REDISCLI_AUTH", secrets.token_hex(24))
    key = _kept(folder / "AWS_ACCESS_KEY_ID", secrets.token_hex(10))
    secret = _kept(folder / "AWS_SECRET_ACCESS_KEY", secrets.token_hex(20))
    pair = {"accessKey": key, "secretKey": secret}
    identity = {"name": "nightshift", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List"]}
    files = {
        "redis.acl": f"user default on >{redis} ~* &* +@all\n",
        "s3.json": json.dumps({"identities": [identity]}),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _database(postgres, "airflow"),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{_database(postgres, 'airflow')}",
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{redis}@redis:6379/0",
        "NIGHTSHIFT_LEDGER_URL": _database(postgres, "ledger"),
        "MLFLOW_BACKEND_STORE_URI": _database(postgres, "mlflow"),
    }
    for name, value in files.items():
        _kept(folder / name, value)
    print(f"Secrets are in {folder}. They are not in git and not in an image; back them up with the data.")


def _database(password: str, name: str) -> str:
    return f"postgresql+psycopg2://nightshift:{password}@postgres:5432/{name}"


def _kept(path: Path, fresh: str) -> str:
    """What the file holds; `fresh` when there is none yet."""
    if not path.exists():
        path.write_text(fresh)
        path.chmod(0o444)
    return path.read_text()


if __name__ == "__main__":
    main()
