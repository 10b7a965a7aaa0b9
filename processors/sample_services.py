"""Samples of a function and a service for generic tasks: used by the demo; replace them by your own.

They compute from their arguments only and touch nothing outside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from engine import ServiceRegistry, TaskContext


class Report(Struct, rename="camel"):
    """Result of `generateReport`."""

    title: str
    tenant: str
    filters: dict[str, Any]
    generated_at: datetime


def generate_report(
    kind: Literal["leads", "bookings", "users"], filters: dict[str, Any], *, context: TaskContext
) -> Report:
    """A report's title and filters. A plain function, so the registry runs it in a thread."""
    words = ", ".join(f"{name} = {value}" for name, value in filters.items()) or "all"
    return Report(f"{kind.capitalize()}: {words}", context.sub_account_id, filters, datetime.now(UTC))


class Synced(Struct, rename="camel"):
    """Result of `ContactsService.sync`."""

    integration_id: int
    tenant: str
    contacts: int


class ContactsService:
    """Synchronizes contacts with another system."""

    def __init__(self, contacts_of: dict[int, int] | None = None) -> None:
        """contacts_of: how many contacts each integration has; an unknown one has none."""
        self._contacts_of = contacts_of or {}

    async def sync(self, integration_id: int, *, context: TaskContext) -> Synced:
        """Sync one integration of the tenant."""
        return Synced(integration_id, context.sub_account_id, self._contacts_of.get(integration_id, 0))


def sample_registry() -> ServiceRegistry:
    """A registry with the samples: function `generateReport`, service `ContactsService` with method `sync`."""
    registry = ServiceRegistry()
    registry.register_function("generateReport", generate_report)
    registry.register_service("ContactsService", ContactsService({42: 128}), methods=["sync"])
    return registry
