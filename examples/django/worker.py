"""Processors for `corral worker examples.django.worker:processors`, which starts Django first."""

from __future__ import annotations

import os
from typing import Any

import django


def processors() -> list[Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django.settings")
    django.setup()
    from examples.django.shop.jobs import confirm  # imports models, which need the line above

    return [confirm]
