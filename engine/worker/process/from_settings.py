"""What settings say of workers, as a Worker takes it. Where they say nothing, so does this."""

from __future__ import annotations

import logging
from typing import Any

from engine.settings import Settings
from engine.worker.loops.dead_letter_alert import DeadLetterAlert

logger = logging.getLogger("engine.worker")


def worker_options(settings: Settings) -> dict[str, Any]:
    """Options of a Worker for `metrics`, `cancel_grace`, `dead_letters` and `dead_letter_alert` of the settings."""
    asked = {name: getattr(settings, name) for name in ("metrics", "cancel_grace", "dead_letters")}
    found = {name: value for name, value in asked.items() if value is not None}
    if settings.dead_letter_alert is not None:
        found["dead_letter_alert"] = (settings.dead_letter_alert, log_alert)
    return found


def log_alert(alert: DeadLetterAlert) -> None:
    """Say it as an error in the log, where deployments listen for such lines."""
    logger.error(
        "%s has %d dead letters, more than %d: see `corral dead-letters %s groups`",
        alert.queue,
        alert.count,
        alert.threshold,
        alert.queue,
    )
