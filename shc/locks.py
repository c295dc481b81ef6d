"""One writer at a time in a folder: a lock that the system lets go when its processes end, however they end.

The lock belongs to an open file `.lock` in the folder (`flock`). It is deleted when the writer is done; one that a
killed process left behind is locked by nobody and is simply taken. Readers ask nobody: every file is replaced in one
step. The kernels that a runner starts work in its folder on its behalf: they inherit the open file and, in the variable
HELD, the folder's name. So they are not locked out, and a kernel that outlives its killed runner still keeps others
away until it ends itself.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from shc.files import RunError, unwritable

LOCK = ".lock"
HELD = "SHC_HELD"  # folders, separated as in PATH, that the process which started this one holds
WAIT = 3.0  # seconds that another writer may take for a single file

_mine: dict[Path, tuple[int, TextIO]] = {}  # how often this process holds a folder, and the open file
_guard = threading.RLock()


@contextmanager
def held(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a folder, which is made if it is not there; within one process any number of times.

    `what` names the folder in the error, `remedy` says what to do. Raises RunError if another process still holds the
    folder after WAIT seconds, or if it cannot be written.
    """
    folder = folder.resolve()
    if str(folder) in os.environ.get(HELD, "").split(os.pathsep) and folder not in _mine:
        yield  # by the process that started this one
        return
    with _guard:
        count, stream = _mine[folder] if folder in _mine else (0, _taken(folder, what, remedy, WAIT))
        _mine[folder] = count + 1, stream
    try:
        yield
    finally:
        with _guard:
            count, stream = _mine.pop(folder)
            if count > 1:
                _mine[folder] = count - 1, stream
            else:
                with suppress(OSError):
                    (folder / LOCK).unlink(missing_ok=True)  # while it is locked: nobody else's can be there
                stream.close()


@contextmanager
def held_once(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """As `held`, but at once or not at all, not twice in one process either, and not for the processes it starts.

    The file stays there, unlocked: by it a worker of a sweep knows that it sees the sweep's folder.
    """
    with _taken(folder, what, remedy, wait=0):
        yield


def handed_on() -> dict[str, Any]:
    """What a child must be started with to work in the folders that this process holds: arguments of `Popen`.

    >>> handed_on()
    {'env': {}, 'pass_fds': ()}
    """
    with _guard:
        folders = [*filter(None, os.environ.get(HELD, "").split(os.pathsep)), *map(str, _mine)]
        files = tuple(stream.fileno() for _, stream in _mine.values())
    return {"env": {HELD: os.pathsep.join(folders)} if folders else {}, "pass_fds": files}


def _taken(folder: Path, what: str, remedy: str, wait: float) -> TextIO:
    """The locked file; RunError if it cannot be had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return open(os.devnull, encoding="utf-8")
    file, until = folder / LOCK, time.monotonic() + wait
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # not through a link: what stands in a folder from elsewhere must not name a file to be emptied
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unwritable(file, error) from error
        stream = open(handle, "r+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = stream.read(200).strip() or "another process"
            stream.close()
            if time.monotonic() < until:
                time.sleep(0.02)
                continue
            raise RunError(f"{what} is being run already, by {holder}; {remedy}") from error
        except OSError as error:
            stream.close()
            raise RunError(f"{file} cannot be locked ({error.strerror}); keep runs on a disk that has locks") from error
        if _is(file, stream):
            holder = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            with suppress(OSError):  # a full disk: the lock holds without a name
                os.ftruncate(handle, 0)
                os.pwrite(handle, holder.encode(), 0)
            return stream
        stream.close()  # its holder was about to delete it; there may be a new one


def _is(file: Path, stream: TextIO) -> bool:
    """Whether the open file is still the one of this name: a lock belongs to the file that was opened."""
    with suppress(OSError):
        return os.path.samestat(os.stat(file, follow_symlinks=False), os.fstat(stream.fileno()))
    return False
