"""The MLflow server of a run: its address, its client, and whether an error means that it does not answer."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from cotexp import credentials, extras
from cotexp.settings.base import ConfigError
from cotexp.settings.tracking import MlflowTracking
from cotexp.tracking.tracked_run import Unreachable

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Our defaults for variables that MLflow's client reads. It has no arguments for them. By itself it reports its use to its makers, and asks a server
that is away seven times for up to two minutes, with a warning each time; we ask again later."""
AWAY = (429, 502, 503, 504)
"""HTTP statuses of servers, or of proxies before them, that may answer later."""


def uri(tracking: MlflowTracking) -> str:
    """The address of the server; empty if there is none. It may contain a password from the environment, so it is never written or shown."""
    return tracking.uri or os.environ.get(URI, "").strip()


def shown_address(tracking: MlflowTracking) -> str:
    """The address of the server without user name, password and query."""
    return credentials.without_user(uri(tracking)).partition("?")[0]


def check(tracking: MlflowTracking) -> None:
    """Check that MLflow is installed and has an address. Raises: ConfigError."""
    extras.check("mlflow", "tracking=mlflow")
    if not uri(tracking):
        raise ConfigError(
            f"tracking=mlflow needs the address of a server: set tracking.uri or the environment variable {URI}, as in http://127.0.0.1:5000"
        )


def client(tracking: MlflowTracking) -> Any:
    """MLflow's client of the server. The first call imports MLflow, which takes seconds."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    made = import_module("mlflow").MlflowClient(tracking_uri=uri(tracking))
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    return made


@contextlib.contextmanager
def answers() -> Iterator[None]:
    """Raises: Unreachable in place of the errors of MLflow's client that mean that the server does not answer."""
    try:
        yield
    except Exception as error:
        if _is_away(error):
            raise Unreachable(_shortest(error)) from error
        raise


def _is_away(error: BaseException | None) -> bool:
    """Whether the server, or the way to it, caused an error or one behind it. MLflow's client wraps the errors of requests."""
    requests: Any = import_module("requests.exceptions")
    rest: Any = import_module("mlflow.exceptions").RestException
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, requests.ConnectionError | requests.Timeout | requests.ChunkedEncodingError):
            return True
        if isinstance(error, requests.HTTPError) and error.response is not None and error.response.status_code in AWAY:
            return True
        if isinstance(error, rest) and error.get_http_status_code() in AWAY:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _shortest(error: BaseException) -> str:
    """The innermost reason of an error, in one line."""
    while (behind := error.__cause__ or error.__context__) is not None:
        error = behind
    return " ".join(f"{type(error).__name__}: {error}".split())
