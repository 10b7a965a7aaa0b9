"""Options of a Worker from the settings: retention, metrics, grace times, dead letters."""

from __future__ import annotations

import logging
from typing import Any

from engine.settings import Settings
from engine.worker.loops.dead_letter_alert import DeadLetterAlert

logger = logging.getLogger("engine.worker")


def worker_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for Worker; a setting that is not given is left out, so that the Worker's default holds."""
    given = {
        "metrics": settings.metrics,
        "cancel_grace": settings.cancel_grace,
        "dead_letters": settings.dead_letters,
        "remove_on_complete": settings.remove_on_success if "remove_on_success" in settings.given else None,
        "remove_on_fail": settings.remove_on_failure if "remove_on_failure" in settings.given else None,
    }
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if settings.dead_letter_alert is not None:
        found["dead_letter_alert"] = (settings.dead_letter_alert, log_alert)
    return found


def log_alert(alert: DeadLetterAlert) -> None:
    """Log the alert as an error."""
    logger.error(
        "%s has %d dead letters, more than %d: see `corral dead-letters %s groups`",
        alert.queue,
        alert.count,
        alert.threshold,
        alert.queue,
    )
