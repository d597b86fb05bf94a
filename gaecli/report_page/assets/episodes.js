// The list of episodes: sorted, searched, walked by keys.

const COLUMNS = [
  { name: "Episode", key: (episode) => episode.number, text: (_, index) => cut(labels[index], 60), more: why, isText: true, isWide: true, up: true, says: "in the order in which they begin; below each its strangest measure" },
  { name: "Steps", key: (episode) => episode.steps, text: (episode) => told(episode.steps), says: "steps that count" },
  { name: "Σ r", key: (episode) => episode.reward, text: (episode) => short(episode.reward), up: true, says: "sum of the rewards of the episode, undiscounted; the worst first" },
  { name: "max |A|", key: (episode) => episode.advantage, text: (episode) => short(episode.advantage), needs: "advantage", says: "largest advantage in size" },
  { name: "V error", key: (episode) => episode.error, text: (episode) => short(episode.error), needs: "error", says: "root mean square of R − V over the episode" },
  { name: "End", key: (episode) => episode.end, text: (episode) => episode.end, isText: true, up: true, says: "terminated, truncated, or open: the data just stop" },
  { name: "Strange", key: (episode) => episode.strangeness, text: (episode) => short(Math.round(episode.strangeness * 10) / 10), says: "how many standard deviations its strangest measure is off the median of all episodes (by quartiles)" },
].filter((column) => !column.needs || data.episodes.some((episode) => episode[column.needs] !== null));

const list = { column: COLUMNS.findIndex((column) => column.name === "Strange"), isUp: false, order: [], rows: [], selected: -1, group: null };

function why(episode) {
  const findings = data.checks.findings.filter((finding) => data.episodes[finding.episode] === episode).map((finding) => finding.code);
  const measure = `${episode.strangest} ${short(episode.measure)}, median ${short(episode.median)}`;
  const group = data.groups && episode.group !== null ? [cut(data.groups.groups[episode.group].label, 50)] : [];
  return [...findings, ...group, measure].join("; ");
}

function startList() {
  find("columns").replaceChildren(...COLUMNS.map((column, index) => element("th", { scope: "col", class: column.isText ? "text" : null },
    element("button", { type: "button", title: column.says, onclick: () => sortBy(index) }, column.name, element("span", { "aria-hidden": "true" })))));
  list.rows = data.episodes.map((episode, index) => element("tr", { tabindex: -1, "data-index": index, "aria-selected": "false" },
    ...COLUMNS.map((column) => element("td", { class: [column.isText ? "text" : "", column.isWide ? "wide" : ""].join(" ").trim() || null },
      column.text(episode, index), column.more ? element("small", {}, column.more(episode)) : null))));
  list.texts = list.rows.map((row, index) => `${labels[index]} ${row.textContent} ${data.episodes[index].chosenAs.join(" ")}`.toLowerCase());
  find("rows").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) select(Number(row.dataset.index), { hasFocus: true });
  });
  find("rows").addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moveSelection(steps[event.key], { hasFocus: true });
  });
  find("search").addEventListener("input", showList);
  find("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); moveSelection(list.order.includes(list.selected) ? 0 : -Infinity, { hasFocus: true }); }
    if (event.key === "Escape") clearSearch();
  });
  showList();
  if (list.order.length) select(list.order[0]);
}

function sortBy(index) {
  list.isUp = index === list.column ? !list.isUp : Boolean(COLUMNS[index].up);
  list.column = index;
  showList();
}

function showList() {
  const wanted = find("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const { key } = COLUMNS[list.column];
  const sign = list.isUp ? 1 : -1;
  const keys = data.episodes.map(key);
  list.order = data.episodes.map((_, index) => index)
    .filter((index) => list.group === null || data.episodes[index].group === list.group)
    .filter((index) => wanted.every((word) => list.texts[index].includes(word)))
    .sort((a, b) => compared(keys[a], keys[b], sign) || data.episodes[a].number - data.episodes[b].number);
  find("rows").replaceChildren(...list.order.map((index) => list.rows[index]));
  const group = list.group === null ? "" : ` of group ${cut(data.groups.groups[list.group].label, 40)} (Esc: all)`;
  find("matches").textContent = `${told(list.order.length)} of ${told(data.episodes.length)}${group}`;
  for (const [index, heading] of [...find("columns").children].entries()) {
    const isIt = index === list.column;
    heading.setAttribute("aria-sort", isIt ? (list.isUp ? "ascending" : "descending") : "none");
    heading.querySelector("span").textContent = isIt ? (list.isUp ? " ▲" : " ▼") : "";
  }
  tabTo(list.order.includes(list.selected) ? list.selected : list.order[0]);
}

// What is no number comes last, whichever way.
function compared(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (a === b) return 0;
  return (a < b ? -1 : 1) * sign;
}

function tabTo(index) {
  for (const row of list.rows) row.tabIndex = -1;
  if (index !== undefined && index >= 0) list.rows[index].tabIndex = 0;
}

function select(index, { hasFocus = false, position = null } = {}) {
  if (list.selected >= 0) list.rows[list.selected].setAttribute("aria-selected", "false");
  list.selected = index;
  const row = list.rows[index];
  row.setAttribute("aria-selected", "true");
  tabTo(index);
  if (hasFocus) row.focus({ preventScroll: true });
  if (row.isConnected) scrollTo(row);
  showEpisode(index, position);
}

// Within the list alone: the page stays where it is.
function scrollTo(row) {
  const box = find("list");
  const top = row.offsetTop - find("columns").offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = row.offsetTop + row.offsetHeight - box.clientHeight;
}

function moveSelection(count, how = {}) {
  if (!list.order.length) return;
  const place = list.order.indexOf(list.selected);
  const next = Math.min(Math.max(place + count, 0), list.order.length - 1);
  select(list.order[next], how);
}

function clearSearch() {
  find("search").value = "";
  list.group = null;
  showList();
}

// From a finding: whatever is searched for, the episode is shown.
function jumpTo(index, position) {
  if (!list.order.includes(index)) clearSearch();
  select(index, { position });
  find("episodes").scrollIntoView();
  find("curves").focus({ preventScroll: true });
}

function showGroup(index) {
  find("search").value = "";
  list.group = index;
  showList();
  if (list.order.length) select(list.order[0], { hasFocus: true });
  find("episodes").scrollIntoView();
}
