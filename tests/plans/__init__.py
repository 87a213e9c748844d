"""Plans as files. A file in one of these folders is a test:

- `pass/`: `parc check` reports nothing,
- `fail/`: `parc check` reports what is marked under the lines, and no more,
- `build/`: `parc build` reports what is marked in the plan and its model, or builds what computes the same,
- `compile/`: `parc build` reports nothing, and what it emits is verified, compiled and linted,
- `run/`: the emitted program trains as the model does on one device.

`library/` has what they import, `tests/models/` the models of the last two beside those of `examples/`.
"""
