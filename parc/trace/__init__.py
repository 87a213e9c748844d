"""What every rank sends in one optimizer step: derived from the events, and matched across ranks."""
