"""A token: a piece of text with its kind and its position."""

from __future__ import annotations


class Token(str):
    """A token compares equal to a string of the same characters. `type` is its terminal in the grammar."""

    __slots__ = ("end_pos", "start_pos", "type")

    type: str
    start_pos: int
    end_pos: int

    def __new__(cls, type: str, text: str, start: int, end: int) -> Token:
        token = str.__new__(cls, text)
        token.type, token.start_pos, token.end_pos = type, start, end
        return token
