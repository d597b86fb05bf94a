// The head of the page, its findings and definitions; keys; and the start.

function showHead() {
  find("source").textContent = data.source;
  const files = data.numFiles > 1 ? `${told(data.numFiles)} files, ` : "";
  find("facts").textContent = `${files}${data.format}, layout ${data.layout}, ${amount(data.numRows, "row")}, ${bytesTold(data.numBytes)} · made by gae ${data.version}: `;
  find("facts").append(element("code", {}, data.command));
  const { counts: count, bootstrapped } = data;
  const ends = ["terminated", "truncated", "open"].filter((end) => count[end]).map((end) => `${told(count[end])} ${end}`).join(", ");
  const sources = Object.entries(bootstrapped).filter(([, number]) => number).map(([name, number]) => `${told(number)} ${name}`).join(", ");
  const cards = [
    ["Episodes", told(data.numEpisodes), ends],
    ["Steps", told(count.steps), null],
    ["Σ r per episode", short(data.statistics["rewards per episode"]?.mean ?? null), "mean, undiscounted"],
    data.hasValues ? ["Explained variance", short(data.explainedVariance), "1 − Var(R − V) / Var(R)"] : null,
    data.hasValues && sources ? ["Bootstraps", told(Object.values(bootstrapped).reduce((sum, number) => sum + number, 0)), sources] : null,
    data.groups ? ["Groups", told(data.groups.numGroups), `${told(data.groups.numFlat)} with equal scores`] : null,
    ["Findings", told(data.checks.findings.length), `of ${amount(data.checks.numRules, "rule")}`],
  ].filter(Boolean);
  find("cards").replaceChildren(...cards.map(([name, value, more]) => element("div", {}, element("dt", {}, name), element("dd", {}, value, more ? element("small", {}, more) : null))));
  find("num-findings").textContent = data.checks.findings.length ? `(${data.checks.findings.length})` : "";
  find("chosen").textContent = `${told(data.episodes.length)} of ${amount(data.numEpisodes, "episode")}: ${data.howChosen}. The strangest first.`;
}

// What an earlier run of gaecli was told otherwise.
function settingsTold(stored) {
  const differing = Object.entries(stored.settings).map(([name, value]) => `${name} ${value ?? "not given"}, here ${data.settings[name] ?? "not given"}`);
  return differing.length ? `It was made with ${differing.join("; ")}. gae report with the flags of that run computes the same.` : null;
}

function showNotes() {
  const notes = [];
  if (data.remark) notes.push(["note", "Note", data.remark, null]);
  const { stored } = data;
  if (stored) {
    const who = stored.is_own ? " (written by gaecli)" : "";
    const differing = stored.num_differing;
    if (differing) {
      notes.push(["warning", "Advantages", `The column “${stored.column}” of the file${who} differs from what these settings compute in ${told(differing)} of ${amount(stored.num_compared, "step")}, by up to ${told(stored.max_abs)}. Both are drawn.`,
        settingsTold(stored) ?? "gae verify finds the rule that made it; gae report with its flags computes the same"]);
    } else {
      notes.push(["note", "Advantages", `The column “${stored.column}” of the file${who} is what these settings compute, at all ${amount(stored.num_compared, "step")} (|difference| ≤ 10⁻⁸ + 10⁻⁵ of the larger).`, null]);
    }
  }
  for (const warning of data.warnings) notes.push(["warning", warning.code, warning.message, warning.hint]);
  find("notes").replaceChildren(...notes.map(([kind, badge, text, hint]) => element("li", { class: kind },
    element("span", { class: "badge" }, badge), text, hint ? element("div", { class: "told" }, `→ ${hint}`) : null)));
}

