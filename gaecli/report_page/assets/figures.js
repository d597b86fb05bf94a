// Distributions, value against return, groups.

function histogram(name, statistics) {
  const bars = statistics.histogram;
  const [low, high] = statistics.histogram_range;
  const most = Math.max(...bars, 1);
  const width = 240 / bars.length;
  const shown = bars.map((count, index) => {
    const height = count ? Math.max((count / most) * 84, 1) : 0;
    const [from, to] = [0, 1].map((side) => low + ((high - low) * (index + side)) / bars.length);
    const bar = drawn("rect", { class: "bar", x: index * width + 0.5, y: 88 - height, width: Math.max(width - 1, 0.5), height });
    bar.append(drawn("title", {}, document.createTextNode(`${short(from)} to ${short(to)}: ${told(count)}`)));
    return bar;
  });
  const says = `Histogram of ${name}: from ${short(low)} to ${short(high)}, median ${short(statistics.median)}`;
  return element("figure", {},
    element("figcaption", {}, name),
    drawn("svg", { viewBox: "0 0 240 90", preserveAspectRatio: "none", role: "img", "aria-label": says }, ...shown, drawn("line", { class: "axis", x1: 0, x2: 240, y1: 88.5, y2: 88.5 })),
    element("div", { class: "ends" }, element("span", {}, short(low)), element("span", {}, `median ${short(statistics.median)}`), element("span", {}, short(high))),
    statistics.sample_count < statistics.count ? element("div", { class: "told" }, `of ${told(statistics.sample_count)} evenly spread of ${told(statistics.count)}`) : null);
}

function showDistributions() {
  const all = Object.entries(data.statistics);
  find("histograms").replaceChildren(...all.filter(([, one]) => one.histogram.length).map(([name, one]) => histogram(name, one)));
  const columns = ["count", "mean", "std", "min", "median", "max"];
  find("statistics").replaceChildren(
    element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "text" }, element("span", {}, "column")), ...columns.map((name) => element("th", { scope: "col" }, element("span", {}, name))))),
    element("tbody", {}, ...all.map(([name, one]) => element("tr", {}, element("th", { scope: "row", class: "text" }, name), ...columns.map((column) => element("td", {}, told(one[column])))))));
}

const scatter = { plot: null };

function showScatter() {
  if (!data.scatter) return;
  find("explained").hidden = find("to-explained").hidden = false;
  const values = Array.from(floats(data.scatter.values), (number) => (Number.isFinite(number) ? number : null));
  const returns = Array.from(floats(data.scatter.returns), (number) => (Number.isFinite(number) ? number : null));
  const rows = counts(data.scatter.rows);
  const share = data.explainedVariance === null ? "not defined, as the returns do not vary" : told(data.explainedVariance);
  find("explained-told").textContent = `Explained variance 1 − Var(R − V) / Var(R) = ${share}, over all steps with an advantage; R is the return of the settings of this page. ` +
    `Drawn: ${values.length === data.scatter.numSteps ? "all" : `${told(values.length)} evenly spread of`} ${amount(data.scatter.numSteps, "step")}. On the line the value is the return.`;
  const told_ = element("p", { class: "told", id: "scatter-step", "aria-live": "off" }, " ");
  const box = find("scatter");
  const axis = { stroke: () => color("soft"), grid: { stroke: () => color("grid"), width: 1 }, ticks: { stroke: () => color("grid") }, values: (_, splits) => splits.map(short) };
  scatter.plot = new uPlot({
    width: Math.max(box.clientWidth, 200),
    height: 320,
    legend: { show: false },
    scales: { x: { time: false } },
    axes: [{ ...axis, label: "value V(s)", labelSize: 24 }, { ...axis, size: 66, label: "return R", labelSize: 20 }],
    series: [{}, { stroke: () => color("value"), paths: () => null, points: { show: true, size: 4, width: 0, fill: () => `${color("value")}77` } }],
    cursor: { drag: { x: true, y: true, uni: 30 } },
    hooks: {
      draw: [diagonal],
      setCursor: [(plot) => {
        const at = plot.cursor.idx;
        if (at !== null && at !== undefined) told_.textContent = `Row ${told(rows[at])}: V ${told(values[at])}, R ${told(returns[at])}`;
      }],
    },
  }, [values, returns], box);
  box.append(told_);
  new ResizeObserver(() => scatter.plot.setSize({ width: Math.max(box.clientWidth, 200), height: 320 })).observe(box);
}

