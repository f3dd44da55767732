"""Every place of a source file where one small fault can be put in, and what it reads then.

A site is named by what it says and not by where it stands: the function's qualified name, the text
and its replacement. So a moved file keeps its sites, and a changed line gets new ones.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
}
# Without an assignment to a plain name, or of an attribute in `__init__`, nothing runs at all: no
# test is needed to notice that.
_DELETABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True)
class Site:
    """One fault that can be put in."""

    where: str
    """The module's name and the qualified name of the function or class."""
    before: str
    after: str
    start: int
    """Of the replaced text, in bytes of the file."""
    stop: int
    line: int
    turn: int = 0
    """Which one, where a function says the same several times."""

    @property
    def name(self) -> str:
        turn = f" ({self.turn + 1})" if self.turn else ""
        return f"{self.where}: {_short(self.before)} -> {_short(self.after)}{turn}"

    def rank(self, seed: int) -> str:
        """Return where a draw by *seed* puts the site; the others make no difference to it."""
        return hashlib.sha256(f"{seed} {self.name}".encode()).hexdigest()

    def put_into(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.stop :]


def _short(text: str) -> str:
    return " ".join(text.split())


def sites(source: bytes, module: str) -> list[Site]:
    """Return the sites of a file, each with a name of its own."""
    named: list[Site] = []
    seen: Counter[str] = Counter()
    for site in _Finder(source, module).found(ast.parse(source), module):
        named.append(replace(site, turn=seen[site.name]))
        seen[site.name] += 1
    return named


class _Finder:
    def __init__(self, source: bytes, module: str) -> None:
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def found(self, node: ast.AST, where: str, *, is_inside: bool = False) -> Iterator[Site]:
        """Yield the sites of *node*; *is_inside*: of a function, where a name is not a constant's."""
        match node:
            case ast.FunctionDef(name):
                where, is_inside = f"{where}.{name}", True
            case ast.ClassDef(name):
                where = f"{where}.{name}"
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)) if not is_inside:
                where = f"{where}.{name}"
        for after in _faults(node, is_init=where.endswith(".__init__")):
            start, stop = self._span(node)
            before = self._source[start:stop].decode()
            yield Site(where, before, after, start, stop, node.lineno)  # type: ignore[attr-defined]
        for child in _children(node):
            yield from self.found(child, where, is_inside=is_inside)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        start = self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        stop = self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return start, stop


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs: no annotation, no decorator, no text, no `__slots__`."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases", "keywords"} and not (
            isinstance(node, ast.Call) and name == "keywords"
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Import):
                yield child


def _faults(node: ast.AST, *, is_init: bool) -> Iterator[str]:
    """Yield what the node could read instead."""
    match node:
        case ast.Compare(left, [op], [right]):
            for other in _COMPARISONS[type(op)]:
                yield f"({_text(left)} {other} {_text(right)})"
        case ast.Compare(left, [first, second], [middle, right]):
            yield f"({_text(left)} {_COMPARISONS[type(first)][0]} {_text(middle)} {_sign(second)} {_text(right)})"
            yield f"({_text(left)} {_sign(first)} {_text(middle)} {_COMPARISONS[type(second)][0]} {_text(right)})"
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            yield f"({_text(left)} {_ARITHMETIC[type(op)]} {_text(right)})"
        case ast.BoolOp(op, values):
            yield f"({(' or ' if isinstance(op, ast.And) else ' and ').join(map(_text, values))})"
        case ast.UnaryOp(ast.Not(), operand):
            yield f"({_text(operand)})"
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() | float() as value):
            yield repr(value + 1)
        case ast.IfExp(test, body, orelse):
            yield f"({_text(orelse)} if {_text(test)} else {_text(body)})"
        case ast.Call(func, [first, second, *rest], keywords) if _text(first) != _text(second):
            is_symmetric = _text(func) in {"min", "max"}
            if not is_symmetric and not isinstance(first, ast.Starred):
                swapped = ast.Call(func, [second, first, *rest], keywords)
                yield _text(swapped)
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield "return None"
        case ast.Expr(ast.Constant()):
            pass
        case ast.Assign([ast.Attribute() | ast.Subscript()]) if not is_init:
            yield "pass"
        case _ if isinstance(node, _DELETABLE):
            yield "pass"


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    return f"({text})" if isinstance(node, ast.BoolOp | ast.IfExp | ast.Lambda) else text


def _sign(op: ast.cmpop) -> str:
    return ast.unparse(ast.Compare(ast.Name("a"), [op], [ast.Name("b")]))[2:-2]
