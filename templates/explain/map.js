// The map: a square per rank, in boxes for the levels of the cluster. Beyond MAX_CELLS, a square is a unit of ranks.
const MAX_CELLS = 4096;
const HEAD = 15; // height of the name of a box, in pixels
const map = { view: null, cells: [], unit: 1, columns: 1, cursor: 0, svg: null };

const levelSizes = plan.cluster.levels.map((level) => level.size);
const inside = (depth) => levelSizes.slice(depth).reduce((product, size) => product * size, 1);
const levelName = (depth) => plan.cluster.levels[depth]?.name ?? "device";

// The whole cluster as far as it has ranks, in units of the outermost level.
function wholeView() {
  const unit = inside(1);
  return { from: 0, count: Math.ceil(plan.ranks / unit) * unit, depth: 0, name: plan.cluster.name };
}

// The numbers of boxes and squares at each level, and of ranks per square.
function chooseStructure(view) {
  const depths = view.depth === null ? [] : levelSizes.map((_, at) => at + 1).filter((depth) => depth > view.depth && view.count / inside(depth) <= MAX_CELLS);
  if (depths.length) {
    const depth = depths.at(-1);
    return { dims: [view.count / inside(view.depth + 1), ...levelSizes.slice(view.depth + 1, depth)], unit: inside(depth), depth };
  }
  const strides = axes.map((axis) => axis.stride).filter((stride) => view.count / stride <= MAX_CELLS && view.count % stride === 0);
  const unit = view.count <= MAX_CELLS ? 1 : strides.at(-1) ?? Math.ceil(view.count / MAX_CELLS);
  return { dims: [Math.ceil(view.count / unit)], unit, depth: null };
}

// Columns of the innermost squares: the stride of an axis, so that its groups are rows, and nearly square.
function leafColumns(amount, unit) {
  const strides = [...axes.map((axis) => axis.stride), plan.ranks].map((stride) => stride / unit);
  const fits = strides.filter((stride) => Number.isInteger(stride) && stride > 1 && stride <= amount && amount % stride === 0);
  const far = (columns) => Math.abs(Math.log(columns / Math.sqrt(amount)));
  return fits.sort((a, b) => far(a) - far(b) || b - a).find((columns) => far(columns) < 1.2) ?? Math.ceil(Math.sqrt(amount));
}

// Sizes of the squares or boxes of a level in pixels, for innermost squares of `size`.
function measure(dims, columns, size, at = 0) {
  const rows = Math.ceil(dims[at] / columns[at]);
  if (at === dims.length - 1) return { w: columns[at] * size, h: rows * size, step: size, rise: size, pad: 0 };
  const child = measure(dims, columns, size, at + 1);
  const boxes = dims.slice(0, -1).reduce((product, dim) => product * dim, 1);
  const pad = boxes > 200 ? 2 : 6;
  const head = boxes > 80 ? 0 : HEAD;
  const gap = boxes > 200 ? 3 : 10;
  const step = child.w + 2 * pad + gap;
  const rise = child.h + 2 * pad + head + gap;
  return { w: columns[at] * step - gap, h: rows * rise - gap, step, rise, pad, head, gap, child };
}

// A factor for the size of a square that favours rows that align with the groups of an axis.
function rateRows(wide, dims, unit) {
  const row = wide * dims.slice(1).reduce((product, dim) => product * dim, unit);
  if (dims[0] % wide) return 1;
  return axes.some(({ stride }) => stride > unit && (stride % row === 0 || row % stride === 0)) ? 1.4 : 1.15;
}

// The columns of the outermost boxes and the size of a square that make the best use of the width.
function arrange(dims, unit, width) {
  const inner = dims.map((dim, at) => (at === dims.length - 1 ? leafColumns(dim, unit) : Math.ceil(Math.sqrt(dim))));
  const amount = dims.reduce((product, dim) => product * dim, 1);
  const most = amount <= 16 ? 104 : amount <= 64 ? 76 : amount <= 256 ? 60 : 34;
  let best = { score: 0 };
  const widest = dims.length > 1 ? dims[0] : 1;
  for (let wide = 1; wide <= widest; wide += 1) {
    const columns = dims.length > 1 ? [wide, ...inner.slice(1)] : inner;
    let [low, high] = [1, most];
    for (let round = 0; round < 12; round += 1) {
      const middle = (low + high) / 2;
      const { w, h } = measure(dims, columns, middle);
      if (w <= width && h <= 700) low = middle;
      else high = middle;
    }
    const score = low * rateRows(wide, dims, unit);
    if (score > best.score) best = { score, exact: low, columns };
  }
  return best;
}

