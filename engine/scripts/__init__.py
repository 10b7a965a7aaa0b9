"""Bindings: one module for each Lua script, with one typed function. Reply codes become values or exceptions here and nowhere else."""
