// The curves of one episode: panels that share the step, hovered, kept or zoomed.

const CURVES = {
  reward: { name: "reward r", dash: [], says: "rₜ, after acting in sₜ" },
  value: { name: "value V", dash: [], says: "V(sₜ) as the file has it" },
  return: { name: "return R", dash: [7, 4], says: "what the value is to learn" },
  advantage: { name: "advantage A", dash: [], says: "computed with the settings of this page" },
  stored: { name: "advantage in the file", dash: [10, 3, 2, 3], says: "the column that is there already" },
  delta: { name: "TD error δ", dash: [2, 3], says: "rₜ + γ V(sₜ₊₁) − V(sₜ)" },
};
const PANELS = [["reward"], ["value", "return"], ["advantage", "stored", "delta"]];
const BOOTSTRAPS = {
  "none": "nothing: the state after it is terminal",
  "next value": "V(sₜ₊₁) that the file gives",
  "current": "V(sₜ) of the step itself (--bootstrap current)",
  "zero": "0, as the file gives no value there",
};

// Between marks of an axis of steps.
const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

const charts = { plots: [], index: -1, places: null, columns: {}, kept: null, hidden: new Set() };

function swatch(name) {
  const line = drawn("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: `var(--${name})`, "stroke-width": 2.5, "stroke-dasharray": CURVES[name].dash.join(" ") });
  return drawn("svg", { class: "swatch", width: 26, height: 10, "aria-hidden": "true" }, line);
}

function showEpisode(index, position = null) {
  const episode = data.episodes[index];
  charts.index = index;
  charts.places = placesOf(index);
  charts.columns = {};
  for (const name of Object.keys(CURVES)) {
    if (episode.curves.series[name]) charts.columns[name] = seriesOf(index, name);
  }
  for (const plot of charts.plots) plot.destroy();
  charts.plots = [];
  const box = find("curves");
  const panels = PANELS.map((names) => names.filter((name) => charts.columns[name])).filter((names) => names.length);
  box.replaceChildren(...panels.map((names) => panel(names, box.clientWidth)));
  find("episode-title").textContent = cut(labels[index].replace(/^#/, "Episode #"), 200);
  find("episode-facts").textContent = episodeFacts(episode);
  keep(position === null ? 0 : nearest(position), position !== null);
}

function episodeFacts(episode) {
  const { curves } = episode;
  const parts = [amount(episode.steps, "step")];
  if (episode.positions !== episode.steps) parts.push(`${told(episode.positions - episode.steps)} more masked`);
  parts.push(`from row ${told(episode.row)}${data.numFiles > 1 ? ` of ${episode.file}` : ""}`, endTold(episode));
  if (episode.value !== null) parts.push(`mean V ${short(episode.value)}`);
  if (episode.delta !== null) parts.push(`largest |δ| ${short(episode.delta)}`);
  parts.push(`on this page as: ${episode.chosenAs.join(", ")}`);
  if (curves.count < episode.positions) {
    parts.push(`drawn with ${told(curves.count)} of them: the smallest and largest of each stretch, and both ends`);
  }
  return `${parts.join(" · ")}.`;
}

function endTold(episode) {
  if (!data.hasValues) return `ends ${episode.end}`;
  const value = episode.bootstrap === "next value" || episode.bootstrap === "current" ? ` (${told(episode.bootstrapValue)})` : "";
  return `ends ${episode.end}, bootstrapped with ${BOOTSTRAPS[episode.bootstrap]}${value}`;
}

function panel(names, width) {
  const target = element("div");
  const plot = new uPlot(options(names, width), [charts.places.steps, ...names.map((name) => charts.columns[name])], target);
  charts.plots.push(plot);
  const legend = element("div", { class: "legend" }, ...names.map((name, index) =>
    element("button", { type: "button", "aria-pressed": String(!charts.hidden.has(name)), title: "show or hide", onclick: (event) => {
      const isShown = !plot.series[index + 1].show;
      plot.setSeries(index + 1, { show: isShown });
      charts.hidden[isShown ? "delete" : "add"](name);
      event.currentTarget.setAttribute("aria-pressed", String(isShown));
    } }, swatch(name), CURVES[name].name)));
  return element("div", { class: "panel" }, legend, target);
}

function options(names, width) {
  const count = charts.places.steps.length;
  const axis = { stroke: () => color("soft"), grid: { stroke: () => color("grid"), width: 1 }, ticks: { stroke: () => color("grid") } };
  return {
    width: Math.max(width, 200),
    height: 165,
    legend: { show: false },
    // Of a single step uPlot would show a hundred.
    scales: { x: { time: false, range: (_, low, high) => (count === 1 ? [charts.places.steps[0] - 0.5, charts.places.steps[0] + 0.5] : [low, high]) } },
    axes: [{ ...axis, incrs: WHOLE }, { ...axis, size: 66, space: 26, values: (_, splits) => splits.map(short) }],
    series: [{}, ...names.map((name) => ({
      label: CURVES[name].name,
      show: !charts.hidden.has(name),
      stroke: () => color(name),
      width: 1.7,
      dash: CURVES[name].dash,
      points: { show: count <= 60, size: 5 },
    }))],
    cursor: { y: false, sync: { key: "step", setSeries: false }, drag: { x: true, y: false, dist: 5 }, points: { size: 7 } },
    hooks: {
      drawClear: [(plot) => shade(plot)],
      draw: [(plot) => mark(plot)],
      setCursor: [(plot) => { if (plot.cursor.idx !== null && plot.cursor.idx !== undefined && plot.cursor.event) showStep(plot.cursor.idx); }],
      setScale: [(plot, key) => { if (key === "x") zoomAlike(plot); }],
      ready: [(plot) => {
        plot.over.addEventListener("click", () => { if (plot.cursor.idx !== null && plot.cursor.idx !== undefined) keep(plot.cursor.idx, true); });
        plot.over.addEventListener("mouseleave", () => showStep(charts.kept));
      }],
    },
  };
}

function zoomAlike(from) {
  const { min, max } = from.scales.x;
  for (const plot of charts.plots) {
    if (plot !== from && (plot.scales.x.min !== min || plot.scales.x.max !== max)) plot.setScale("x", { min, max });
  }
}

function zoom(factor) {
  const plot = charts.plots[0];
  const { steps } = charts.places;
  const [first, last] = [steps[0], steps[steps.length - 1]];
  if (factor === null || last === first) { plot.setScale("x", { min: first, max: last }); return; }
  const { min, max } = plot.scales.x;
  const middle = Math.min(Math.max(steps[charts.kept], min), max);
  const width = Math.min(Math.max((max - min) * factor, 4), last - first);
  const low = Math.min(Math.max(middle - width / 2, first), last - width);
  plot.setScale("x", { min: low, max: low + width });
}

// Masked steps are shaded.
function shade(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = color("masked");
  for (const [first, last] of data.episodes[charts.index].curves.masked) {
    const left = Math.max(plot.valToPos(first - 0.5, "x", true), bbox.left);
    const right = Math.min(plot.valToPos(last + 0.5, "x", true), bbox.left + bbox.width);
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

// The end of the episode, its findings, and the step that is kept.
function mark(plot) {
  const { ctx, bbox } = plot;
  const { steps } = charts.places;
  const episode = data.episodes[charts.index];
  const pixels = window.devicePixelRatio || 1;
  const line = (step, dash, ink) => {
    const x = Math.round(plot.valToPos(step, "x", true));
    if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) return null;
    ctx.strokeStyle = ink;
    ctx.lineWidth = pixels;
    ctx.setLineDash(dash.map((part) => part * pixels));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    return x;
  };
  ctx.save();
  ctx.font = `${11 * pixels}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  const end = line(steps[steps.length - 1], { terminated: [], truncated: [6, 3], open: [1, 3] }[episode.end], color("bad"));
  if (end !== null) {
    ctx.fillStyle = color("bad");
    ctx.textAlign = "right";
    ctx.fillText(episode.end, end - 4 * pixels, bbox.top + 2 * pixels);
  }
  for (const finding of data.checks.findings) {
    if (finding.episode !== charts.index) continue;
    const x = line(finding.position, [2, 2], color("warn"));
    if (x === null) continue;
    ctx.fillStyle = color("warn");
    ctx.textAlign = x > bbox.left + bbox.width / 2 ? "right" : "left";
    ctx.fillText(` ▼ ${finding.code} `, x, bbox.top + bbox.height - 14 * pixels);
  }
  if (charts.kept !== null) line(steps[charts.kept], [4, 2], color("focus"));
  ctx.restore();
}

function nearest(position) {
  const { steps } = charts.places;
  let best = 0;
  for (let index = 1; index < steps.length; index++) {
    if (Math.abs(steps[index] - position) < Math.abs(steps[best] - position)) best = index;
  }
  return best;
}

// A step stays shown once the pointer has left the curves.
function keep(point, isRedrawn) {
  charts.kept = Math.min(Math.max(point, 0), charts.places.steps.length - 1);
  if (isRedrawn) for (const plot of charts.plots) plot.redraw(false);
  showStep(charts.kept);
}

function showStep(point) {
  if (point === null || point === undefined) return;
  const { steps, rows, items } = charts.places;
  const episode = data.episodes[charts.index];
  const item = items === null ? null : items[point];
  find("step-title").textContent = `Step ${told(steps[point])} of ${told(episode.positions)}, row ${told(rows[point])}${data.byItem ? `, item ${told(item)}` : ""}`;
  const lines = Object.entries(charts.columns).map(([name, numbers]) => element("tr", {},
    element("th", { scope: "row" }, swatch(name), CURVES[name].name),
    element("td", {}, told(numbers[point])),
    element("td", { class: "text" }, CURVES[name].says)));
  find("step-numbers").tBodies[0].replaceChildren(...lines);
  const isMasked = episode.curves.masked.some(([first, last]) => first <= steps[point] && steps[point] <= last);
  const flags = [];
  if (isMasked) flags.push("masked: it counts for nothing");
  if (steps[point] === episode.positions - 1) flags.push(endTold(episode));
  const findings = data.checks.findings.filter((one) => one.episode === charts.index && one.position === steps[point]);
  flags.push(...findings.map((one) => `${one.code}: ${one.message}`));
  find("step-ends").textContent = flags.join(" · ");
  find("step-command").textContent = explainCommand(rows[point], item);
}

async function copyCommand() {
  const text = find("step-command").textContent;
  let isDone = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(find("step-command"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    isDone = document.execCommand("copy");
  }
  find("copy").textContent = isDone ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { find("copy").textContent = "Copy"; }, 1500);
}

function redrawCharts() {
  for (const plot of charts.plots) plot.redraw(false, true);
}

function startCharts() {
  const box = find("curves");
  new ResizeObserver(() => {
    for (const plot of charts.plots) {
      if (Math.abs(plot.width - box.clientWidth) > 1) plot.setSize({ width: Math.max(box.clientWidth, 200), height: plot.height });
    }
  }).observe(box);
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = charts.places.steps.length - 1;
    const stride = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: () => keep(charts.kept - stride, true), ArrowRight: () => keep(charts.kept + stride, true),
      Home: () => keep(0, true), End: () => keep(last, true),
      ArrowUp: () => moveSelection(-1), ArrowDown: () => moveSelection(1),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => zoom(null),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  find("zoom-in").addEventListener("click", () => zoom(0.5));
  find("zoom-out").addEventListener("click", () => zoom(2));
  find("zoom-all").addEventListener("click", () => zoom(null));
  find("copy").addEventListener("click", copyCommand);
}
