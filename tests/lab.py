"""JupyterLab in a real browser, for tests: a server of its own, Chromium, and what went wrong on the page.

    with Lab(folder) as lab:
        page = lab.open("05_retrieval.ipynb")
        lab.run_all()

Nothing but this server can be reached: requests to any other place are refused and kept in `lab.outside`. Errors of
the console are kept in `lab.errors`.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from chromium import QUIET, executable

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {  # no question that stands before the notebook
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
}


class Lab:
    """JupyterLab on a folder of notebooks and one page of Chromium, both stopped at the end; `page` is Playwright's."""

    def __init__(self, folder, seconds=60):
        self.folder, self.seconds = Path(folder), seconds
        self.errors, self.outside = [], []
        self._ends = []  # what stops what was started, the last first

    def __enter__(self):
        from playwright.sync_api import sync_playwright

        browser = executable()
        try:
            self._start_server()
            player = sync_playwright().start()
            self._ends.append(player.stop)
            window = player.chromium.launch(executable_path=browser, args=list(QUIET))
            self._ends.append(window.close)
            self.page = window.new_page(viewport=dict(width=1400, height=1200))
            self.page.set_default_timeout(self.seconds * 1000)
            self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.page.route("**/*", self._only_here)
            self._wait_for_server()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        while self._ends:
            self._ends.pop()()

    def copy(self, notebook, **values):
        """Put a notebook into the folder, without outputs and with other values of its parameters."""
        book = json.loads(Path(notebook).read_text(encoding="utf-8"))
        for cell in book["cells"]:
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
            if "parameters" in cell["metadata"].get("tags", []):
                cell["source"] = [*cell["source"], *(f"\n{name} = {value!r}" for name, value in values.items())]
        (self.folder / Path(notebook).name).write_text(json.dumps(book), encoding="utf-8")

    def write(self, name, *sources):
        """Put a notebook with these code cells into the folder."""
        cell = dict(cell_type="code", execution_count=None, metadata={}, outputs=[])
        cells = [cell | dict(id=f"cell-{i}", source=source) for i, source in enumerate(sources)]
        kernel = dict(name="python3", display_name="Python 3", language="python")
        book = dict(cells=cells, metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)
        (self.folder / name).write_text(json.dumps(book), encoding="utf-8")

    def open(self, notebook):
        """Open a notebook of the folder and wait for its kernel; returns the page."""
        self.page.goto(f"{self.origin}/doc/tree/{notebook}")
        self.wait_idle()
        return self.page

    def run_all(self):
        """Execute every cell; AssertionError with what it says if one fails."""
        self.menu("Run", "Run All Cells")
        failed = '[data-mime-type="application/vnd.jupyter.error"]'
        self.page.wait_for_function(
            """failed => document.querySelector(failed) || [...document.querySelectorAll('.jp-CodeCell')].every(cell =>
              /\\d/.test(cell.querySelector('.jp-InputPrompt')?.textContent))""",
            arg=failed,
        )
        told = self.page.locator(failed)
        assert not told.count(), told.first.inner_text()
        self.wait_idle()

    def restart_kernel(self):
        """Restart the kernel by the menu, as people do, and wait until it is there again."""
        self.menu("Kernel", "Restart Kernel…")
        with self.page.expect_response(re.compile("/restart")):
            self.page.locator(".jp-Dialog button", has_text="Restart").last.click()
        self.wait_idle()

    def execute(self, code):
        """Let the kernel that was started last execute code; does not wait until it is done."""
        from jupyter_client import BlockingKernelClient

        files = (self.folder / ".home" / "runtime").glob("kernel-*.json")
        client = BlockingKernelClient(connection_file=str(max(files, key=lambda file: file.stat().st_mtime)))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(self.seconds)
        client.execute(code)
        self.page.wait_for_timeout(300)  # for the message to arrive, before the channels are closed
        client.stop_channels()

    def menu(self, *names):
        """Click through the menu bar."""
        self.page.locator(".lm-MenuBar-item", has_text=names[0]).first.click()
        for name in names[1:]:
            self.page.locator(".lm-Menu-itemLabel", has_text=name).first.click()

    def wait_idle(self):
        """Wait until the kernel is there and has nothing to do."""
        self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()

    def shot(self, name, target=None):
        """Keep a picture of the page or of a part of it, to look at, in $SHC_SCREENSHOTS or below the folder."""
        kept = Path(os.environ.get("SHC_SCREENSHOTS") or self.folder / "screenshots")
        kept.mkdir(parents=True, exist_ok=True)
        (target or self.page).screenshot(path=kept / f"{name}.png")

    def _only_here(self, route):
        address = route.request.url
        if address.startswith((self.origin + "/", "data:", "blob:")):
            return route.continue_()
        self.outside.append(address)
        route.abort()

    def _start_server(self):
        home = self.folder / ".home"
        places = {kind: home / kind.lower() for kind in ("CONFIG", "RUNTIME", "DATA")}
        for name, values in SETTINGS.items():
            file = places["CONFIG"] / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        environment |= {f"JUPYTER_{kind}_DIR": str(place) for kind, place in places.items()}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": path}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.origin, self.log = f"http://127.0.0.1:{port}", home / "server.log"
        options = {
            "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.folder, "ServerApp.open_browser": False, "IdentityProvider.token": "",
            "LabApp.extension_manager": "readonly",
        }  # fmt: skip
        given = [f"--{name}={value}" for name, value in options.items()]
        log = self.log.open("w")
        self._ends.append(log.close)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--allow-root", *given], env=environment, stdout=log, stderr=log
        )
        self._ends.append(self._stop_server)

    def _stop_server(self):
        self._server.terminate()  # it ends its kernels too
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def _wait_for_server(self):
        until = time.monotonic() + self.seconds
        while True:
            try:
                return urllib.request.urlopen(f"{self.origin}/api/status", timeout=2).close()
            except OSError:
                if self._server.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"JupyterLab did not start: {self.log.read_text()}") from None
                time.sleep(0.1)
