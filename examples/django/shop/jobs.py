"""The queue, its job and the job's processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.mail import send_mail
from django.db import close_old_connections, transaction
from django.utils import timezone
from msgspec import Struct

from engine import Backoff, Job, SyncQueue, processor
from examples.django.shop.models import Order

queue = SyncQueue(**settings.CORRAL)
"""Connects at the first call, in each process that the web server forks."""


class Placed(Struct, rename="camel"):
    order_id: int


@processor("confirmation", attempts=5, backoff=Backoff("exponential", 1_000))
def confirm(job: Job[Placed]) -> str:
    """Send an order's confirmation.

    Idempotent: `confirmed_at` is written in the transaction that sends the mail, and an order that has it is left alone.
    A crash between the mail and the commit still sends a second mail; where that matters, give the mail provider the job's
    id as its idempotency key.
    """
    with database_connection(), transaction.atomic():
        order = Order.objects.select_for_update().get(pk=job.data.order_id)
        if order.confirmed_at is not None:
            return "was confirmed before"
        send_mail(f"Your order {order.pk}", f"We send you: {order.item}.", "shop@example.com", [order.email])
        order.confirmed_at = timezone.now()
        order.save(update_fields=["confirmed_at"])
    return "confirmed"


@contextmanager
def database_connection() -> Iterator[None]:
    """Close connections that are broken or too old, as Django does around a request; a job runs in a thread of the worker."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def add_confirmation(order: Order) -> None:
    """Add the job of an order, once: a second call with the same order finds the first job by its id."""
    queue.add(confirm, Placed(order.pk), job_id=f"order-{order.pk}")
