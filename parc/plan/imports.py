"""A plan file and all that it imports, each file once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import TypeAlias

from parc.diagnostic import Diagnostic, Label, error
from parc.plan.suggest import nearest
from parc.source import Source
from parc.syntax import tree
from parc.syntax.parse import parse
from parc.syntax.scan import MAX_CHARACTERS

MOST_FILES = 64
MOST_BYTES = 4 * MAX_CHARACTERS + 3  # a character has four at most, and a byte order mark may go before all
KNOWN = "parc:"  # what an import of known hardware begins with
NOTHING: Mapping[str, str] = MappingProxyType({})
HARDWARE = Path(__file__).with_name("hardware")


def read(path: Path) -> Source | Diagnostic:
    """The text of a file, or why there is none."""
    data = read_bytes(path)
    return data if isinstance(data, Diagnostic) else decoded(str(path), data)


def read_bytes(path: Path) -> bytes | Diagnostic:
    """All of a file, which may be a pipe, but no more than any plan has: a device may never end."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as fault:
        return error("P009", f"cannot read `{path}`: {fault.strerror or fault}")
    if len(data) > MOST_BYTES:
        return error("P005", f"`{path}` has more than {MOST_BYTES:,} bytes, which no plan file has")
    return data


def decoded(path: str, data: bytes) -> Source | Diagnostic:
    """The text that the bytes of a file are, its lines ended by line feeds."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        return error(
            "P008", f"`{path}` is not a text in UTF-8: line {line} has the byte 0x{data[fault.start]:02x}"
        )
    return Source(path, text.replace("\r\n", "\n"))


def may_be_opened(path: Path) -> bool:
    """To open a pipe is to wait, and a device does what it likes. What does not exist may be looked for."""
    try:
        return S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def project(folder: Path) -> Path:
    """The folder that imports may not leave: the nearest project around `folder`, or itself."""
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").is_file() or (candidate / ".git").exists():
            return candidate
    return folder


def machines() -> list[str]:
    """The names of known hardware, as in `import "parc:h100"`."""
    return sorted(file.stem for file in HARDWARE.glob("*.parc"))


Parse: TypeAlias = Callable[[Source], tuple[tree.File, tuple[Diagnostic, ...]]]


class Imports:
    """`texts`, by their real paths, are read instead of files. `outside`: imports may leave the project."""

    def __init__(
        self,
        root: Source,
        faults: list[Diagnostic],
        texts: Mapping[str, str] = NOTHING,
        outside: bool = False,
        parse: Parse = parse,
    ) -> None:
        self.parse = parse
        self.faults = faults
        self.texts = texts
        self.outside = outside
        self.files: list[tree.File] = []
        self.paths: dict[Path, int] = {}  # of each file, its place in `files`
        self.under_way: list[tuple[Path, tree.Import]] = []
        path = Path(root.path).resolve()
        self.project = project(path.parent)
        self.enter(path, root)

    def enter(self, path: Path, source: Source) -> None:
        file, faults = self.parse(source)
        self.paths[path] = len(self.files)
        self.files.append(file)
        self.faults.extend(faults)
        for statement in file.statements:
            if isinstance(statement, tree.Import) and isinstance(statement.path, tree.String):
                self.follow(path, statement, statement.path)

    def follow(self, importer: Path, statement: tree.Import, wanted: tree.String) -> None:
        if wanted.value.startswith(KNOWN):
            self.hardware(wanted)
            return
        try:
            path = (importer.parent / wanted.value).resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, a null character
            self.faults.append(error("P112", "this names no file", Label(wanted.span, "not a path")))
            return
        circle = [link for start, link in self.under_way if start == path] or (path == importer)
        if not (self.outside or path.is_relative_to(self.project)):
            label = Label(wanted.span, f"outside of `{self.project.name}`")
            help = "`--allow-outside-imports` lets it"
            self.faults.append(error("P114", "an import stays within the project's folder", label, help=help))
        elif circle or path in (start for start, _ in self.under_way):
            self.circle(path, statement)
        elif path not in self.paths:
            source = self.imported(path, wanted)
            if isinstance(source, Diagnostic):
                label = Label(wanted.span, source.message)
                self.faults.append(error("P112", f'cannot import "{wanted.value}"', label))
            elif len(self.files) >= MOST_FILES:
                label = Label(wanted.span, "one too many")
                self.faults.append(error("P005", f"a plan has at most {MOST_FILES} files", label))
            else:
                self.under_way.append((importer, statement))
                self.enter(path, source)
                self.under_way.pop()

    def imported(self, path: Path, wanted: tree.String) -> Source | Diagnostic:
        """The text of a file, shown under the path by which its importer found it, where that leads to it."""
        if not may_be_opened(path):
            return error("P009", f"`{path}` is no regular file")
        near = Path(wanted.span.source.path).parent / wanted.value
        shown = str(near if near.resolve() == path else path)
        if (text := self.texts.get(str(path))) is not None:
            return Source(shown, text)
        source = read(path)
        return Source(shown, source.text) if isinstance(source, Source) else source

    def hardware(self, wanted: tree.String) -> None:
        """A machine of the library that comes with parc."""
        name = wanted.value.removeprefix(KNOWN)
        names = machines()
        if name not in names:
            label = Label(wanted.span, "not in the library")
            message = f"parc knows no hardware `{name}`"
            near = nearest(name, names)
            help = f'did you mean "{KNOWN}{near}"?' if near else f"known here: {', '.join(names)}"
            self.faults.append(error("P112", message, label, help=help))
            return
        path = HARDWARE / f"{name}.parc"
        source = read(path)
        if path not in self.paths and isinstance(source, Source):
            self.enter(path, Source(wanted.value, source.text))

    def circle(self, path: Path, last: tree.Import) -> None:
        started = [start for start, _ in self.under_way]
        first = started.index(path) if path in started else len(started)
        links = [link for _, link in self.under_way[first:]]
        labels = [Label(last.span, "closes the circle")]
        labels += [Label(link.span, "on the way", primary=False) for link in links]
        self.faults.append(error("P113", "these files import one another", *labels))
