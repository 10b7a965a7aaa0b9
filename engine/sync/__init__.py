"""Blocking API for code without an event loop: SyncQueue, SyncJob and the rest, with the names of the async API."""
