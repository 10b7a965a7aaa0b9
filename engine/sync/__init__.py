"""The same faces for code without an event loop."""
