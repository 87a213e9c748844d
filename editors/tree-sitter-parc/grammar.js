/// <reference types="tree-sitter-cli/dsl" />
// The syntax of plan files for tree-sitter; the definition is grammar/parc.lark, and a test keeps the two equal.
// A statement ends at a line's end or at a comma. Lines end nothing within brackets.

const name = /[^\W\d]\w*/;

module.exports = grammar({
  name: "parc",

  extras: ($) => [/[^\S\n]/, $.comment],

  word: ($) => $._word,

  rules: {
    file: ($) => seq(optional($._lines), optional($._statements)),

    _statements: ($) => seq($._statement, repeat(seq($._end, $._statement)), optional($._end)),

    _statement: ($) => choice($.import, $.let, $.assignment, $.claim, $.block),

    import: ($) => seq("import", field("path", $.string)),

    let: ($) => seq("let", field("name", $.name), "=", field("value", $._value)),

    assignment: ($) => seq(field("key", $.path), "=", field("value", $._value)),

    claim: ($) =>
      seq(field("subject", $.path), field("relation", $.relation), field("value", $._value)),

    block: ($) =>
      seq(
        field("kind", $.kind),
        field("label", optional($.label)),
        optional($.for),
        optional($.on),
        choice(seq(optional($.over), field("body", $.body)), $.over),
      ),

    kind: ($) => $._word,
    label: ($) => $._word,
    for: ($) => seq("for", $.name),
    on: ($) => seq("on", $.name),
    over: ($) => seq("over", $.list),

    body: ($) => seq("{", optional($._lines), optional($._statements), "}"),

    _value: ($) => choice($._sum, $.configured),

    configured: ($) => seq(field("name", $.name), field("body", $.body)),

    _sum: ($) => choice($.sum, $._product),
    sum: ($) => seq($._product, repeat1(seq(choice("+", "-"), $._product))),
    _product: ($) => choice($.product, $._factor),
    product: ($) => seq($._factor, repeat1(seq(choice("*", "/"), $._factor))),
    _factor: ($) => choice($.negation, $._atom),
    negation: ($) => seq("-", $._atom),

    _atom: ($) => choice($.quantity, $.string, $.path, $.call, $.list, $.group),
    group: ($) => seq("(", optional($._lines), $._sum, optional($._lines), ")"),

    path: ($) => seq($.name, repeat(seq(".", $.name))),

    call: ($) =>
      seq(
        field("function", $.name),
        "(",
        optional($._lines),
        optional(seq($._argument, repeat(seq($._comma, $._argument)), optional(choice($._comma, $._lines)))),
        ")",
      ),
    _argument: ($) => choice($._sum, $.named),
    named: ($) => seq(field("name", $.name), "=", field("value", $._sum)),

    list: ($) =>
      seq(
        "[",
        optional($._lines),
        optional(seq($._entry, repeat(seq($._comma, $._entry)), optional(choice($._comma, $._lines)))),
        "]",
      ),
    _entry: ($) => choice($._sum, $.pair),
    pair: ($) => seq(field("name", $.name), ":", field("size", $._sum)),

    // Words that begin something are names everywhere else.
    name: ($) => choice($._word, "import", "let", "for", "on", "over"),
    _word: (_) => name,

    relation: (_) => choice("==", "!=", "<=", ">=", "<", ">"),

    // A number and, where one follows, its unit.
    quantity: (_) =>
      /[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE][+-]?[0-9]+)?([ \t]*([^\W\d]\w*(\/s)?|%))?/,
    string: (_) => /"([^"\\\n]|\\[^\n])*"/,

    _end: ($) => choice($._lines, $._comma),
    _lines: ($) => repeat1($._newline),
    _newline: (_) => /\n\s*/,
    _comma: ($) => seq(",", optional($._lines)),

    comment: (_) => /#[^\n]*/,
  },
});