function showFindings() {
  const { findings, failures, numRules } = data.checks;
  find("checked").textContent = findings.length || failures.length ? `${amount(findings.length, "finding")} of ${amount(numRules, "rule")}.` : `Nothing is wrong by ${amount(numRules, "rule")}.`;
  const order = ["error", "warning", "note"];
  const sorted = [...findings].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const items = sorted.map((one) => element("li", { class: one.severity, title: one.why },
    element("span", { class: "badge" }, `${one.severity} ${one.code}`), one.message,
    one.place && !one.message.includes(one.place) ? element("span", { class: "told" }, ` · ${one.place}`) : null,
    one.fix ? element("div", { class: "told" }, `→ ${one.fix}`) : null,
    one.episode !== null ? element("button", { type: "button", onclick: () => jumpTo(one.episode, one.position) }, `Show step ${told(one.position)} of episode ${cut(labels[one.episode], 60)}`) : null));
  items.push(...failures.map((one) => element("li", { class: "error" }, element("span", { class: "badge" }, "not checked"), `${one.file}: ${one.message}`)));
  find("finding-list").replaceChildren(...items);
}

function definitions() {
  const has = (name) => data.episodes.some((episode) => episode.curves.series[name]);
  return [
    ["Estimator", `${data.estimator}: ${data.method}`],
    ["Σ r", "the rewards of an episode added up, undiscounted; masked steps count for nothing"],
    has("return") ? ["Return R", "what the estimator gives the value to learn: A + V, or the discounted rewards to the end where there is no value"] : null,
    has("advantage") ? ["Advantage A", "as gae compute would write it with the settings below, normalised if they say so"] : null,
    has("delta") ? ["TD error δ", "rₜ + γ V(sₜ₊₁) − V(sₜ), with V(sₜ₊₁) = 0 after a terminal step"] : null,
    data.hasValues ? ["V error", "root mean square of R − V over the steps of an episode"] : null,
    ["Strange", "distance from the median of all episodes, in standard deviations that the quartiles suggest (interquartile range / 1.349), of the measure that is farthest off: steps, Σ r, max |A|, V error, max |δ|"],
    ["End", "terminated: a flag says that the next state is terminal. Truncated: a flag says that the episode was cut. Open: the data stop"],
    ["Curves", `${amount(data.numPoints, "point")} of all episodes on this page, in float32; sums and extremes are of all steps, in float64`],
    ["Rows", "count from 0, over all files of the input; for arrays their cells"],
  ].filter(Boolean);
}

function showAbout() {
  const pairs = (entries) => element("table", {}, element("tbody", {}, ...entries.map(([name, value]) => element("tr", {}, element("th", { scope: "row", class: "text" }, name), element("td", { class: "text wide" }, typeof value === "object" ? JSON.stringify(value) : String(value))))));
  find("about-body").replaceChildren(
    element("dl", {}, ...definitions().flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])),
    element("h3", {}, "Columns, by what they are read as"), pairs(Object.entries(data.roles)),
    element("details", {}, element("summary", {}, "All settings"), pairs(Object.entries(data.settings))),
    ...data.provenance.map((entry) => element("details", {}, element("summary", {}, "Written into the file by an earlier gae compute"), element("pre", {}, JSON.stringify(entry, null, 2)))));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  find("theme").textContent = theme === "dark" ? "Light" : "Dark";
  find("theme").setAttribute("aria-pressed", String(theme === "dark"));
  redrawCharts();
  if (scatter.plot) scatter.plot.redraw(false, true);
}

function startTheme() {
  const asked = matchMedia("(prefers-color-scheme: dark)");
  setTheme(asked.matches ? "dark" : "light");
  asked.addEventListener("change", () => setTheme(asked.matches ? "dark" : "light"));
  find("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); find("search").focus(); find("search").select(); }
    if (event.key === "j") moveSelection(1);
    if (event.key === "k") moveSelection(-1);
    if (event.key === "Escape") clearSearch();
  });
}

startTheme();
showHead();
showNotes();
showFindings();
startCharts();
startList();
showGroups();
showDistributions();
showScatter();
showAbout();
startKeys();
document.documentElement.dataset.ready = "true";
