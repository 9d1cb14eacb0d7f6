"""Logs for people: one line per event, and a failure's own words instead of where in the code it was raised."""

from __future__ import annotations

import logging
from contextlib import suppress

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.runtime import LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig

_CORE = ",".join(
    (
        "ERROR",
        *(f"{name}=WARN" for name in ("temporalio_common", "temporalio_sdk_core", "temporalio_client")),
        "temporal_sdk_bridge=WARN",
        # A line for each try of each poller, thousands in an hour: that Temporal is away is said by us, once.
        "temporalio_client::retry=OFF",
        "temporalio_sdk_core::worker::heartbeat=OFF",
    )
)
"""What the SDK's core may log, by its modules."""

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _Formatter(logging.Formatter):
    """Leaves the traceback away where the exception is an answer (ApplicationError) and no surprise."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, ApplicationError):
            return super().format(record)
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = f"{record.getMessage()}: {error}", None
        return super().format(record)


def set_up(metrics: str = "") -> None:
    """Log to the standard error, from INFO on; httpx's line per request is not worth one.

    To be called before anything of Temporal's is used.

    Args:
        metrics: address and port where Prometheus finds the SDK's metrics, "" for nowhere.
    """
    prometheus = PrometheusConfig(bind_address=metrics) if metrics else None
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=_CORE), metrics=prometheus)))
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False


def leave_to_the_command() -> None:
    """Keep the SDK's core silent, unless something has chosen already: a command says itself what went wrong."""
    with suppress(RuntimeError):
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter="OFF"))))
