// The state of the page: one object. Whatever is drawn listens to its changes.
const state = { hover: null, pinned: null, axis: null, names: null, stage: null, shade: null };
const listeners = [];

function update(change) {
  Object.assign(state, change);
  for (const listener of listeners) listener(state);
}

// The rank whose groups are highlighted: the one under the pointer, otherwise the pinned one.
const rankInView = () => state.hover ?? state.pinned;
const stageInView = () => state.stage ?? (rankInView() === null ? null : stageOf(rankInView()));

function pin(rank) {
  update({ pinned: state.pinned === rank ? null : rank });
  if (state.pinned !== null) postToHost({ type: "rank", rank });
}

// Makes a row of a chart or table highlight its stage.
function linkToStage(element, stage) {
  element.addEventListener("pointerenter", () => update({ stage }));
  element.addEventListener("pointerleave", () => update({ stage: null }));
  element.addEventListener("focus", () => update({ stage }));
  element.addEventListener("blur", () => update({ stage: null }));
  element.addEventListener("click", () => postToHost({ type: "stage", stage }));
}
