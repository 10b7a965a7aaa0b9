"""How a Lua script is found, composed, checked against its binding, and called; what bindings share."""
