"""Settings of the example; the entry for the queue is CORRAL."""

import os

DEBUG = False
SECRET_KEY = "only-for-this-example"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "examples.django.urls"
INSTALLED_APPS = ["examples.django.shop"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
        # The worker and the web server write: a transaction waits for the other one from its start.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"  # the worker prints the mails

CORRAL = {"name": "confirmation-queue", "redis": os.environ.get("REDIS_URL", "redis://localhost:6379/0")}
"""Arguments of the SyncQueue. The worker reads REDIS_URL, too."""
