"""Processes that run a program: its ranks under a watchdog, forked calls, time limits."""
