"""Completes comments that allow findings: `# parc: allow P202 -- reason`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from parc.check.allow.comments import VERBS, explain_refusal
from parc.check.pages import format_page, list_rules
from parc.lsp.completion.item import Item
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.words import Word

BEFORE_VERB = re.compile(r"#+\s*parc:\s*(?P<typed>[\w-]*)")
BEFORE_CODE = re.compile(rf"#+\s*parc:\s*(?:{'|'.join(VERBS)})\s+(?:P?[0-9]*[\s,]+)*(?P<typed>\w*)")


def list_comment_words(analysis: Analysis, comment: Word, offset: int) -> Iterator[Item]:
    """The words that may follow in a comment to parc: what is reported in the file comes first."""
    before = analysis.source.text[comment.start : offset]
    if found := BEFORE_CODE.fullmatch(before):
        start = comment.start + found.start("typed")
        reported = {each.code for each in analysis.loaded.diagnostics}
        for rule in list_rules():
            if not explain_refusal(rule):
                order = 0 if rule.code in reported else 1
                doc = format_page(rule.code) or ""
                yield Item(rule.code, "value", rule.code, start, offset, rule.name, doc, order)
    elif found := BEFORE_VERB.fullmatch(before):
        start = comment.start + found.start("typed")
        for verb, detail in zip(VERBS, ("the findings of this row", "those of the whole file"), strict=True):
            yield Item(verb, "keyword", f"{verb} ", start, offset, detail)
