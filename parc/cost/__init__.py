"""What a plan costs before it runs: memory, traffic and time, from its `shape` alone.

`job.py` is what is known, `plan.py` maps a resolved plan to it. `parameters.py`, `memory.py` and `traffic.py`
give bytes (with `moves.py`, `gradients.py`), and `program.py` those of a compiled program, from its events;
`parts.py` (with `attention.py`, `layer.py`), `compute.py`, `network.py`, `passes.py`, `schedule.py` (with
`orders.py`, `split.py`), `timeline.py` and `step.py` give seconds; `explain.py` gives both as figures that
say how they came about. What no data sheet says is in `constants.py`, fitted by `fit.py`; `validate/` holds
the predictions against measured runs.
"""
