// The step: a row per stage, a bar per pass; hatched areas are waiting.
const line = { zoom: 1, bars: [] };

const passKinds = ["forward", "backward", "weights"];

const kindsOfPass = (timed, halves) => [["forward", "forward"], ["backward", "backward"], ...(halves ? [["backward of parameters", "weights"]] : []), ...(timed ? [["gradient sums", "sums"], ["optimizer", "update"], ["rest", "rest"]] : [])];

function drawLine() {
  const of = plan.timeline;
  const host = byId("line");
  if (!of) return;
  const left = 70;
  const height = of.rows.length > 24 ? 14 : of.rows.length > 10 ? 20 : 28;
  const width = Math.max((host.clientWidth - left - 4) * line.zoom, 200);
  const length = of.seconds ?? of.end;
  const x = (time) => left + (time / length) * width;
  const total = of.rows.length * (height + 4) + 26;
  const picture = svg("svg", { width: left + width + 2, height: total, role: "img", "aria-label": `Step of ${of.rows.length} stages` }, createHatch());
  picture.append(drawScale(length, x, total - 22, of.seconds !== null, width));
  line.bars = [];
  of.rows.forEach((stage, row) => {
    const y = row * (height + 4);
    const name = svg("text", { class: "row-name", x: 0, y: y + height / 2 }, `stage ${stage}`);
    const bars = svg("g", {}, svg("rect", { class: "waits", x: left, y, width: x(of.end) - left, height, rx: 2 }));
    const drawn = of.bins ? drawBins(of, row, y, height, x, bars) : drawPasses(of, stage, y, height, x, bars);
    line.bars.push(...drawn.map((bar) => ({ ...bar, stage })));
    line.bars.push(...drawTail(of, stage, y, height, x, bars).map((bar) => ({ ...bar, stage })));
    const group = svg("g", { "data-stage": stage }, name, bars);
    group.addEventListener("pointerenter", () => update({ stage }));
    group.addEventListener("pointerleave", () => update({ stage: null }));
    picture.append(group);
    line.bars.push({ name, stage });
  });
  host.replaceChildren(picture);
  updateLine(state);
}

function createHatch() {
  const lines = svg("pattern", { id: "waits", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  const [ground, stroke] = [svg("rect", { width: 6, height: 6 }), svg("rect", { width: 2, height: 6 })];
  ground.style.fill = "var(--cell)";
  stroke.style.fill = "var(--hatch)";
  lines.append(ground, stroke);
  return svg("defs", {}, lines);
}

const formatTime = (time) => (plan.timeline.seconds === null ? `${formatDigits(time)}` : formatQuantity(time, "s"));

function drawBar(kind, begin, end, y, height, x, text, more = "") {
  const rect = svg("rect", { class: `pass ${kind} ${more}`, x: x(begin), y, width: Math.max(x(end) - x(begin) - (x(end) - x(begin) > 3 ? 0.8 : 0), 0.4), height, rx: x(end) - x(begin) > 8 ? 2.5 : 0 });
  rect.addEventListener("pointermove", (event) => showTip(event, `${text}\n${formatTime(begin)} to ${formatTime(end)}`));
  rect.addEventListener("pointerleave", (event) => showTip(event, ""));
  return rect;
}

function drawPasses(of, stage, y, height, x, into) {
  return of.events.filter(([rank]) => rank === stage).map(([, painted, part, batch, begin, end]) => {
    const kind = passKinds[painted];
    const does = kind === "weights" ? "gradients of parameters" : kind;
    const chunk = part === stage ? "" : `, chunk ${Math.floor(part / plan.stages.length)}`;
    const odd = (plan.schedule.chunks > 1 ? Math.floor(part / plan.stages.length) : batch) % 2;
    const rect = drawBar(kind, begin, end, y, height, x, `stage ${stage}${chunk}: ${does} of microbatch ${batch}`, odd ? "alt" : "");
    rect.addEventListener("pointerenter", () => updateLine(state, batch));
    rect.addEventListener("pointerleave", () => updateLine(state));
    into.append(rect);
    const wide = x(end) - x(begin);
    if (wide > `${batch}`.length * 7 + 3 && height > 15) into.append(svg("text", { class: "pass-name", x: (x(begin) + x(end)) / 2, y: y + height / 2 }, `${batch}`));
    return { rect, batch };
  });
}

// For too many passes: shares of slices of time, forward from the top, backward from the bottom.
function drawBins(of, row, y, height, x, into) {
  const step = of.end / of.bins;
  return of.shares[row].flatMap(([forward, backward], at) => {
    const [begin, end] = [at * step, (at + 1) * step];
    const up = drawBar("forward", begin, end, y, (height * forward) / 100, x, `forward ${forward}%, backward ${backward}%, waits ${100 - forward - backward}%`);
    const down = drawBar("backward", begin, end, y + height - (height * backward) / 100, (height * backward) / 100, x, `forward ${forward}%, backward ${backward}%, waits ${100 - forward - backward}%`);
    into.append(up, down);
    return [{ rect: up }, { rect: down }];
  });
}

function drawTail(of, stage, y, height, x, into) {
  if (!of.tails.length) return [];
  const [begin, sums, update] = of.tails[stage];
  const last = Math.max(...of.tails.map(([, , each]) => each)) + of.ready;
  const bars = [drawBar("sums", begin, begin + sums, y, height, x, `stage ${stage}: sums of gradients`), drawBar("update", of.ready, of.ready + update, y, height, x, `stage ${stage}: optimizer`), drawBar("rest", last, of.seconds, y, height, x, "rest of the step: constant overhead")];
  into.append(...bars);
  return bars.map((rect) => ({ rect }));
}

function drawScale(length, x, y, timed, width) {
  const rough = length / Math.max(width / 110, 2);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const ticks = svg("g");
  for (let time = 0; time <= length * 1.0001; time += step) {
    ticks.append(svg("line", { class: "tick", x1: x(time), x2: x(time), y1: 0, y2: y + 6 }), svg("text", { class: "tick-name", x: x(time), y: y + 20, "text-anchor": time ? (x(time) > x(length) - 30 ? "end" : "middle") : "start" }, timed ? (time ? formatQuantity(Number(time.toPrecision(6)), "s") : "0") : formatDigits(time)));
  }
  return ticks;
}

// Highlights the stage in view, or the microbatch under the pointer.
function updateLine(now, batch = null) {
  const stage = now.stage ?? (rankInView() === null ? null : stageOf(rankInView()));
  const picture = byId("line").firstChild;
  picture?.classList.toggle("dim", batch !== null);
  for (const each of line.bars) {
    if (each.rect) each.rect.classList.toggle("lit", batch !== null && each.batch === batch);
    else each.name.setAttribute("class", `row-name ${each.stage === stage ? "on" : ""}`);
  }
}

function startLine() {
  const of = plan.timeline;
  byId("line-legend").replaceChildren(...(of ? createLegend(kindsOfPass(of.seconds !== null, of.events.some(([, painted]) => painted === 2))) : []));
  if (!of) {
    byId("line").textContent = "The schedule cannot be simulated.";
    return;
  }
  const rezoom = (factor) => {
    line.zoom = Math.max(1, Math.min(32, line.zoom * factor));
    drawLine();
  };
  byId("wider").addEventListener("click", () => rezoom(2));
  byId("narrower").addEventListener("click", () => rezoom(0.5));
  new ResizeObserver(drawLine).observe(byId("line"));
  listeners.push((now) => updateLine(now));
}
