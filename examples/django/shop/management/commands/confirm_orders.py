"""`manage.py confirm_orders`, for cron: adds the jobs of orders that have none."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from examples.django.shop.jobs import add_confirmation
from examples.django.shop.models import Order


class Command(BaseCommand):
    help = (
        "Add the confirmation of each order without one: its job was not added if Redis was away or the server crashed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        orders = Order.objects.filter(confirmed_at=None)
        for order in orders.iterator():
            add_confirmation(order)
        self.stdout.write(f"orders without a confirmation: {orders.count()}")
