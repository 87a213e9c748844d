"""Tables, tensors made from nothing, and the loss over a vocabulary."""

from __future__ import annotations

from parc.capture.graph import get_argument
from parc.ir.states import FREE, I, P, R, S, State, join_states
from parc.shard.rules import ANY_ARGUMENT, Conflict, Decision, Site, keep_alike, rule, settle


@rule("aten::embedding", knows=("padding_idx", "scale_grad_by_freq"))
def embed(site: Site) -> Decision:
    """weight (rows, H), indices (..) -> (.., H).

    A table that the data indexes is cut by rows: each rank adds its own.
    """
    weight, indices = site.operands
    if get_argument(site.node, "scale_grad_by_freq"):
        raise Conflict("an embedding whose gradient depends on how often a row occurs has no rule")
    at = settle(indices)
    if at.sharded:
        return Decision([R, at], [at])
    if weight.state == FREE and indices.varies:
        return Decision([S(0), at], [P])
    if weight.state.sharded and weight.state.dim == 0:
        if weight.state.blocks > 1:
            raise Conflict("a table is cut in one block a rank", [0])
        return Decision([weight.state, at], [P])
    if weight.state.sharded:
        return Decision([weight.state, at], [S(len(indices.shape), weight.state.blocks)])
    if indices.settled.sharded and indices.varies:  # the sequence is sharded from here on
        return Decision([R, indices.settled], [indices.settled])
    state = join_states(map(settle, site.operands))
    return Decision([state, at], [state])


@rule("aten::one_hot", knows=("num_classes",))
def encode_one_hot(site: Site) -> Decision:
    """Adds a dim behind the others."""
    return keep_alike(site, settle(site.operands[0]))


@rule("aten::cross_entropy_loss", knows=("reduction", "ignore_index", "label_smoothing"))
def measure_loss(site: Site) -> Decision:
    """logits (N, V), labels (N).

    With V sharded the ranks exchange maxima and sums; over N it is a sum like any other.
    """
    if len(site.operands) != 2 or len(site.operands[0].shape) != 2 or len(site.operands[1].shape) != 1:
        reason = "cross-entropy has a rule for logits (N, V) and labels (N), without class weights"
        weights = "F.embedding(labels, weight[:, None]).squeeze(-1)"
        raise Conflict(reason, cure=f'weight the losses of `reduction="none"` by hand, with `{weights}`')
    if get_argument(site.node, "label_smoothing"):
        cure = "add `label_smoothing` times the mean of `-F.log_softmax(logits, -1)` to the loss by hand"
        raise Conflict("cross-entropy with label smoothing has no rule", cure=cure)
    logits, labels = site.operands
    at = _require_sum(labels.state)
    state = at if at.sharded and not logits.state.sharded else settle(logits)
    if state.sharded and state.dim == 1:
        if state.blocks > 1:
            raise Conflict("a vocabulary is cut in one block a rank", [0])
        return Decision([state, R if at.sharded else at], [I])
    if state.sharded:
        return Decision([state, state], [state if get_argument(site.node, "reduction") == 0 else P])
    return Decision([state, at], [state])


def _require_sum(state: State) -> State:
    """The state of numbers that are read and never differentiated: a sum of them must be whole."""
    return R if state.partial else state


@rule(
    *("aten::zeros", "aten::ones", "aten::full", "aten::arange", "aten::eye", "aten::scalar_tensor"),
    "aten::empty",
    knows=ANY_ARGUMENT,
)
def make_constant(site: Site) -> Decision:
    """Every rank makes the same."""
    return Decision([], [I])


@rule("aten::new_zeros", "aten::new_ones", "aten::new_full", "aten::new_empty", knows=ANY_ARGUMENT)
def make_constant_beside(site: Site) -> Decision:
    """Of the operand only dtype and device are read."""
    return Decision(site.states, [I])


@rule("aten::zeros_like", "aten::ones_like", "aten::full_like", knows=ANY_ARGUMENT)
def make_constant_like(site: Site) -> Decision:
    """Of the operand only the shape is read."""
    state = site.operands[0].state
    return Decision([state], [state if state.sharded else I])
