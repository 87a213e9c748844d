// What is looked at: one object, and everything that is drawn follows it.
const state = { hover: null, pinned: null, axis: null, names: null, stage: null, shade: null };
const followers = [];

function look(change) {
  Object.assign(state, change);
  for (const follow of followers) follow(state);
}

// The rank whose groups are lit: that under the pointer, else the pinned one.
const rankInView = () => state.hover ?? state.pinned;
const stageInView = () => state.stage ?? (rankInView() === null ? null : stageOf(rankInView()));

function pin(rank) {
  look({ pinned: state.pinned === rank ? null : rank });
  if (state.pinned !== null) tell({ type: "rank", rank });
}

// Rows of charts and tables that stand for a stage.
function standsFor(element, stage) {
  element.addEventListener("pointerenter", () => look({ stage }));
  element.addEventListener("pointerleave", () => look({ stage: null }));
  element.addEventListener("focus", () => look({ stage }));
  element.addEventListener("blur", () => look({ stage: null }));
  element.addEventListener("click", () => tell({ type: "stage", stage }));
}
