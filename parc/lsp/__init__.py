"""`parc lsp`: plans in the editor.

What it knows is in plain functions of an analysed text and an offset in it (`analysis.py`, `project.py`, and
a module a feature); `server.py` alone knows of pygls, and `convert.py` of the protocol's types.
"""
