"""The addresses of the example."""

from django.urls import path

from examples.django.shop.views import place_order, read_order

urlpatterns = [
    path("orders/", place_order),
    path("orders/<int:pk>/", read_order, name="order"),
]
