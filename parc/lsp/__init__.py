"""`parc lsp`, the language server: plans in the editor.

Its knowledge is in plain functions of an analysed text and an offset: `document/`, `completion/`, `hover/`,
`language/`, `edits/`. `protocol/` alone knows pygls and the types of the protocol; `main.py` starts the
server.
"""
