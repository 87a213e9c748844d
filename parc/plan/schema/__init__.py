"""The blocks of a plan file, and what each of them may hold: the one list of keys."""

from __future__ import annotations

from parc.plan.schema.cluster import CLUSTER, MACHINE
from parc.plan.schema.form import Form
from parc.plan.schema.plan import LAUNCH, PLAN
from parc.plan.schema.train import MODEL, TRAIN

TOP: dict[str, Form] = {form.kind: form for form in (MACHINE, CLUSTER, MODEL, TRAIN, PLAN, LAUNCH)}
