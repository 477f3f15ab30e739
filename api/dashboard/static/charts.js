// Draws what api/dashboard/charts.py describes. Values come as exact decimals: numbers are only made to place them, what
// is written beside a point are the digits that came.
"use strict";
(() => {
  const drawn = new Map();
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  // A colour of the style sheet, resolved for the theme that is shown.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  function colour(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  function grouped(text, digits) {
    const negative = text.startsWith("-");
    const [whole, rest = ""] = text.replace("-", "").split(".");
    const parts = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
    const decimals = rest.padEnd(digits, "0");
    return (negative ? "−" : "") + parts + (decimals ? `.${decimals}` : "");
  }
  const SIZES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  function short(value) {
    for (const [size, letter] of SIZES) if (Math.abs(value) >= size) return `${+(value / size).toPrecision(3)}${letter}`;
    return `${+value.toPrecision(3)}`;
  }
  function place(spec, x) {
    if (!spec.precision) return x;
    return window.tallyInstant(x, spec.precision, spec.time_zone);
  }
  function axisLabel(spec, x) {
    if (!spec.precision) return x;
    const at = new Date(x), zone = spec.time_zone || undefined;
    const part = (options) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone, hourCycle: "h23" }).format(at);
    if (spec.precision === "month") return part({ month: "short", year: "2-digit" });
    if (spec.precision === "day") return part({ day: "numeric", month: "short" });
    const clock = part({ hour: "2-digit", minute: "2-digit" });
    return clock === "00:00" ? part({ day: "numeric", month: "short" }) : clock;
  }

  function tooltip(spec, shown) {
    const box = document.createElement("div");
    box.className = "chart-tip";
    const head = document.createElement("strong");
    head.textContent = place(spec, spec.x[shown[0].dataIndex]);
    box.append(head);
    const list = document.createElement("dl");
    for (const one of shown) {
      const value = spec.series[one.seriesIndex].values[one.dataIndex];
      if (value === null) continue;
      const name = document.createElement("dt"), said = document.createElement("dd");
      const dot = document.createElement("i");
      dot.style.background = one.color;
      name.append(dot, spec.series[one.seriesIndex].name);
      said.textContent = grouped(value, spec.digits);
      list.append(name, said);
    }
    box.append(list);
    return box;
  }

  function seriesOf(spec, one, at, colours) {
    const isLine = spec.kind === "line" || spec.kind === "area" || one.role === "before" || one.role === "limit";
    const tint = { before: colour("--ink"), limit: colour("--bad"), rest: colour("--line-2") }[one.role] || colours[at % colours.length];
    const common = { name: one.name, data: one.values.map((value) => (value === null ? null : Number(value))), itemStyle: { color: tint }, emphasis: { focus: "none" } };
    if (isLine) {
      return {
        ...common, type: "line", symbol: "none", step: one.role === "limit" ? "end" : false, connectNulls: one.role !== "value", z: 3,
        lineStyle: { color: tint, width: one.role === "value" ? 2 : 1.5, type: one.role === "value" ? "solid" : "dashed" },
        areaStyle: spec.kind === "area" && one.role === "value" ? { color: tint, opacity: 0.12 } : undefined,
      };
    }
    return { ...common, type: "bar", stack: spec.kind === "stacked" ? "all" : undefined, barMaxWidth: spec.kind === "rows" ? 18 : 36, barCategoryGap: spec.x.length > 60 ? "12%" : "28%", barMinHeight: 1 };
  }

  function options(spec, width) {
    const colours = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => colour(`--c${n}`));
    const quiet = { color: colour("--ink-2"), fontSize: 11, fontFamily: getComputedStyle(document.body).fontFamily };
    const lies = spec.kind === "rows";
    const names = {
      type: "category", data: spec.x, inverse: lies, boundaryGap: !(spec.kind === "line" || spec.kind === "area"),
      axisLine: { lineStyle: { color: colour("--line-2") } }, axisTick: { show: false },
      axisLabel: { ...quiet, hideOverlap: true, formatter: (x) => axisLabel(spec, x), width: lies ? Math.min(240, width * 0.4) : undefined, overflow: "truncate" },
    };
    const values = {
      type: "value", splitNumber: 4, axisLabel: { ...quiet, formatter: short }, splitLine: { lineStyle: { color: colour("--line") } },
    };
    const named = spec.series.length > 1;
    return {
      animation: !calm.matches, animationDuration: 250, animationDurationUpdate: 250,
      textStyle: quiet,
      grid: { left: 4, right: 12, top: named ? 34 : 12, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      legend: named ? { type: "scroll", top: 0, left: 0, icon: "roundRect", itemWidth: 10, itemHeight: 10, itemGap: 14, textStyle: quiet, pageIconColor: colour("--ink-2"), pageTextStyle: quiet, inactiveColor: colour("--line-2") } : undefined,
      tooltip: { trigger: "axis", confine: true, backgroundColor: "transparent", borderWidth: 0, padding: 0, extraCssText: "box-shadow:none", transitionDuration: 0.1, axisPointer: { type: lies || spec.kind.match(/bars|stacked/) ? "shadow" : "line", shadowStyle: { color: colour("--hover") }, lineStyle: { color: colour("--ink-3") } }, formatter: (shown) => tooltip(spec, [].concat(shown)) },
      xAxis: lies ? values : names,
      yAxis: lies ? names : values,
      series: spec.series.map((one, at) => seriesOf(spec, one, at, colours)),
    };
  }

  function draw(plot) {
    const data = document.getElementById(plot.dataset.chart);
    if (!data) return;
    const spec = JSON.parse(data.textContent);
    if (spec.kind === "rows") plot.style.height = `${Math.max(spec.x.length * 28 + 40, 90)}px`;
    let chart = drawn.get(plot);
    if (!chart) {
      chart = window.echarts.init(plot, null, { renderer: "canvas" });
      drawn.set(plot, chart);
      sizes.observe(plot);
    }
    chart.setOption(options(spec, plot.clientWidth), true);
  }
  const sizes = new ResizeObserver((seen) => { for (const { target } of seen) drawn.get(target)?.resize(); });

  function all() {
    for (const [plot, chart] of drawn) {
      if (!plot.isConnected) { sizes.unobserve(plot); chart.dispose(); drawn.delete(plot); }
    }
    for (const plot of document.querySelectorAll("[data-chart]")) if (!drawn.has(plot)) draw(plot);
  }
  function again() { for (const plot of drawn.keys()) if (plot.isConnected) draw(plot); }

  document.addEventListener("htmx:afterSettle", all);
  document.addEventListener("tally:theme", again);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  all();
})();
