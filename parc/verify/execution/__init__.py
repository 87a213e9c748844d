"""Running emitted programs: as children, under a watchdog, in processes of their own."""
