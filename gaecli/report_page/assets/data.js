// The data of the page, and how it is told. Every text of a file becomes a text node, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
const packed = unpacked(document.getElementById("packed").textContent);

function unpacked(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text).buffer;
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let index = 0; index < letters.length; index++) bytes[index] = letters.charCodeAt(index);
  return bytes.buffer;
}

const floats = ([place, count]) => new Float32Array(packed, place * 4, count);
const counts = ([place, count]) => new Uint32Array(packed, place * 4, count);

const find = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Six digits: numbers of curves are float32.
function told(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  if (Number.isInteger(number) && Math.abs(number) < 1e15) return number.toLocaleString("en-US").replace("-", "−");
  const size = Math.abs(number);
  const text = size >= 1e7 || size < 1e-4 ? number.toExponential(4) : String(Number(number.toPrecision(6)));
  return text.replace(/-/g, "−");
}

const short = (number) => told(number === null ? null : Number(number.toPrecision(4)));
const amount = (count, noun) => `${told(count)} ${noun}${count === 1 ? "" : "s"}`;

function bytesTold(count) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= size) return `${(count / size).toFixed(1)} ${unit}`;
  }
  return `${count} bytes`;
}

const labels = data.episodes.map((episode) => {
  const parts = Object.entries(episode.key).map(([role, value]) => `${role} ${value}`);
  return parts.length ? parts.join(", ") : `#${episode.number + 1}`;
});
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Steps, rows and items of an episode; what follows from the first one is not in the file.
function placesOf(index) {
  const { curves } = data.episodes[index];
  const steps = curves.steps ? Array.from(counts(curves.steps)) : Array.from({ length: curves.count }, (_, step) => step);
  const rows = curves.rows
    ? Array.from(counts(curves.rows), (row) => row + curves.firstRow)
    : steps.map((step) => curves.firstRow + curves.rowStride * step);
  let items = null;
  if (curves.items) items = Array.from(counts(curves.items));
  else if (curves.firstItem !== null) items = steps.map((step) => curves.firstItem + step - steps[0]);
  return { steps, rows, items };
}

// uPlot leaves a gap at null.
function seriesOf(index, name) {
  return Array.from(floats(data.episodes[index].curves.series[name]), (number) => (Number.isFinite(number) ? number : null));
}

function explainCommand(row, item) {
  return `${data.explain} --row ${row}${data.byItem && item !== null ? ` --step ${item}` : ""}`;
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