function diagonal(plot) {
  const { ctx, bbox, scales } = plot;
  const low = Math.max(scales.x.min, scales.y.min);
  const high = Math.min(scales.x.max, scales.y.max);
  if (!(high > low)) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = color("return");
  ctx.lineWidth = 1.5 * (window.devicePixelRatio || 1);
  ctx.beginPath();
  ctx.moveTo(plot.valToPos(low, "x", true), plot.valToPos(low, "y", true));
  ctx.lineTo(plot.valToPos(high, "x", true), plot.valToPos(high, "y", true));
  ctx.stroke();
  ctx.restore();
}

const GROUP_COLUMNS = [
  { name: "Group", key: (group) => group.label, isText: true, up: true },
  { name: "Responses", key: (group) => group.count },
  { name: "Mean", key: (group) => group.mean, up: true },
  { name: "Std", key: (group) => group.std, up: true, says: "ddof 0; 0 is a group that teaches nothing" },
  { name: "Min", key: (group) => group.min },
  { name: "Max", key: (group) => group.max },
];
const groupTable = { column: 3, isUp: true };

function showGroups() {
  if (!data.groups) return;
  const { groups, numGroups, numFlat, numAlone, howChosen, columns } = data.groups;
  find("groups").hidden = find("to-groups").hidden = false;
  const share = ((100 * numFlat) / numGroups).toFixed(1);
  find("groups-told").textContent = `Equal ${columns.map((name) => `“${name}”`).join(", ")}: ${amount(numGroups, "group")}, ${told(numFlat)} of them (${share}%) with equal scores, whose advantages are 0` +
    `${numAlone ? `, ${told(numAlone)} with a single response` : ""}. Shown: ${groups.length === numGroups ? "all" : `${told(groups.length)} (${howChosen})`}. A button leads to the episodes that are on this page.`;
  find("group-columns").replaceChildren(...GROUP_COLUMNS.map((column, index) => element("th", { scope: "col", class: column.isText ? "text" : null },
    element("button", { type: "button", title: column.says, onclick: () => {
      groupTable.isUp = groupTable.column === index ? !groupTable.isUp : Boolean(column.up);
      groupTable.column = index;
      fillGroups();
    } }, column.name, element("span", { "aria-hidden": "true" })))), element("th", { scope: "col", class: "text" }, element("span", {}, "Scores")));
  fillGroups();
}

function fillGroups() {
  const { groups } = data.groups;
  const low = Math.min(...groups.map((group) => group.min));
  const high = Math.max(...groups.map((group) => group.max));
  const { key } = GROUP_COLUMNS[groupTable.column];
  const order = groups.map((_, index) => index).sort((a, b) => compared(key(groups[a]), key(groups[b]), groupTable.isUp ? 1 : -1) || a - b);
  const onPage = new Set(data.episodes.map((episode) => episode.group));
  find("group-rows").replaceChildren(...order.map((index) => {
    const group = groups[index];
    const name = onPage.has(index) ? element("button", { type: "button", onclick: () => showGroup(index) }, cut(group.label, 80)) : cut(group.label, 80);
    return element("tr", { class: group.is_flat ? "flat" : null },
      element("td", { class: "text wide" }, name),
      ...[told(group.count), short(group.mean), group.is_flat ? "0 (equal)" : short(group.std), short(group.min), short(group.max)].map((text) => element("td", {}, text)),
      element("td", { class: "text" }, dots(group, low, high)));
  }));
  for (const [index, heading] of [...find("group-columns").children].slice(0, GROUP_COLUMNS.length).entries()) {
    const isIt = index === groupTable.column;
    heading.setAttribute("aria-sort", isIt ? (groupTable.isUp ? "ascending" : "descending") : "none");
    heading.querySelector("span").textContent = isIt ? (groupTable.isUp ? " ▲" : " ▼") : "";
  }
}

// Equal scores stand on top of each other.
function dots(group, low, high) {
  const seen = new Map();
  const marks = group.scores.map((score) => {
    const x = high > low ? 6 + (208 * (score - low)) / (high - low) : 110;
    const level = seen.get(Math.round(x / 3)) ?? 0;
    seen.set(Math.round(x / 3), level + 1);
    return drawn("circle", { class: "dot", cx: x, cy: 20 - Math.min(level * 2.4, 17), r: 3 });
  });
  const says = `${amount(group.scores.length, "score")} from ${short(group.min)} to ${short(group.max)}`;
  return drawn("svg", { width: 220, height: 26, role: "img", "aria-label": says }, drawn("line", { class: "axis", x1: 4, x2: 216, y1: 24.5, y2: 24.5 }), ...marks);
}
