"""The specification's face: JobQueueService and ServiceRegistry."""