function drawMap() {
  const host = byId("map");
  const view = map.view;
  const { dims, unit, depth } = chooseStructure(view);
  const { exact, columns } = arrange(dims, unit, host.clientWidth || 800);
  const plot = measure(dims, columns, exact);
  const [boxes, squares, names] = [svg("g"), svg("g"), svg("g")];
  Object.assign(map, { cells: [], unit, depth, columns: columns.at(-1) });

  function place(at, measured, x, y, first) {
    for (let index = 0; index < dims[at]; index += 1) {
      const left = x + (index % columns[at]) * measured.step;
      const top = y + Math.floor(index / columns[at]) * measured.rise;
      const number = first * dims[at] + index;
      if (at === dims.length - 1) {
        square(number, left, top, exact);
        continue;
      }
      const { child, pad, head } = measured;
      boxes.append(svg("rect", { class: "box", x: left + 0.5, y: top + 0.5, width: child.w + 2 * pad - 1, height: child.h + 2 * pad + head - 1, rx: Math.min(7, 2 + pad) }));
      if (head) boxes.append(svg("text", { class: "box-name", x: left + pad + 1, y: top + 14 }, `${levelName(view.depth + at + 1)} ${number % dims[at]}`));
      place(at + 1, child, left + pad, top + pad + head, number);
    }
  }

  function square(number, x, y, size) {
    const from = view.from + number * unit;
    const gap = size > 14 ? 1.5 : size > 6 ? 0.75 : 0.3;
    const shape = { x: x + gap, y: y + gap, width: Math.max(size - 2 * gap, 0.5), height: Math.max(size - 2 * gap, 0.5), rx: Math.min(5, size / 6) };
    if (from >= plan.ranks) {
      squares.append(svg("rect", { class: "idle", ...shape }));
      return;
    }
    const to = Math.min(from + unit, plan.ranks);
    const rect = svg("rect", { class: "cell", "data-at": map.cells.length, ...shape });
    const text = unit === 1 ? `${from}` : "";
    const name = text && text.length * 6.4 < size - 5 ? svg("text", { class: "cell-name", x: x + size / 2, y: y + size / 2 }, text) : null;
    squares.append(rect);
    if (name) names.append(name);
    map.cells.push({ from, to, rect, name, lit: "" });
  }

  place(0, plot, 0, 0, 0);
  map.svg = svg("svg", { width: plot.w, height: plot.h, viewBox: `0 0 ${plot.w} ${plot.h}`, "aria-hidden": "true" }, boxes, squares, names);
  host.replaceChildren(map.svg);
  drawPath();
  shadeMap(state);
  lightMap(state);
}

// The path of views from the whole cluster to the current one.
function drawPath() {
  const path = byId("path");
  const views = [];
  for (let view = map.view; view; view = view.around) views.unshift(view);
  path.hidden = views.length === 1 && map.unit === 1;
  const steps = views.map((view) => {
    const button = html("button", { type: "button" }, view.name);
    button.addEventListener("click", () => setView(view));
    return view === map.view ? html("b", {}, view.name) : button;
  });
  const hint = map.unit === 1 ? null : html("span", {}, ` · a square is ${map.depth === null ? "" : `one ${levelName(map.depth)} of `}${formatCount(map.unit)} ranks; a click opens it`);
  path.replaceChildren(...steps.flatMap((step, at) => (at ? ["›", step] : [step])), ...(hint ? [hint] : []));
}

function setView(view) {
  map.view = view;
  map.cursor = 0;
  drawMap();
}

