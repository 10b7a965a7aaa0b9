"""Background jobs by type: JobQueueService adds and runs them, ServiceRegistry holds what generic tasks may call."""
