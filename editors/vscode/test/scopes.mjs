// Prints, for every text of a JSON list on standard input, its tokens: [line, start, end, scopes] in UTF-16 units.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

await oniguruma.loadWASM(readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm")).buffer);
const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (sources) => new oniguruma.OnigScanner(sources),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => {
    const file = new URL("../syntaxes/parc.tmLanguage.json", import.meta.url);
    return textmate.parseRawGrammar(readFileSync(file, "utf8"), file.pathname);
  },
});
const grammar = await registry.loadGrammar("source.parc");

const tokens = (text) => {
  let state = textmate.INITIAL;
  return text.split("\n").flatMap((line, number) => {
    const found = grammar.tokenizeLine(line, state);
    state = found.ruleStack;
    return found.tokens.map((token) => [number, token.startIndex, token.endIndex, token.scopes.slice(1)]);
  });
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(tokens)));
