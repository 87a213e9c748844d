"""Products that sum over a dim: linear, matrix products, einsum, and attention."""

from __future__ import annotations

from string import ascii_lowercase

from parc.capture.graph import is_module_tensor
from parc.ir.states import FREE, I, P, R, S, State, join_states
from parc.shard.rules import Conflict, Decision, Site, keep_alike, require_whole, rule, settle, settle_all


@rule("aten::linear")
def linear(site: Site) -> Decision:
    """x (.., k), weight (n, k) or (k) -> (.., n) or (..). A bias has been split off."""
    batch = ascii_lowercase[: len(site.operands[0].shape) - 1]
    out = "y" if len(site.operands[1].shape) == 2 else ""
    return contract(site, batch + "z", out + "z", batch + out)


@rule("parc::grouped_linear")
def grouped_linear(site: Site) -> Decision:
    """x (rows, k), weight (experts, n, k) -> (rows, n); rows and experts are never sharded here."""
    return contract(site, "az", "eyz", "ay")


@rule("parc::grouped_matmul")
def grouped_matmul(site: Site) -> Decision:
    """x (rows, k), weight (experts, k, n) -> (rows, n)"""
    return contract(site, "az", "ezy", "ay")


@rule("aten::matmul", "aten::mm", "aten::bmm")
def matmul(site: Site) -> Decision:
    """Two matrices, or many, with broadcasting; a vector stands for a matrix of one row or one column."""
    left, right = (len(operand.shape) for operand in site.operands)
    batch = ascii_lowercase[: max(left, right, 2) - 2]
    row, column = "x" if left > 1 else "", "y" if right > 1 else ""
    return contract(
        site,
        batch[max(len(batch) - left + 2, 0) :] * (left > 2) + row + "z",
        batch[max(len(batch) - right + 2, 0) :] * (right > 2) + "z" + column,
        batch + row + column,
    )


@rule("aten::einsum", knows=("equation",))
def einsum(site: Site) -> Decision:
    equation = site.node.args[0]
    assert isinstance(equation, str)
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    repeated = any(len(set(term)) < len(term) for term in terms)
    if len(terms) != 2 or "." in equation or not arrow or repeated:
        reason = f"einsum `{equation}` has no rule: two operands without a diagonal, and a result have"
        return require_whole(site, reason)
    return contract(site, terms[0], terms[1], result)


def contract(site: Site, left: str, right: str, result: str) -> Decision:
    """The product of two operands whose dims are named by letters, summed over those that `result` lacks."""
    a, b = site.operands
    left, right = (  # what is broadcast has nothing to share
        "".join("_" if size == 1 else letter for letter, size in zip(letters, operand.shape, strict=True))
        for letters, operand in ((left, a), (right, b))
    )
    if a.state == FREE or b.state == FREE:
        return _decide_parameter(site, left, right, result)
    cuts = [_find_cut(a.state, left), _find_cut(b.state, right)]
    if cuts[0] and cuts[1]:
        if cuts[0] != cuts[1]:
            return _gather_tokens(site, left, right, result)
        return Decision([a.state, b.state], [_place_cut(cuts[0], result)])
    for place, cut in enumerate(cuts):
        if cut:
            other = (right, left)[place]
            wanted = [S(other.index(cut[0]), cut[1]) if cut[0] in other else R] * 2
            wanted[place] = site.operands[place].state
            return Decision(wanted, [_place_cut(cut, result)])
    return _multiply_whole(site)


def _gather_tokens(site: Site, left: str, right: str, result: str) -> Decision:
    """Sharded tokens meet a parameter cut by column: the tokens are gathered."""
    place = next((i for i, operand in enumerate(site.operands) if is_module_tensor(operand.node)), None)
    a, b = site.states
    cut = _find_cut(site.operands[place].state, (left, right)[place]) if place is not None else None
    if place is None or cut is None or cut[0] not in result or cut[0] in (right, left)[place]:
        raise Conflict(f"its operands are {a} and {b}", [0, 1])
    wanted = [R, R]
    wanted[place] = site.operands[place].state
    return Decision(wanted, [_place_cut(cut, result)])


def _decide_parameter(site: Site, left: str, right: str, result: str) -> Decision:
    """Decide a parameter: it follows a sharded contraction (row), else it is cut where it is free (column).

    `left` and `right` have `_` for dims of size 1.
    """
    place = 0 if site.operands[0].state == FREE else 1
    mine, other = ((left, right), (right, left))[place]
    operand = site.operands[1 - place]
    cut = _find_cut(operand.state, other)
    if cut and cut[0] in mine:
        state = S(mine.index(cut[0]), cut[1])
        wanted = [operand.state] * 2
        wanted[place] = state
        return Decision(wanted, [_place_cut(cut, result)])
    free = next((letter for letter in mine if letter in result and letter not in other), None)
    if free is None:
        return _keep_parameter(operand.state, place, cut, result)
    wanted = [R] * 2
    wanted[place] = S(mine.index(free))
    return Decision(wanted, [S(result.index(free))])


def _keep_parameter(state: State, place: int, cut: tuple[str, int] | None, result: str) -> Decision:
    """A parameter with no dim of its own in the result, such as a gate's, stays whole."""
    if cut or state.partial:
        wanted = [state, state]
        wanted[place] = R
        return Decision(wanted, [_place_cut(cut, result) if cut else P])
    whole = R if state == R else I
    return Decision([whole, whole], [whole])


def _multiply_whole(site: Site) -> Decision:
    """A partial sum times a whole operand is a partial sum; of two, the second is reduced."""
    partial = [place for place, operand in enumerate(site.operands) if operand.state.partial]
    if partial:
        return Decision([P if place == partial[0] else R for place in range(2)], [P])
    return keep_alike(site, join_states(site.states))


def _find_cut(state: State, letters: str) -> tuple[str, int] | None:
    return (letters[state.dim], state.blocks) if state.sharded else None


def _place_cut(cut: tuple[str, int], result: str) -> State:
    return S(result.index(cut[0]), cut[1]) if cut[0] in result else P


@rule("aten::scaled_dot_product_attention", knows=("dropout_p", "is_causal", "scale", "enable_gqa"))
def attend(site: Site) -> Decision:
    """q, k, v (.., heads, sequence, head dim), a mask that broadcasts to (.., heads, sequence, sequence)."""
    states = [settle(operand) for operand in site.operands[:3]]
    sharded = {state for state in states if state.sharded}
    ndim = len(site.operands[0].shape)
    if not sharded:
        return settle_all(site)
    ranks = {len(operand.shape) for operand in site.operands[:3]}
    if len(sharded) > 1 or len(ranks) > 1 or any(not state.sharded for state in states):
        at_fault = [place for place, state in enumerate(states) if state.sharded]
        raise Conflict("query, key and value are sharded differently", at_fault)
    (state,) = sharded
    if state.dim >= ndim - 2:
        raise Conflict("attention reads the whole of the sequence and of a head", [0, 1, 2])
    wanted = [state] * 3
    for mask in site.operands[3:]:
        dim = state.dim - (ndim - len(mask.shape))
        wanted.append(S(dim, state.blocks) if dim >= 0 and mask.shape[dim] != 1 else R)
    return Decision(wanted, [state])
