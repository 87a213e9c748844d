"""Pipeline schedules: the order of passes, what is in flight, when each pass runs."""
