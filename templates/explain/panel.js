// Beside the map: the facts of the rank in view, and the groups that it is in.
function chipsOfAxes() {
  const host = byId("axes");
  const chips = axes.map((axis) => {
    const chip = html("button", { class: `chip ${colour(axis.name)}`, type: "button" }, html("b", {}, axis.name), ` ${count(axis.size)}`);
    chip.addEventListener("click", () => {
      look({ shade: axis.name, axis: null });
      tell({ type: "axis", axis: axis.name });
    });
    chip.addEventListener("pointerenter", () => look({ axis: axis.name }));
    chip.addEventListener("pointerleave", () => look({ axis: null }));
    chip.addEventListener("focus", () => look({ axis: axis.name }));
    chip.addEventListener("blur", () => look({ axis: null }));
    return chip;
  });
  host.replaceChildren(...chips);
  followers.push(({ shade, axis }) => chips.forEach((chip, at) => chip.setAttribute("aria-pressed", (axis ?? shade) === axes[at].name)));
}

// What an axis alone carries.
const carriedBy = (axis) => plan.groups.filter((each) => each.axes.length === 1 && each.axes[0] === axis).map((each) => each.strategy).join(", ");

function peer(rank, title, names, carries = "") {
  const group = groupOf(rank, names);
  const button = html(
    "button",
    { class: `peer ${colour(names[0])}`, type: "button" },
    html("i"),
    html("span", {}, title, carries ? html("span", { class: "carries" }, ` · ${carries}`) : ""),
    html("span", { class: "of" }, `${count(indexOn(rank, names))} of ${count(sizeOf(group))}`),
    html("code", {}, ranges(group, 6)),
  );
  for (const [on, off] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    button.addEventListener(on, () => look({ names }));
    button.addEventListener(off, () => look({ names: null }));
  }
  return button;
}

const runs = (layers) => layers.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ") || "none";

function factsOf(rank) {
  const stage = plan.stages[stageOf(rank)];
  const facts = [["stage", `${stage.index} of ${plan.stages.length}`], ["layers", runs(stage.layers)]];
  if (stage.experts) {
    const first = indexOn(rank, plan.over.experts) * stage.experts;
    facts.push(["experts", `${runs([[first, first + stage.experts - 1]])} of ${plan.experts}, in ${stage.moe_layers} layers`]);
  }
  if (stage.memory) facts.push(["holds", ...figured(stage.memory), plan.cluster.memory ? ` of ${quantity(plan.cluster.memory, "B")}` : ""]);
  for (const [level, bytes] of byLevel(stage.index)) facts.push(["sends", `${quantity(bytes, "B")} over ${level} links`]);
  return facts;
}

function byLevel(stage) {
  const sums = new Map();
  for (const each of plan.traffic[stage] ?? []) sums.set(each.level, (sums.get(each.level) ?? 0) + each.sent.value);
  return sums;
}

function drawPanel(rank) {
  const panel = byId("panel");
  if (rank === null) {
    const hint = "Point at a rank, or focus the map and use the arrow keys: its group along each axis lights up in the colour of the axis. A click pins it.";
    panel.replaceChildren(html("h3", {}, "No rank in view"), html("p", { class: "note" }, hint));
    return;
  }
  const pinned = state.pinned === rank;
  const button = html("button", { type: "button" }, pinned ? "let go" : "pin");
  button.addEventListener("click", () => pin(rank));
  const rows = factsOf(rank).flatMap(([name, ...value]) => [html("dt", {}, name), html("dd", {}, ...value)]);
  const several = plan.groups.filter((each) => each.axes.length > 1);
  const place = axes.map((axis) => html("span", { class: `axis ${colour(axis.name)}` }, `${axis.name} ${count(coordinate(rank, axis))}`));
  panel.replaceChildren(
    html("h3", {}, `Rank ${count(rank)}`, button),
    html("p", { class: "note" }, placeOf(rank)),
    html("p", {}, ...place.flatMap((each, at) => (at ? [" · ", each] : [each]))),
    html("dl", {}, ...rows),
    html("h4", {}, "Along each axis"),
    ...axes.map((axis) => peer(rank, axis.name, [axis.name], carriedBy(axis.name))),
    ...(several.length ? [html("h4", {}, "Over several axes")] : []),
    ...several.map((each) => peer(rank, `${each.strategy} over ${each.axes.join(" × ")}`, each.axes)),
  );
}

function startPanel() {
  let shown = "";
  followers.push(() => {
    const rank = rankInView();
    const now = `${rank} ${state.pinned === rank}`;
    if (now !== shown) drawPanel(rank);
    shown = now;
  });
  byId("goto").addEventListener("submit", (event) => {
    event.preventDefault();
    const rank = whole(Number(byId("rank").value.replaceAll(",", "") || NaN), plan.ranks);
    byId("rank").setAttribute("aria-invalid", rank === null);
    if (rank === null) return;
    reveal(rank);
    look({ pinned: rank, hover: null });
    tell({ type: "rank", rank });
  });
}
