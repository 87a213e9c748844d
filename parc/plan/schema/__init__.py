"""The blocks of a plan file, and what each of them may hold: the one list of keys."""

from __future__ import annotations

from parc.plan.schema.farm import CLUSTER, MACHINE
from parc.plan.schema.form import Form
from parc.plan.schema.what import MODEL, TRAIN
from parc.plan.schema.where import LAUNCH, PLAN

TOP: dict[str, Form] = {form.kind: form for form in (MACHINE, CLUSTER, MODEL, TRAIN, PLAN, LAUNCH)}
