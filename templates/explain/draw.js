// Elements, text, numbers. Text only becomes text nodes and attributes, so no name can become markup.
const SVG = "http://www.w3.org/2000/svg";

function fillElement(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const html = (tag, attributes = {}, ...children) => fillElement(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fillElement(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];
const TIMES = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const MARKS = { exact: "", expected: "~", calibrated: "*", estimated: "?" };

const formatDigits = (value) => (Math.abs(value) >= 99.95 ? Math.round(value).toLocaleString("en-US") : `${Number(value.toPrecision(3))}`);

// As in parc/cost/figure.py: three digits and a decimal prefix.
function formatQuantity(value, unit) {
  if (unit === "s") {
    const [scale, name] = TIMES.find(([least]) => Math.abs(value) >= least) ?? TIMES.at(-1);
    return `${formatDigits(value / scale)} ${name}`;
  }
  let power = 0;
  while (Math.abs(value) >= 999.5 && power < PREFIXES.length - 1) [value, power] = [value / 1000, power + 1];
  return `${formatDigits(value)}${unit ? " " : ""}${PREFIXES[power]}${unit}`;
}

// The quantity with the mark of its grade.
function renderFigure(figure) {
  const mark = MARKS[figure.grade];
  return [formatQuantity(figure.value, figure.unit), ...(mark ? [html("abbr", { class: "mark", title: `${figure.grade}: ${figure.how}` }, mark)] : [])];
}

const formatFigure = (figure) => formatQuantity(figure.value, figure.unit) + MARKS[figure.grade];
const formatCount = (number) => number.toLocaleString("en-US");

function showTip(event, text) {
  const box = byId("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  box.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
}

function createLegend(entries) {
  return entries.map(([name, kind]) =>
    html("span", {}, svg("svg", { width: 11, height: 11, "aria-hidden": "true" }, svg("rect", { width: 11, height: 11, rx: 3, class: `swatch ${kind}` })), name));
}
