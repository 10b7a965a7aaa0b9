"""`corral migrate check`: scans live BullMQ queues and reports what would behave differently under Corral.

Reads only, in pages, and runs no script: a Redis user with read access is enough.
"""
