"""Where a processor's function runs: threads, child processes, batches."""
