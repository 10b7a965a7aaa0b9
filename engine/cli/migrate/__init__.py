"""`corral migrate check`: what a live keyspace of BullMQ's holds, and what of it would behave differently here.

Only reads, in pages, and runs no script: an account that may do nothing but read is enough.
"""
