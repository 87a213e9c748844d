"""Around the training: options, processes and their connection, progress, metrics, the watchdog."""
