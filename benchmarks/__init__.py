"""How fast the engine is and what it costs, beside its rivals. README.md says how to run and to read it."""
