"""What runs beside a worker's jobs: renewals, the check for stalled jobs, wake-ups, schedules, alerts."""
