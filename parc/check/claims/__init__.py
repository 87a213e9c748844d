"""`expect { .. }`: claims of a plan, each judged with the derived figure and its derivation.

`verdict.py` judges; `figures.py` finds what derives a subject, in `counts.py`, `groups.py` and `prices.py`.
"""
