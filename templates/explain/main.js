chipsOfAxes();
startMap();
startPanel();
startLine();
startCharts();
look({ shade: plan.pipeline[0] ?? axes[0]?.name ?? null });
if (plan.pinned !== null) {
  reveal(plan.pinned);
  look({ pinned: plan.pinned });
}
tell({ type: "ready", plan: plan.plan, ranks: plan.ranks });
