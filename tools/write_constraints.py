"""Write constraints.txt: the exact version of every package that the installed environment needs.

Walks the requirements of the package itself, with the extras that environment.yml installs, through the metadata of the
installed distributions. CUDA libraries are left out: torch pins its own, and they differ between machines.

    .venv/bin/python tools/write_constraints.py
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "semantic-hash-centers"
EXTRAS = ("notebooks", "pretrained", "scale", "test")
LEFT_OUT = re.compile(r"nvidia-|cuda-|triton|pip$|setuptools$|wheel$")
INSTALL = f"pip install -U -e .[{','.join(EXTRAS)}]"
HEADER = f"# The versions tested; renew: {INSTALL} && python tools/write_constraints.py"


def installed_closure(project: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Version by canonical name of everything that `project` with its extras requires here, itself left out."""
    found: dict[str, str] = {}
    waiting = [(canonicalize_name(project), extra) for extra in ("", *extras)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            package = distribution(name)
        except PackageNotFoundError as error:
            raise SystemExit(f"{name} is required but not installed; run `make test` or the pip line above") from error
        found[name] = package.version
        for line in package.requires or []:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": extra}):
                continue
            key = canonicalize_name(need.name)
            fresh = {(key, wanted) for wanted in ("", *need.extras)} - seen
            if not LEFT_OUT.match(key):
                seen |= fresh
                waiting += fresh
    del found[canonicalize_name(project)]
    return found


def main() -> int:
    """Write the file; returns the exit status."""
    lines = [f"{name}=={version.split('+')[0]}" for name, version in sorted(installed_closure(PROJECT, EXTRAS).items())]
    target = Path(__file__).resolve().parent.parent / "constraints.txt"
    target.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    print(f"{target.name}: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
