// Messages between the page and its host, by `postMessage`; docs/explain.md lists them.
const editor = typeof acquireVsCodeApi === "function" ? acquireVsCodeApi() : null;

function postToHost(message) {
  const full = { parc: 1, ...message };
  if (editor) editor.postMessage(full);
  else if (parent !== window) parent.postMessage(full, "*");
}

const parseIndex = (value, limit) => (Number.isInteger(value) && value >= 0 && value < limit ? value : null);

addEventListener("message", ({ data }) => {
  if (data?.parc !== 1) return;
  if (data.type === "highlight") {
    const axis = axes.some((each) => each.name === data.axis) ? data.axis : null;
    const rank = parseIndex(data.rank, plan.ranks);
    if (rank !== null) reveal(rank);
    update({ axis, stage: parseIndex(data.stage, plan.stages.length), pinned: rank, hover: null });
  } else if (data.type === "theme" && ["light", "dark"].includes(data.theme)) {
    document.documentElement.dataset.theme = data.theme;
  }
});