function openCell(cell) {
  const name = map.depth === null ? `ranks ${formatCount(cell.from)}–${formatCount(cell.to - 1)}` : `${levelName(map.depth)} ${Math.floor(cell.from / map.unit) % levelSizes[map.depth - 1]}`;
  setView({ from: cell.from, count: map.unit, depth: map.depth, name, around: map.view });
}

// Zooms in until the rank has its own square.
function reveal(rank) {
  if (map.cells.some((cell) => cell.from <= rank && rank < cell.to) && map.unit === 1) return;
  setView(wholeView());
  while (map.unit > 1) openCell(map.cells.find((cell) => cell.from <= rank && rank < cell.to));
}

function shadeMap({ shade, axis }) {
  const by = axes.find((each) => each.name === (axis ?? shade));
  if (!by) return;
  for (const { from, rect } of map.cells) {
    rect.style.setProperty("--shade", `var(--${colorOf(by.name)})`);
    rect.style.setProperty("--p", `${8 + (40 * coordinate(from, by)) / Math.max(by.size - 1, 1)}%`);
  }
}

// The highlighted groups: (colour, ranks).
function groupsInView({ names, axis, stage }) {
  const rank = rankInView();
  if (rank !== null && names) return [[colorOf(names[0]), groupOf(rank, names)]];
  if (rank !== null) return axes.filter((each) => !axis || each.name === axis).map((each) => [colorOf(each.name), groupOf(rank, [each.name])]);
  if (stage === null || !plan.pipeline.length) return [];
  const first = memberAt(groupOf(0, plan.pipeline), stage);
  return [[colorOf(plan.pipeline[0]), groupOf(first, axes.map((each) => each.name).filter((name) => !plan.pipeline.includes(name)))]];
}

function lightMap(now) {
  const groups = groupsInView(now);
  const rank = rankInView();
  map.svg.classList.toggle("dim", groups.length > 0);
  for (const cell of map.cells) {
    let [lit, most] = ["", 0];
    for (const [name, group] of groups) {
      const found = countWithin(group, cell.from, cell.to);
      if (found > most) [lit, most] = [`lit ${name}`, found];
    }
    if (rank !== null && cell.from <= rank && rank < cell.to) lit = "here";
    if (cell.lit === lit) continue;
    cell.lit = lit;
    cell.rect.setAttribute("class", `cell ${lit}`);
    if (most) cell.rect.style.setProperty("--lit", `${Math.round(45 + (55 * most) / (cell.to - cell.from))}%`);
    cell.name?.setAttribute("class", `cell-name ${lit}`);
  }
}

function startMap() {
  const host = byId("map");
  const cellAt = (event) => map.cells[event.target.dataset?.at] ?? null;
  host.addEventListener("pointermove", (event) => {
    const hover = cellAt(event)?.from ?? null;
    if (hover !== state.hover) update({ hover });
  });
  host.addEventListener("pointerleave", () => update({ hover: null }));
  host.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell) activate(cell);
  });
  host.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -map.columns, ArrowDown: map.columns, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      const start = state.hover === null && state.pinned === null ? 0 : map.cursor + moves[event.key];
      map.cursor = Math.max(0, Math.min(map.cells.length - 1, start));
      update({ hover: map.cells[map.cursor].from });
    } else if (event.key === "Enter" || event.key === " ") activate(map.cells[map.cursor]);
    else if (event.key === "Escape") {
      if (state.pinned === null && map.view.around) setView(map.view.around);
      update({ pinned: null, hover: null });
    } else return;
    event.preventDefault();
  });
  host.addEventListener("blur", () => update({ hover: null }));
  let shaded = "";
  listeners.push((now) => {
    const by = `${now.axis ?? now.shade}`;
    if (by !== shaded) shadeMap(now);
    shaded = by;
    lightMap(now);
  });
  map.view = wholeView();
  drawMap();
  let width = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth === width) return;
    width = host.clientWidth;
    drawMap();
  }).observe(host);
}

function activate(cell) {
  map.cursor = map.cells.indexOf(cell);
  if (map.unit > 1) openCell(cell);
  else pin(cell.from);
}
