"""Placing and reading orders."""

from __future__ import annotations

from django import forms
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from examples.django.shop.jobs import add_confirmation, queue
from examples.django.shop.models import Order


class OrderForm(forms.ModelForm):
    card = forms.CharField(max_length=19)

    class Meta:
        model = Order
        fields = ("email", "item")


class Declined(Exception):
    """The card was not accepted."""


@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    form = OrderForm(request.POST)
    if not form.is_valid():
        return JsonResponse(form.errors, status=400)
    try:
        with transaction.atomic():
            order = form.save()
            # Not before the commit: the worker would not find the order, or would confirm one that is rolled back.
            # robust: without Redis the order stands all the same, and `manage.py confirm_orders` adds its job later.
            transaction.on_commit(lambda: add_confirmation(order), robust=True)
            charge(form.cleaned_data["card"])
    except Declined:
        return JsonResponse({"error": "the card was declined"}, status=402)
    return JsonResponse({"id": order.pk}, status=202, headers={"Location": reverse("order", args=[order.pk])})


@require_GET
def read_order(request: HttpRequest, pk: int) -> JsonResponse:
    order = get_object_or_404(Order, pk=pk)
    job = queue.get_job(f"order-{pk}")
    return JsonResponse({"id": pk, "confirmed_at": order.confirmed_at, "job": job and job.state()})


def charge(card: str) -> None:
    """Stands for a payment provider."""
    if card.startswith("0"):
        raise Declined
