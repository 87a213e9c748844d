"""What a model's shape contradicts in itself."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.divisibility import check_division, count_in_shape
from parc.check.registry import Finding, rule
from parc.diagnostic import Label
from parc.plan.blocks import Plan


@rule("P221")
def uneven_head_groups(plan: Plan) -> Iterator[Finding]:
    """The number of query heads is not divisible by the number of key-value heads.

    In grouped-query attention, each key-value head serves the same number of query heads.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, heads = 16, kv_heads = 6, experts = 8 }
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, heads = 16, kv_heads = 4, experts = 8 }
        }
    """
    shape = plan.train.model.shape
    if shape.heads and shape.kv_heads:
        yield from check_division(count_in_shape(plan, "heads"), count_in_shape(plan, "kv_heads"))


@rule("P222")
def hidden_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """The hidden width is not divisible by the number of heads.

    If `head_dim` is not given, it is the hidden width divided by the number of heads.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, hidden = 1000, heads = 16, experts = 8 }
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, hidden = 1024, heads = 16, experts = 8 }
        }
    """
    shape = plan.train.model.shape
    if shape.hidden and shape.heads and shape.head_dim is None and not shape.latent:
        yield from check_division(count_in_shape(plan, "hidden"), count_in_shape(plan, "heads"))


@rule("P223")
def top_k_exceeds_experts(plan: Plan) -> Iterator[Finding]:
    """`top_k` is larger than the number of experts.

    A token is routed to `top_k` different experts.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, experts = 8, top_k = 9 }
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, experts = 8, top_k = 2 }
        }
    """
    shape = plan.train.model.shape
    if shape.experts and shape.top_k and shape.top_k > shape.experts:
        yield Finding(
            f"a token goes to {shape.top_k:,} of only {shape.experts:,} experts",
            (
                Label(shape.at("top_k"), f"chooses {shape.top_k:,}"),
                Label(shape.at("experts"), f"of {shape.experts:,}", primary=False),
            ),
        )


@rule("P224")
def too_many_dense_layers(plan: Plan) -> Iterator[Finding]:
    """`dense_layers`, `expert_layers` or `attention_layers` is larger than the number of layers.

    `dense_layers` is how many of the first layers have no experts, `expert_layers` how many layers have
    experts, `attention_layers` how many have attention.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, dense_layers = 17, experts = 8 }
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, dense_layers = 1, experts = 8 }
        }
    """
    shape = plan.train.model.shape
    if shape.layers is None:
        return
    layers = Label(shape.at("layers"), f"{shape.layers:,} layers", primary=False)
    if shape.dense_layers > shape.layers:
        dense = Label(shape.at("dense_layers"), f"{shape.dense_layers:,} dense layers")
        yield Finding(f"{shape.dense_layers:,} of {shape.layers:,} layers are dense", (dense, layers))
    for key, count in (("expert", shape.expert_layers), ("attention", shape.attention_layers)):
        have = "experts" if key == "expert" else key
        if count is not None and count > shape.layers:
            more = Label(shape.at(f"{key}_layers"), f"{count:,} have {have}")
            yield Finding(f"{count:,} of {shape.layers:,} layers have {have}", (more, layers))
