"""`corral demo`: see run.py."""
