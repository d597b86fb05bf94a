// npm install apache-arrow@21.2.0 && node make_npm.js: the rows of tests/formats/arrow_writers.py, as JavaScript
// writes them: `npm.arrow`, whose first message is no schema but a dictionary, and `npm.arrows`.
const fs = require("fs");
const arrow = require("apache-arrow");

const nullable = (type) => new arrow.Field("item", type, true);
const types = {
  episode_id: new arrow.Int32(),
  reward: new arrow.Float64(),
  value: new arrow.Float64(),
  done: new arrow.Bool(),
  note: new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32(), 7),
  text: new arrow.Utf8View(),
  observation: new arrow.List(nullable(new arrow.Float32())),
  large: new arrow.LargeList(nullable(new arrow.Int16())),
  pair: new arrow.FixedSizeList(2, nullable(new arrow.Float64())),
  time: new arrow.TimestampMillisecond(),
  half: new arrow.Float16(),
};
const date = (ms) => new Date(1e12 + ms);
const parts = [
  {
    episode_id: [0, 0, 0, 1],
    reward: [1, 0.5, -1, 2],
    value: [0.5, 0.25, 0.125, -1],
    done: [false, false, true, false],
    note: ["a", "b", "a", null],
    text: ["x", null, "a text of more than twelve bytes", "y"],
    observation: [[1, 2], [], null, [3]],
    large: [[1], null, [2, 3], []],
    pair: [[1, 2], [3, 4], null, [5, 6]],
    time: [date(0), date(1), null, date(3)],
    half: [0.5, 1, 1.5, null],
  },
  {
    episode_id: [1, 1, 1, 1],
    reward: [0.25, 3, -0.5, 1.5],
    value: [2, 0.75, -0.25, 1],
    done: [false, false, false, true],
    note: ["c", "a", null, "d"],
    text: ["z", "another text of more than twelve bytes", null, ""],
    observation: [[4], null, [], [5, 6]],
    large: [[], [4], null, [5]],
    pair: [null, [7, 8], [9, 10], [11, 12]],
    time: [date(4), null, date(6), date(7)],
    half: [2, null, 2.5, 3],
  },
];
const fields = Object.entries(types).map(([name, type]) => new arrow.Field(name, type, true));
const schema = new arrow.Schema(fields, new Map([["mine", "1"]]));
// One builder for both parts, so that the second dictionary adds to the first.
const notes = arrow.makeBuilder({ type: types.note, nullValues: [null] });
const batches = parts.map((part) => {
  const children = Object.entries(types).map(([name, type]) => {
    const builder = name === "note" ? notes : arrow.makeBuilder({ type, nullValues: [null] });
    part[name].forEach((cell) => builder.append(cell));
    return builder.flush();
  });
  const rows = arrow.makeData({ type: new arrow.Struct(fields), length: 4, nullCount: 0, children });
  return new arrow.RecordBatch(schema, rows);
});
const writers = { "npm.arrow": arrow.RecordBatchFileWriter, "npm.arrows": arrow.RecordBatchStreamWriter };
for (const [name, Writer] of Object.entries(writers)) {
  const writer = new Writer();
  batches.forEach((batch) => writer.write(batch));
  writer.finish();
  fs.writeFileSync(name, writer.toUint8Array(true));
}
