"""The official files of real data sets: where they lie, whether they are whole, and how they are fetched.

Nothing is downloaded unless it is asked for. Archives are read as they are, member by member: nothing is unpacked, and
nothing in them decides where something is written.
"""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

BLOCK = 2**20
TIMEOUT = 60  # seconds without an answer
RANGE_NOT_SATISFIABLE = 416  # what a server says to a request for bytes behind the file's end


@dataclass(frozen=True)
class SourceFile:
    """One file as its publisher offers it: path below the root, address, checksum (md5, as publishers give it), bytes.

    `instead` names a folder or file that serves as well, for instance the unpacked archive. Without `url` it cannot be
    fetched by a program (a form must be filled in), which `note` explains.
    """

    name: str
    url: str = ""
    md5: str = ""
    size: int = 0
    instead: str = ""
    note: str = ""


class MissingData(ValueError):
    """Files of a data set are not where they were looked for; the message says which, where, and where to get them."""


def data_root(name: str, root: str) -> Path:
    """The folder with a data set's files: `root`, else `$SHC_DATA/name`, else in the user's data folder."""
    from platformdirs import user_data_path

    if root:
        return Path(root).expanduser()
    base = os.environ.get("SHC_DATA")
    return (Path(base).expanduser() if base else user_data_path("shc")) / name


def lacking(files: Iterable[SourceFile], root: Path) -> list[SourceFile]:
    """Those of the files that are not there, in either form."""

    def there(name: str) -> bool:
        return os.path.exists(root / name)  # unlike Path.exists it takes a name that is too long for one

    return [f for f in files if not there(f.name) and not (f.instead and there(f.instead))]


def located(name: str, files: Iterable[SourceFile], root: str = "", elsewhere: str = "") -> Path:
    """The folder to read from: `data_root`, or `elsewhere` if only that has every file and no root was asked for."""
    files, own = list(files), data_root(name, root)
    if not root and elsewhere and lacking(files, own) and not lacking(files, Path(elsewhere)):
        return Path(elsewhere)
    return own


def require(name: str, files: Iterable[SourceFile], root: Path) -> None:
    """Raise MissingData unless every file is there."""
    missing = lacking(files, root)
    if not missing:
        return
    wanted = "; ".join(f"{f.name}{f' (or {f.instead})' if f.instead else ''} from {f.url or f.note}" for f in missing)
    fetch = f"`shc datasets {name} --download` fetches it, or put" if all(f.url for f in missing) else "put"
    raise MissingData(f"{name} is not in {root}: missing {wanted}; {fetch} the files there, or give another root")


def check_file(file: Path, source: SourceFile) -> None:
    """Raise ValueError unless the file has the size and the checksum that its publisher gives."""
    size = file.stat().st_size
    if source.size and size != source.size:
        kind = "was cut short" if size < source.size else "is another file"
        raise ValueError(f"{file} has {size:,} bytes, not {source.size:,}: it {kind}; delete it and fetch it again")
    if source.md5 and file_md5(file) != source.md5:
        raise ValueError(f"{file} is damaged or another version (md5 differs from {source.md5}); fetch it again")


def file_md5(file: Path) -> str:
    """The file's md5: a checksum against damage, not against forgery."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(files: Iterable[SourceFile], root: Path, say: Callable[[str], object] = print) -> None:
    """Fetch what is missing, going on with a part that an earlier call left; every file is checked before it counts.

    Raises MissingData for a file that no program can fetch, ValueError if the publisher does not answer or sends
    something else.
    """
    for source in lacking(files, root):
        if not source.url:
            raise MissingData(f"{source.name} cannot be downloaded by a program: {source.note}; put it into {root}")
        target = root / source.name
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(source, part, say)
        except (urllib.error.URLError, OSError, TimeoutError) as error:
            reason = getattr(error, "reason", None) or error
            raise ValueError(
                f"{source.url} could not be fetched ({reason}); what arrived is kept in {part}: repeat the command to "
                f"go on, or put the file there by hand as {target}"
            ) from error
        if part.stat().st_size < source.size:  # servers may hang up in the middle
            raise ValueError(
                f"{source.url} ended after {part.stat().st_size:,} of {source.size:,} bytes; what arrived is kept in "
                f"{part}: repeat the command to go on"
            )
        try:
            check_file(part, source)
        except ValueError:
            part.unlink()  # going on from it could not succeed
            raise
        part.replace(target)
        say(f"{target}: {target.stat().st_size:,} bytes")


def _fetch(source: SourceFile, part: Path, say: Callable[[str], object]) -> None:
    """Append to `part` what is missing of the file at the address."""
    have = part.stat().st_size if part.exists() else 0
    if source.size and have >= source.size:
        return
    request = urllib.request.Request(source.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not have or error.code != RANGE_NOT_SATISFIABLE:
            raise
        if not source.size and error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
            return  # it is whole; only its publisher knew how long it is
        part.unlink()  # of another file than is offered now
        _fetch(source, part, say)
        return
    with answer:
        resumed = answer.status == 206
        say(f"{'going on with' if resumed else 'fetching'} {source.url}")
        with part.open("ab" if resumed else "wb") as stream:
            while block := answer.read(BLOCK):
                stream.write(block)
