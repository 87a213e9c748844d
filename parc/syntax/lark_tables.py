"""Makes the tables of the lexer and the parser from the grammar, with lark."""

from __future__ import annotations

from lark import Lark
from lark.grammar import NonTerminal, Terminal
from lark.grammar import Rule as LarkRule
from lark.lexer import BasicLexer
from lark.parsers.lalr_analysis import Shift

from parc.syntax.table import Rule, Tables, read_grammar

STARTS = ("file", "override", "junk")


def make_tables() -> Tables:
    parser = make_parser(read_grammar())
    lexer = BasicLexer(parser.lexer_conf)
    scanned = {each.name: each.pattern.to_regexp() for each in lexer.scanner.terminals}
    confs = {start: parser.parse_interactive("", start=start).parser_state.parse_conf for start in STARTS}
    numbers: dict[object, int] = {}  # of the rules
    states = {
        state: {
            str(kind): target if step is Shift else ~numbers.setdefault(target, len(numbers))
            for kind, (step, target) in actions.items()
        }
        for state, actions in confs["file"].states.items()
    }
    return Tables(
        "|".join(f"(?P<{name}>{pattern})" for name, pattern in scanned.items()),
        int(lexer.g_regex_flags),
        tuple(sorted(lexer.ignore_types)),
        {each.pattern.value: each.name for each in lexer.terminals if each.name not in scanned},
        states,
        tuple(map(_convert_rule, numbers)),
        {start: (conf.start_state, conf.end_state) for start, conf in confs.items()},
    )


def make_parser(grammar: str, debug: bool = False) -> Lark:
    """The parser of lark itself. With `debug`, it logs conflicts of the grammar."""
    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        start=list(STARTS),
        propagate_positions=True,
        maybe_placeholders=False,
        debug=debug,
    )


def _convert_rule(rule: object) -> Rule:
    """A rule of lark with its options applied."""
    assert isinstance(rule, LarkRule)
    symbols, options = rule.expansion, rule.options
    kept = [
        index
        for index, each in enumerate(symbols)
        if options.keep_all_tokens or not (isinstance(each, Terminal) and each.filter_out)
    ]
    inlined = [at for at in kept if isinstance(symbols[at], NonTerminal) and symbols[at].name.startswith("_")]
    name = str(rule.origin.name)
    single = bool(options.expand1 and not rule.alias)
    return Rule(name, len(symbols), str(rule.alias or name), tuple(kept), tuple(inlined), single)
