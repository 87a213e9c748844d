"""What a plan costs before it runs: memory, traffic and time, from the `shape` of its model alone.

`job/` describes a training job; `work/` has what a rank does for one microbatch. `memory/` and `network/`
count bytes, `schedule/` orders the passes of a pipeline, `timing/` predicts seconds. `explain.py` gives all
of them as figures with a derivation and a grade (`figure.py`). `program.py` counts the bytes of a compiled
program instead, from its events. `validate/` compares predictions with the measured runs in `data/`.
"""
