// Memory by stage and kind, against the device's limit; traffic by level and strategy.
const SHOWN = 32; // stages with a bar; the others are in the table and in `--format json`

function few(stages) {
  return stages.length <= SHOWN ? stages : [...stages.slice(0, SHOWN / 2), ...stages.slice(-SHOWN / 2)];
}

function drawMemory() {
  const stages = few(plan.stages.filter((stage) => stage.memory));
  if (!stages.length) {
    byId("memory").textContent = "Nothing is told of memory.";
    return;
  }
  const kinds = [...new Set(stages.flatMap((stage) => stage.memory.parts.filter((part) => part.value).map((part) => part.name)))];
  const most = Math.max(...plan.stages.map((stage) => stage.memory.value));
  const limit = plan.cluster.memory;
  const end = limit && most > limit / 4 ? Math.max(limit, most) * 1.02 : most;
  const rows = stages.flatMap((stage) => {
    const label = html("button", { class: "label", type: "button", "data-stage": stage.index }, `stage ${stage.index}`);
    standsFor(label, stage.index);
    const share = limit ? ` · ${((100 * stage.memory.value) / limit).toFixed(1)}%` : "";
    return [label, memoryBar(stage, kinds, end, limit), html("span", { class: "value" }, ...figured(stage.memory), share)];
  });
  const parts = html("div", { class: "legend under" }, ...legend(kinds.map((kind, at) => [kind, `k${at % 6}`])));
  byId("memory").replaceChildren(html("div", { class: "meter" }, ...rows), parts);
  const left = plan.stages.length - stages.length;
  if (left > 0) byId("memory").append(html("p", { class: "note" }, `${count(left)} stages in the middle are left out`));
  followers.push(() => mark("memory"));
}

function memoryBar(stage, kinds, end, limit) {
  const bar = svg("svg", { role: "img", "aria-label": `stage ${stage.index}: ${stage.memory.parts.map((part) => `${part.name} ${told(part)}`).join(", ")}` }, svg("rect", { class: "room", width: "100%", height: 20, rx: 3 }));
  let so = 0;
  for (const part of stage.memory.parts) {
    if (!part.value) continue;
    const rect = svg("rect", { class: `part k${kinds.indexOf(part.name) % 6}`, x: `${(100 * so) / end}%`, width: `${(100 * part.value) / end}%`, height: 20 });
    rect.addEventListener("pointermove", (event) => tip(event, `${part.name} ${told(part)}\n${part.how}\n${part.grade}`));
    rect.addEventListener("pointerleave", (event) => tip(event, ""));
    bar.append(rect);
    so += part.value;
  }
  if (limit && limit <= end) bar.append(svg("line", { class: "limit", x1: `${(100 * limit) / end}%`, x2: `${(100 * limit) / end}%`, y1: 0, y2: 20 }));
  return bar;
}

// Of the stage in view, else of the one whose ranks send most.
function drawTraffic() {
  if (!plan.traffic.length) {
    byId("traffic").textContent = "Nothing is told of traffic.";
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
    return [html("div", { class: "link" }, `${name} links`, html("span", {}, quantity(sum, "B"))), html("div", { class: "meter wide" }, ...here.flatMap((each) => trafficBar(each, most)))];
  });
  byId("traffic").replaceChildren(...(parts.length ? parts : ["Nothing is sent."]));
}

function trafficBar(each, most) {
  const rect = svg("rect", { class: `part ${colour(each.axes[0])}`, width: `${(100 * each.sent.value) / most}%`, height: 20, rx: 3 });
  const calls = Object.entries(each.calls).map(([kind, calls]) => `${count(calls)} ${kind}`).join(", ");
  const text = `${each.strategy} over ${each.axes.join(" × ")}`;
  const bar = svg("svg", { role: "img", "aria-label": `${text}: ${told(each.sent)}` }, svg("rect", { class: "room", width: "100%", height: 20, rx: 3 }), rect);
  bar.addEventListener("pointermove", (event) => tip(event, `${text}: ${told(each.sent)} (${each.sent.grade})\n${calls}\n${each.sent.how}`));
  bar.addEventListener("pointerleave", (event) => tip(event, ""));
  return [html("span", { class: "label", title: text }, text), bar, html("span", { class: "value" }, ...figured(each.sent))];
}

// The labels and rows of the stage in view.
function mark(id) {
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
  followers.push(again, () => mark("stages"));
  for (const row of byId("stages").querySelectorAll("tr[data-stage]")) standsFor(row, Number(row.dataset.stage));
}
