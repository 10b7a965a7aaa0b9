"""Small cases: each script alone (scripts.py), each encode and decode of the client alone (client.py)."""
