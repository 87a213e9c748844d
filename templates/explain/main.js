chipsOfAxes();
startMap();
startPanel();
startLine();
startCharts();
look({ shade: plan.pipeline[0] ?? axes[0]?.name ?? null });
tell({ type: "ready", plan: plan.plan, ranks: plan.ranks });
