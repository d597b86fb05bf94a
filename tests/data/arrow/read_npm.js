// node read_npm.js FILE...: what JavaScript reads there, one line of JSON per file.
const fs = require("fs");
const arrow = require("apache-arrow");

const plain = (cell) => {
  if (typeof cell === "bigint") return Number(cell);
  return cell && cell.toArray ? Array.from(cell, plain) : cell;
};
for (const name of process.argv.slice(2)) {
  const table = arrow.tableFromIPC(fs.readFileSync(name));
  const columns = {};
  for (const field of table.schema.fields) columns[field.name] = Array.from(table.getChild(field.name), plain);
  console.log(JSON.stringify({ batches: table.batches.map((batch) => batch.numRows), columns }));
}
