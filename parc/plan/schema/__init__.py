"""The schema: the blocks of a plan file and what each may contain. It is the only list of keys."""

from __future__ import annotations

from parc.plan.schema.cluster import CLUSTER, MACHINE
from parc.plan.schema.form import Form
from parc.plan.schema.launch import LAUNCH
from parc.plan.schema.model import MODEL
from parc.plan.schema.plan import PLAN
from parc.plan.schema.train import TRAIN

TOP: dict[str, Form] = {form.kind: form for form in (MACHINE, CLUSTER, MODEL, TRAIN, PLAN, LAUNCH)}
