"""The form of `launch`."""

from __future__ import annotations

from parc.plan.schema.form import Form

LAUNCH = Form(
    "launch",
    "The launch file of a plan for a scheduler.",
    dataclass="Launch",
    head=("label", "for"),
    open=True,
)
