"""Reads plan files: a file and everything that it imports, each file once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import TypeAlias

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.plan.suggest import find_nearest
from parc.source import Source
from parc.syntax import tree
from parc.syntax.parse import parse
from parc.syntax.scan import MAX_CHARACTERS

MAX_FILES = 64
MAX_BYTES = 4 * MAX_CHARACTERS + 3  # at most four per character, and a byte order mark
HARDWARE_PREFIX = "parc:"  # of the path of an import from the hardware library
NO_TEXTS: Mapping[str, str] = MappingProxyType({})
STANDARD_INPUT = Path("-")
HARDWARE = Path(__file__).with_name("hardware")


def read_source(path: Path) -> Source | Diagnostic:
    """The text of a file, or the diagnostic that says why it cannot be read."""
    data = read_bytes(path)
    return data if isinstance(data, Diagnostic) else decode(name_source(path), data)


def name_source(path: Path) -> str:
    """The path that a file is shown under."""
    return "<stdin>" if path == STANDARD_INPUT else str(path)


def read_bytes(path: Path) -> bytes | Diagnostic:
    """The content of a file, which may be a pipe. At most `MAX_BYTES` are read: a device may never end.

    `-` is standard input.
    """
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as fault:
        return error("P009", f"cannot read `{path}`: {fault.strerror or fault}")
    if len(data) > MAX_BYTES:
        return error("P005", f"`{path}` exceeds {MAX_BYTES:,} bytes, the limit of a plan file")
    return data


def decode(path: str, data: bytes) -> Source | Diagnostic:
    """Decode UTF-8 and normalize line ends to line feeds."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        return error(
            "P008", f"`{path}` is not valid UTF-8: line {line} has the byte 0x{data[fault.start]:02x}"
        )
    return Source(path, text.replace("\r\n", "\n"))


def is_safe_to_open(path: Path) -> bool:
    """Whether opening `path` cannot block or have side effects: it is a regular file or does not exist."""
    try:
        return S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def find_project(folder: Path) -> Path:
    """The folder that imports must stay in: that of the nearest project, or `folder` itself."""
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").is_file() or (candidate / ".git").exists():
            return candidate
    return folder


def list_machines() -> list[str]:
    """The names in the hardware library, as in `import "parc:h100"`."""
    return sorted(file.stem for file in HARDWARE.glob("*.parc"))


Parse: TypeAlias = Callable[[Source], tuple[tree.File, tuple[Diagnostic, ...]]]


class Imports:
    """The files of a plan, in the order in which they are first imported; faults are added to `faults`.

    `texts` maps real paths to texts that replace the content of files. With `outside`, imports may leave the
    folder of the project.
    """

    def __init__(
        self,
        root: Source,
        faults: list[Diagnostic],
        texts: Mapping[str, str] = NO_TEXTS,
        outside: bool = False,
        parse: Parse = parse,
    ) -> None:
        self.parse = parse
        self.faults = faults
        self.texts = texts
        self.outside = outside
        self.files: list[tree.File] = []
        self.incomplete = False  # an import could not be read, so nothing follows from a name that is missing
        self.paths: dict[Path, int] = {}  # index of each file in `files`
        self.importing: list[tuple[Path, tree.Import]] = []
        path = Path(root.path).resolve()
        self.project = find_project(path.parent)
        self.add_file(path, root)

    def add_file(self, path: Path, source: Source) -> None:
        file, faults = self.parse(source)
        self.paths[path] = len(self.files)
        self.files.append(file)
        self.faults.extend(faults)
        for statement in file.statements:
            if isinstance(statement, tree.Import) and isinstance(statement.path, tree.String):
                self.follow_import(path, statement, statement.path)

    def follow_import(self, importer: Path, statement: tree.Import, wanted: tree.String) -> None:
        if wanted.value.startswith(HARDWARE_PREFIX):
            self.add_hardware(wanted)
            return
        try:
            path = (importer.parent / wanted.value).resolve()
        except (OSError, RuntimeError, ValueError):  # a cycle of symbolic links, a null character
            self.faults.append(error("P112", "this is not a valid path", Label(wanted.span, "not a path")))
            return
        cycle = [link for start, link in self.importing if start == path] or (path == importer)
        if not (self.outside or path.is_relative_to(self.project)):
            label = Label(wanted.span, f"outside `{self.project.name}`")
            help = "`--allow-outside-imports` permits this"
            self.faults.append(
                error("P114", "imports must stay inside the folder of the project", label, help=help)
            )
        elif cycle or path in (start for start, _ in self.importing):
            self.report_cycle(path, statement)
        elif path not in self.paths:
            source = self.read_import(path, wanted)
            if isinstance(source, Diagnostic):
                self.report_unread(wanted, source.message)
            elif len(self.files) >= MAX_FILES:
                label = Label(wanted.span, "one too many")
                self.faults.append(error("P005", f"a plan has at most {MAX_FILES} files", label))
            else:
                self.importing.append((importer, statement))
                self.add_file(path, source)
                self.importing.pop()

    def read_import(self, path: Path, wanted: tree.String) -> Source | Diagnostic:
        """The text of an imported file, with the path as the importer wrote it if that leads to the file."""
        if not is_safe_to_open(path):
            return error("P009", f"`{path}` is not a regular file")
        near = Path(wanted.span.source.path).parent / wanted.value
        shown = str(near if near.resolve() == path else path)
        if (text := self.texts.get(str(path))) is not None:
            return Source(shown, text)
        source = read_source(path)
        return Source(shown, source.text) if isinstance(source, Source) else source

    def report_unread(self, wanted: tree.String, reason: str) -> None:
        label, help, fix = Label(wanted.span, reason), None, None
        name = wanted.value.lower()
        if name in list_machines():
            meant = f'"{HARDWARE_PREFIX}{name}"'
            help = f"the machine of the hardware library is {meant}"
            fix = Fix(f"write `{meant}`", ((wanted.span, meant),))
        self.faults.append(error("P112", f'cannot import "{wanted.value}"', label, help=help, fix=fix))
        self.incomplete = True

    def add_hardware(self, wanted: tree.String) -> None:
        """Add a machine of the hardware library."""
        name = wanted.value.removeprefix(HARDWARE_PREFIX).lower()
        names = list_machines()
        if name not in names:
            label = Label(wanted.span, "not in the library")
            message = f"unknown hardware `{name}`"
            near = find_nearest(name, names)
            help = f'did you mean "{HARDWARE_PREFIX}{near}"?' if near else f"available: {', '.join(names)}"
            self.faults.append(error("P112", message, label, help=help))
            self.incomplete = True
            return
        path = HARDWARE / f"{name}.parc"
        source = read_source(path)
        if path not in self.paths and isinstance(source, Source):
            self.add_file(path, Source(wanted.value, source.text))

    def report_cycle(self, path: Path, last: tree.Import) -> None:
        started = [start for start, _ in self.importing]
        first = started.index(path) if path in started else len(started)
        links = [link for _, link in self.importing[first:]]
        labels = [Label(last.span, "closes the cycle")]
        labels += [Label(link.span, "part of the cycle", primary=False) for link in links]
        self.faults.append(error("P113", "these files import one another", *labels))
