startChips();
startMap();
startPanel();
startLine();
startCharts();
update({ shade: plan.pipeline[0] ?? axes[0]?.name ?? null });
if (plan.pinned !== null) {
  reveal(plan.pinned);
  update({ pinned: plan.pinned });
}
postToHost({ type: "ready", plan: plan.plan, ranks: plan.ranks });
