// Prints a grammar.js as JSON: what `tree-sitter generate` would read of it.
const plain = (rule) =>
  typeof rule === "string" ? { type: "STRING", value: rule }
  : rule instanceof RegExp ? { type: "PATTERN", value: rule.source }
  : rule;
const many = (type) => (...members) => ({ type, members: members.map(plain) });
const one = (type) => (content) => ({ type, content: plain(content) });

Object.assign(globalThis, {
  seq: many("SEQ"),
  choice: many("CHOICE"),
  repeat: one("REPEAT"),
  repeat1: one("REPEAT1"),
  optional: one("OPTIONAL"),
  field: (_name, rule) => plain(rule),
  grammar: (given) => {
    const $ = new Proxy({}, { get: (_, name) => ({ type: "SYMBOL", name }) });
    const rules = Object.entries(given.rules).map(([name, rule]) => [name, plain(rule($))]);
    return { rules: Object.fromEntries(rules), extras: given.extras($).map(plain), word: given.word($).name };
  },
});
console.log(JSON.stringify(require(process.argv[2])));
