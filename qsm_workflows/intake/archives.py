"""Files out of folders and archives, without trusting the archives."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

# What scanners write shrinks by less than twenty; a small archive may do what it likes.
_HIGHEST_RATIO = 200
_ALWAYS_ALLOWED = 256 * 2**20
_MOST_FILES = 1_000_000


def gather_files(paths: Sequence[Path], scratch: Path) -> list[Path]:
    """All files of some folders, archives and single files.

    Parameters
    ----------
    paths : sequence of Path
        Folders are searched whole; ``.zip`` and ``.tar`` with any compression are unpacked.
    scratch : Path
        Empty folder to unpack into.

    Returns
    -------
    list of Path
        Sorted, each once.

    Raises
    ------
    ValueError
        If a path does not exist, or an archive is damaged, unsafe or grows out of all
        proportion.
    """
    found: set[Path] = set()
    for number, path in enumerate(paths):
        if path.is_dir():
            found.update(_walk(path))
        elif not path.is_file():
            raise ValueError(f"{path} does not exist")
        elif zipfile.is_zipfile(path) or _is_tar(path):
            folder = scratch / str(number)
            folder.mkdir(parents=True)
            unpack(path, folder)
            found.update(_walk(folder))
        else:
            found.add(path)
    return sorted(found)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder.

    Raises
    ------
    ValueError
        If it is damaged, leads out of the folder, or is far larger than its file.
    """
    budget = max(_ALWAYS_ALLOWED, _HIGHEST_RATIO * archive.stat().st_size)
    budget = min(budget, shutil.disk_usage(folder).free)
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    total = 0
    try:
        for count, (name, stream) in enumerate(members(archive), 1):
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if ".." in parts or PurePosixPath(name).is_absolute() or ":" in name:
                raise ValueError(f"{archive} holds {name!r}, which leads out of the archive")
            if count > _MOST_FILES:
                raise ValueError(f"{archive} holds more than {_MOST_FILES} files")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as output:
                # The sizes that an archive states are not to be trusted.
                while chunk := stream.read(2**20):
                    total += len(chunk)
                    if total > budget:
                        raise ValueError(
                            f"{archive} unpacks to more than {budget / 2**20:.0f} MiB from "
                            f"{archive.stat().st_size / 2**20:.3g} MiB; unpack it yourself if it "
                            "is sound, and give the folder"
                        )
                    output.write(chunk)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        NotImplementedError,
        LZMAError,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
    ) as error:
        raise ValueError(f"{archive} cannot be unpacked: {error}") from error


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not member.is_dir():
                with opened.open(member) as stream:
                    yield member.filename, stream


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        for member in opened:
            # Links and devices are left out: they may point anywhere.
            stream = opened.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name, stream


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, LZMAError, zlib.error):
        return False


def _walk(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
