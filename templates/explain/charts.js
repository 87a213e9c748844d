// Memory by stage and kind of data, relative to the limit of a device; traffic by level and strategy.
const SHOWN = 32; // stages with a bar; the others are only in the table and in `--format json`

function shorten(stages) {
  return stages.length <= SHOWN ? stages : [...stages.slice(0, SHOWN / 2), ...stages.slice(-SHOWN / 2)];
}

function drawMemory() {
  const stages = shorten(plan.stages.filter((stage) => stage.memory));
  if (!stages.length) {
    byId("memory").textContent = "The memory is unknown.";
    return;
  }
  const kinds = [...new Set(stages.flatMap((stage) => stage.memory.parts.filter((part) => part.value).map((part) => part.name)))];
  const most = Math.max(...plan.stages.map((stage) => stage.memory.value));
  const limit = plan.cluster.memory;
  const end = limit && most > limit / 4 ? Math.max(limit, most) * 1.02 : most;
  const rows = stages.flatMap((stage) => {
    const label = html("button", { class: "label", type: "button", "data-stage": stage.index }, `stage ${stage.index}`);
    linkToStage(label, stage.index);
    const share = limit ? ` · ${((100 * stage.memory.value) / limit).toFixed(1)}%` : "";
    return [label, drawMemoryBar(stage, kinds, end, limit), html("span", { class: "value" }, ...renderFigure(stage.memory), share)];
  });
  const parts = html("div", { class: "legend under" }, ...createLegend(kinds.map((kind, at) => [kind, `k${at % 6}`])));
  byId("memory").replaceChildren(html("div", { class: "meter" }, ...rows), parts);
  const left = plan.stages.length - stages.length;
  if (left > 0) byId("memory").append(html("p", { class: "note" }, `${formatCount(left)} stages in the middle are left out`));
  listeners.push(() => markStages("memory"));
}

function drawMemoryBar(stage, kinds, end, limit) {
  const bar = svg("svg", { role: "img", "aria-label": `stage ${stage.index}: ${stage.memory.parts.map((part) => `${part.name} ${formatFigure(part)}`).join(", ")}` }, svg("rect", { class: "room", width: "100%", height: 20, rx: 3 }));
  let so = 0;
  for (const part of stage.memory.parts) {
    if (!part.value) continue;
    const rect = svg("rect", { class: `part k${kinds.indexOf(part.name) % 6}`, x: `${(100 * so) / end}%`, width: `${(100 * part.value) / end}%`, height: 20 });
    rect.addEventListener("pointermove", (event) => showTip(event, `${part.name} ${formatFigure(part)}\n${part.how}\n${part.grade}`));
    rect.addEventListener("pointerleave", (event) => showTip(event, ""));
    bar.append(rect);
    so += part.value;
  }
  if (limit && limit <= end) bar.append(svg("line", { class: "limit", x1: `${(100 * limit) / end}%`, x2: `${(100 * limit) / end}%`, y1: 0, y2: 20 }));
  return bar;
}

// The traffic of the stage in view, otherwise of the one whose ranks send most.
function drawTraffic() {
  if (!plan.traffic.length) {
    byId("traffic").textContent = "The traffic is unknown.";
    return;
  }
  const sums = plan.traffic.map((stage) => stage.reduce((sum, each) => sum + each.sent.value, 0));
  const stage = stageInView() ?? sums.indexOf(Math.max(...sums));
  const most = Math.max(...plan.traffic.flatMap((each) => each.map((one) => one.sent.value)), 1);
  byId("traffic-note").textContent = `one rank of stage ${stage} sends in a step${stageInView() === null && plan.traffic.length > 1 ? ", none sends more" : ""}`;
  const parts = [...plan.cluster.levels].reverse().flatMap(({ name }) => {
    const here = plan.traffic[stage].filter((each) => each.level === name);
    if (!here.length) return [];
    const sum = here.reduce((total, each) => total + each.sent.value, 0);
    return [html("div", { class: "link" }, `${name} links`, html("span", {}, formatQuantity(sum, "B"))), html("div", { class: "meter wide" }, ...here.flatMap((each) => drawTrafficBar(each, most)))];
  });
  byId("traffic").replaceChildren(...(parts.length ? parts : ["Nothing is sent."]));
}

function drawTrafficBar(each, most) {
  const rect = svg("rect", { class: `part ${colorOf(each.axes[0])}`, width: `${(100 * each.sent.value) / most}%`, height: 20, rx: 3 });
  const calls = Object.entries(each.calls).map(([kind, calls]) => `${formatCount(calls)} ${kind}`).join(", ");
  const text = `${each.strategy} over ${each.axes.join(" × ")}`;
  const bar = svg("svg", { role: "img", "aria-label": `${text}: ${formatFigure(each.sent)}` }, svg("rect", { class: "room", width: "100%", height: 20, rx: 3 }), rect);
  bar.addEventListener("pointermove", (event) => showTip(event, `${text}: ${formatFigure(each.sent)} (${each.sent.grade})\n${calls}\n${each.sent.how}`));
  bar.addEventListener("pointerleave", (event) => showTip(event, ""));
  return [html("span", { class: "label", title: text }, text), bar, html("span", { class: "value" }, ...renderFigure(each.sent))];
}

// Highlights the labels and rows of the stage in view.
function markStages(id) {
  for (const each of byId(id).querySelectorAll("[data-stage]")) each.classList.toggle("on", Number(each.dataset.stage) === stageInView());
}

function startCharts() {
  drawMemory();
  let shown;
  const again = () => {
    if (stageInView() === shown) return;
    shown = stageInView();
    drawTraffic();
  };
  shown = NaN;
  listeners.push(again, () => markStages("stages"));
  for (const row of byId("stages").querySelectorAll("tr[data-stage]")) linkToStage(row, Number(row.dataset.stage));
}
