"""What a plan costs before it runs: memory, traffic and time, from its `shape` alone.

`job.py` is what is known, `plan.py` maps a resolved plan to it. Bytes come out of `parameters.py` and
`memory.py`, seconds out of `compute.py`, `network.py`, `layer.py`, `schedule.py` and `step.py`; `explain.py`
says how, as `figure.py` has it. Constants that no data sheet gives are in `constants.py`, fitted by `fit.py`.
"""
