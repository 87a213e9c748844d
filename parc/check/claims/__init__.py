"""`expect { .. }`: claims of a plan, each judged with the derived figure and how it was derived.

`verdict.py` judges; `figures.py` finds what derives a subject, in `counts.py`, `groups.py` and `prices.py`;
`remedies.py` says what would make a false claim true.
"""
