"""The daemon around workers: arguments, supervisor, signals, health, logs."""
