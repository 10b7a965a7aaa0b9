"""`corral demo`: runs one job of every bundled type on a server of its own."""
