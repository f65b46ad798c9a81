"""The one way to write a file: whole or not at all, and without loss of other files."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from emcheck._internal.lock import locked


class FileError(ValueError):
    """A file that cannot be written, in one line."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> FileError:
        """Return the error for what the system said about a file."""
        return cls(f"{path}: expected a file to write, got {error.strerror or error}")


def write_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write one file; see :func:`write_all`."""
    write_all(path.parent, {path.name: content}, durable=durable)


def write_all(out: Path, contents: Mapping[str, bytes], *, durable: bool = False) -> None:
    """Write ``contents`` (relative name -> bytes) below ``out``: all of them or none.

    Every file is complete under a new name in its own folder before the first one takes its
    place, so a full disk or a refused permission leaves what was there. An existing file keeps
    its mode. Devices and pipes are written directly; a symbolic link to a file is refused, since
    either the link or its target would be lost.

    Args:
        out: a folder, which is created.
        contents: in the order in which the files take their names.
        durable: whether to wait for the disk, because a later run continues from the file.

    Raises:
        FileError: a folder or file that cannot be written.
    """
    made: dict[Path, Path] = {}
    path = out
    try:
        for name, content in contents.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            before = _standing(path)
            if before is not None and not stat.S_ISREG(before):
                path.write_bytes(content)  # a device, or a pipe
                continue
            made[path] = _written(path.parent, content, before, durable)
        for path in list(made):
            os.replace(made[path], path)
            del made[path]
        if durable:
            for folder in {(out / name).parent for name in contents}:
                _sync(folder)
    except OSError as error:
        raise FileError.of(path, error) from None
    finally:
        for part in made.values():
            with contextlib.suppress(OSError):
                part.unlink()


def require_writable(path: Path) -> None:
    """Raise, before the work, if a file could not be written after it.

    Raises:
        FileError: a folder that cannot be made or written to, something that is no file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _standing(path)
        if before is None or stat.S_ISREG(before):
            _written(path.parent, b"", None, False).unlink()
    except OSError as error:
        raise FileError.of(path, error) from None


@contextmanager
def growing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that is written piece by piece beside ``path`` and takes its name at the end.

    If the body raises, what was written stays as ``.<name>.part``, which the next call overwrites.

    Raises:
        FileError: it cannot be written, or another process writes it.
    """
    require_writable(path)
    part = path.with_name(f".{path.name}.part")
    busy = f"{path}: expected to be alone, got another process that writes it"
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(part, flags, 0o666)
    except OSError as error:
        raise FileError.of(part, error) from None
    with os.fdopen(descriptor, "r+b", buffering=0) as file, locked(part, busy):
        file.truncate()
        yield file
        before = _standing(path)
        if before is not None:
            os.chmod(part, stat.S_IMODE(before))
        os.replace(part, path)


def _standing(path: Path) -> int | None:
    """Return the mode of what exists at ``path``, None if nothing does.

    Raises:
        OSError: a folder, a link to a file or to nothing, a file that must not be written.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(0, f"a link to {os.readlink(path)}: name that file itself") from None
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "a folder of that name")
    if stat.S_ISREG(mode) and path.is_symlink():
        raise OSError(0, f"a link to {os.readlink(path)}: name that file itself")
    if not os.access(path, os.W_OK):
        raise PermissionError(13, "a file that is not to be written")
    return mode


def _written(folder: Path, content: bytes, mode: int | None, durable: bool) -> Path:
    """Write a new file with that content in ``folder``, under an unused name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    while True:
        part = folder / f".emcheck-{os.urandom(6).hex()}.part"
        try:
            descriptor = os.open(part, flags, 0o666)
            break
        except FileExistsError:
            continue
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.chmod(part, stat.S_IMODE(mode))
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    return part


def _sync(folder: Path) -> None:
    """Flush the names in a folder to disk, if a folder can be opened for that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
