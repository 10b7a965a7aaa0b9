"""Values and rules without I/O: what a job, an option, a schedule and a payload are."""
