"""The pages of what is told while a file is read: syntax (P0xx), names, types and units (P1xx)."""

from __future__ import annotations

from parc.check.registry import Registry

PAGES = Registry()

PAGES.explain(
    "P001",
    "syntax",
    """The text does not follow the grammar.

    Where one sign more or less mends it, the message says which, and reading goes on as if it stood there;
    otherwise the statement is left out.

    ## Example

        let width 64

    ## Instead

        let width = 64
    """,
)
PAGES.explain(
    "P002",
    "odd-character",
    """A character that is no part of the language.

    ## Example

        let width = 64;

    ## Instead

        let width = 64
    """,
)
PAGES.explain(
    "P003",
    "unclosed-text",
    """A text in quotes does not end on its line.

    ## Example

        let pattern = "corpus/*.txt

    ## Instead

        let pattern = "corpus/*.txt"
    """,
)
PAGES.explain(
    "P004",
    "unclosed-bracket",
    """A bracket is opened and never closed.

    A body whose `}` is missing is taken to end where a line begins with the next block.

    ## Example

        let sizes = [1, 2

    ## Instead

        let sizes = [1, 2]
    """,
)
PAGES.explain(
    "P005",
    "too-large",
    """A file, a list, a pipeline or the number of imported files is beyond every plan's needs.

    The limits keep a hostile or a generated file from taking the machine's memory.
    """,
)
PAGES.explain(
    "P006",
    "too-deep",
    """Brackets nest, or constants build on one another, deeper than any plan needs.

    ## Example

        let x = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]

    ## Instead

        let x = [[1]]
    """,
)
PAGES.explain(
    "P007",
    "too-large-a-number",
    """A number is larger than any count, size or rate.

    ## Example

        let x = 1e300 * 1e300

    ## Instead

        let x = 1e3 * 1e3
    """,
)
PAGES.explain("P008", "not-a-text", "The file is not a text in UTF-8.")
PAGES.explain("P009", "unreadable", "The file does not exist, or may not be read or written.")

PAGES.explain(
    "P101",
    "unknown-name",
    """A name that nothing in the file, or in what it imports, is called.

    ## Example

        plan wide for frist on farm {
          mesh = [dp: 4]
          data over [dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """,
)
PAGES.explain(
    "P102",
    "unknown-key",
    """A key that the block does not have.

    A key with a typing error would otherwise be left to its default, in silence.

    ## Example

        train first {
          model = moe, stepps = 10
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }

    ## Instead

        train first {
          model = moe, steps = 10
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }
    """,
)
PAGES.explain(
    "P103",
    "unknown-block",
    """A block that has no meaning where it stands.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          date over [dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """,
)
PAGES.explain(
    "P104",
    "missing",
    """Something that has no default is left out.

    ## Example

        train first {
          model = moe
          batch { sequences = 32 }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024 }
        }
    """,
)
PAGES.explain(
    "P105",
    "given-twice",
    """The same name, key or block twice: which of them is meant cannot be told.

    ## Example

        let width = 64
        let width = 32

    ## Instead

        let width = 64
    """,
)
PAGES.explain(
    "P106",
    "wrong-type",
    """A value of another type than its key has.

    ## Example

        train first {
          model = moe, steps = "many"
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }

    ## Instead

        train first {
          model = moe, steps = 1000
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }
    """,
)
PAGES.explain(
    "P107",
    "unknown-choice",
    """A word that is none of those which the key allows.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp] { shard = optimiser }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp] { shard = optimizer }
        }
    """,
)
PAGES.explain(
    "P108",
    "unknown-unit",
    """A unit that does not exist. Bytes are `B`, powers of ten `GB`, powers of two `GiB`.

    ## Example

        let memory = 80 Gigabyte

    ## Instead

        let memory = 80 GB
    """,
)
PAGES.explain(
    "P109",
    "wrong-unit",
    """A quantity that measures something else: a size where a bandwidth is meant, say.

    ## Example

        cluster farm {
          levels = [node: 4]
          link node { bandwidth = 900 GB }
        }

    ## Instead

        cluster farm {
          levels = [node: 4]
          link node { bandwidth = 900 GB/s }
        }
    """,
)
PAGES.explain(
    "P110",
    "bad-arithmetic",
    """Arithmetic that has no result: bytes plus seconds, or a division by zero.

    ## Example

        let x = 64 GB + 3 us

    ## Instead

        let x = 64 GB + 3 MB
    """,
)
PAGES.explain(
    "P111",
    "out-of-range",
    """A number that is too small or too large for what it counts or measures.

    ## Example

        train first {
          model = moe, steps = 0
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }

    ## Instead

        train first {
          model = moe, steps = 1
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }
    """,
)
PAGES.explain(
    "P112",
    "import-not-found",
    """A file to import that cannot be read. Its path counts from the importing file's folder.

    ## Example

        import "nowhere.parc"

    ## Instead

        import "hardware.parc"
    """,
)
PAGES.explain(
    "P113",
    "import-circle",
    """Files that import one another. What both need belongs in a third.

    ## Example

        import "plan.parc"

    ## Instead

        import "hardware.parc"
    """,
)
PAGES.explain(
    "P114",
    "import-outside",
    """An import from outside of the project: the nearest folder around the plan that has a `.git` or a
    `pyproject.toml`, or else the plan's own.

    ## Example

        import "../../../elsewhere.parc"

    ## Instead

        import "hardware.parc"
    """,
)
PAGES.explain(
    "P115",
    "let-circle",
    """A constant that is defined by itself.

    ## Example

        let width = 2 * height
        let height = width / 2

    ## Instead

        let width = 64
        let height = width / 2
    """,
)
PAGES.explain("P116", "nothing-to-set", "A path of `--set` that leads to no block, or to several.")
PAGES.explain(
    "P117",
    "misplaced",
    """Something that stands where it has no meaning, or a block whose head lacks a part.

    ## Example

        plan wide {
          mesh = [dp: 4]
          data over [dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """,
)
PAGES.explain(
    "P118",
    "which-plan",
    "The file has several plans and the command names none, or one that it does not have.",
)
PAGES.explain(
    "P301",
    "unknown-axis",
    """A strategy is laid over an axis that the mesh does not have.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [pd]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """,
)
PAGES.explain(
    "P601",
    "no-torch",
    """Building and running need PyTorch: `pip install 'parc-compiler[torch]'`. Checking does not.""",
)
PAGES.explain(
    "P660",
    "no-pygls",
    """The language server needs pygls: `pip install 'parc-compiler[lsp]'`.""",
)
