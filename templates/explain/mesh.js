// The layout algebra of parc/plan/mesh.py, in closed form.
const plan = JSON.parse(document.getElementById("plan").textContent);
const axes = plan.mesh; // outermost first: name, size, stride

const coordinate = (rank, axis) => Math.floor(rank / axis.stride) % axis.size;
const colorOf = (name) => `a${axes.findIndex((axis) => axis.name === name) % 6}`;

// The ranks that differ from `rank` only on the axes `names`: base + sum of index * stride.
function groupOf(rank, names) {
  const inside = axes.filter((axis) => names.includes(axis.name));
  const base = inside.reduce((sum, axis) => sum - coordinate(rank, axis) * axis.stride, rank);
  return { base, digits: inside.map((axis) => [axis.size, axis.stride]) };
}

const sizeOf = (group) => group.digits.reduce((product, [size]) => product * size, 1);

function memberAt(group, index) {
  return group.digits.reduceRight((value, [size, stride]) => {
    const digit = index % size;
    index = Math.floor(index / size);
    return value + digit * stride;
  }, group.base);
}

// The number of members below `limit`.
function countBelow(group, limit) {
  let rest = limit - group.base;
  if (rest <= 0) return 0;
  let found = 0;
  let left = sizeOf(group);
  for (const [size, stride] of group.digits) {
    left /= size;
    const digit = Math.floor(rest / stride);
    if (digit >= size) return found + size * left;
    found += digit * left;
    rest -= digit * stride;
  }
  return found + (rest > 0 ? 1 : 0);
}

const countWithin = (group, from, to) => countBelow(group, to) - countBelow(group, from);

function indexOn(rank, names) {
  return axes.filter((axis) => names.includes(axis.name)).reduce((index, axis) => index * axis.size + coordinate(rank, axis), 0);
}

const stageOf = (rank) => (plan.pipeline.length ? indexOn(rank, plan.pipeline) : 0);

// "0-3, 16-19, …, 112-115"
function formatRanks(group, most = 4) {
  let run = 1;
  const outer = [...group.digits];
  while (outer.length && (outer.at(-1)[0] === 1 || outer.at(-1)[1] === run)) run *= outer.pop()[0];
  const starts = { base: group.base, digits: outer };
  const count = sizeOf(starts);
  const formatRun = (index) => {
    const start = memberAt(starts, index);
    return run === 1 ? `${start}` : `${start}–${start + run - 1}`;
  };
  if (count <= most) return Array.from({ length: count }, (_, index) => formatRun(index)).join(", ");
  return [...Array.from({ length: most - 2 }, (_, index) => formatRun(index)), "…", formatRun(count - 1)].join(", ");
}

// The device of a rank, level by level: "node 2, device 5".
function describePlace(rank) {
  const levels = plan.cluster.levels;
  return levels.map((level, at) => {
    const inside = levels.slice(at + 1).reduce((product, each) => product * each.size, 1);
    return `${levels[at + 1]?.name ?? "device"} ${Math.floor(rank / inside) % level.size}`;
  }).join(", ");
}
