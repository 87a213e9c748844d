// The panel beside the map: the rank in view and its groups.
function startChips() {
  const host = byId("axes");
  const chips = axes.map((axis) => {
    const chip = html("button", { class: `chip ${colorOf(axis.name)}`, type: "button" }, html("b", {}, axis.name), ` ${formatCount(axis.size)}`);
    chip.addEventListener("click", () => {
      update({ shade: axis.name, axis: null });
      postToHost({ type: "axis", axis: axis.name });
    });
    chip.addEventListener("pointerenter", () => update({ axis: axis.name }));
    chip.addEventListener("pointerleave", () => update({ axis: null }));
    chip.addEventListener("focus", () => update({ axis: axis.name }));
    chip.addEventListener("blur", () => update({ axis: null }));
    return chip;
  });
  host.replaceChildren(...chips);
  listeners.push(({ shade, axis }) => chips.forEach((chip, at) => chip.setAttribute("aria-pressed", (axis ?? shade) === axes[at].name)));
}

// The strategies whose only axis is this one.
const strategiesOn = (axis) => plan.groups.filter((each) => each.axes.length === 1 && each.axes[0] === axis).map((each) => each.strategy).join(", ");

function createPeer(rank, title, names, carries = "") {
  const group = groupOf(rank, names);
  const button = html(
    "button",
    { class: `peer ${colorOf(names[0])}`, type: "button" },
    html("i"),
    html("span", {}, title, carries ? html("span", { class: "carries" }, ` · ${carries}`) : ""),
    html("span", { class: "of" }, `${formatCount(indexOn(rank, names))} of ${formatCount(sizeOf(group))}`),
    html("code", {}, formatRanks(group, 6)),
  );
  for (const [on, off] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    button.addEventListener(on, () => update({ names }));
    button.addEventListener(off, () => update({ names: null }));
  }
  return button;
}

const formatRanges = (layers) => layers.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ") || "none";

function describeRank(rank) {
  const stage = plan.stages[stageOf(rank)];
  const entries = [["stage", `${stage.index} of ${plan.stages.length}`], ["layers", formatRanges(stage.layers)]];
  if (stage.experts) {
    const first = indexOn(rank, plan.over.experts) * stage.experts;
    entries.push(["experts", `${formatRanges([[first, first + stage.experts - 1]])} of ${plan.experts}, in ${stage.moe_layers} layers`]);
  }
  if (stage.memory) entries.push(["holds", ...renderFigure(stage.memory), plan.cluster.memory ? ` of ${formatQuantity(plan.cluster.memory, "B")}` : ""]);
  for (const [level, bytes] of sumByLevel(stage.index)) entries.push(["sends", `${formatQuantity(bytes, "B")} over ${level} links`]);
  return entries;
}

function sumByLevel(stage) {
  const sums = new Map();
  for (const each of plan.traffic[stage] ?? []) sums.set(each.level, (sums.get(each.level) ?? 0) + each.sent.value);
  return sums;
}

function drawPanel(rank) {
  const panel = byId("panel");
  if (rank === null) {
    const hint = "Point at a rank, or focus the map and use the arrow keys: its group along each axis is highlighted in the colour of the axis. A click pins it.";
    panel.replaceChildren(html("h3", {}, "No rank in view"), html("p", { class: "note" }, hint));
    return;
  }
  const pinned = state.pinned === rank;
  const button = html("button", { type: "button" }, pinned ? "unpin" : "pin");
  button.addEventListener("click", () => pin(rank));
  const rows = describeRank(rank).flatMap(([name, ...value]) => [html("dt", {}, name), html("dd", {}, ...value)]);
  const several = plan.groups.filter((each) => each.axes.length > 1);
  const place = axes.map((axis) => html("span", { class: `axis ${colorOf(axis.name)}` }, `${axis.name} ${formatCount(coordinate(rank, axis))}`));
  panel.replaceChildren(
    html("h3", {}, `Rank ${formatCount(rank)}`, button),
    html("p", { class: "note" }, describePlace(rank)),
    html("p", {}, ...place.flatMap((each, at) => (at ? [" · ", each] : [each]))),
    html("dl", {}, ...rows),
    html("h4", {}, "Along each axis"),
    ...axes.map((axis) => createPeer(rank, axis.name, [axis.name], strategiesOn(axis.name))),
    ...(several.length ? [html("h4", {}, "Over several axes")] : []),
    ...several.map((each) => createPeer(rank, `${each.strategy} over ${each.axes.join(" × ")}`, each.axes)),
  );
}

function startPanel() {
  let shown = "";
  listeners.push(() => {
    const rank = rankInView();
    const now = `${rank} ${state.pinned === rank}`;
    if (now !== shown) drawPanel(rank);
    shown = now;
  });
  byId("goto").addEventListener("submit", (event) => {
    event.preventDefault();
    const rank = parseIndex(Number(byId("rank").value.replaceAll(",", "") || NaN), plan.ranks);
    byId("rank").setAttribute("aria-invalid", rank === null);
    if (rank === null) return;
    reveal(rank);
    update({ pinned: rank, hover: null });
    postToHost({ type: "rank", rank });
  });
}
