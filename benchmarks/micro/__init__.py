"""Micro-benchmarks: each script alone (scripts.py), each encoding and decoding step of the client alone (client.py)."""
