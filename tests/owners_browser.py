"""A browser of an owner's, at the pages of the plugin's app as Airflow mounts it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from mbi_reauth.api.app import create_app
from mbi_reauth.api.dependencies import surroundings
from mbi_reauth.api.services.surroundings import Surroundings

ORIGIN = "http://localhost:8080"
"""Where Airflow is unless its configuration says otherwise."""


class Browser:
    """A browser of the owner's, which follows what it is sent to."""

    def __init__(self, outside: Surroundings) -> None:
        app = create_app(resumes=False)
        app.dependency_overrides[surroundings] = lambda: outside
        airflow = Starlette(routes=[Mount("/mbi-reauth", app)])
        self.client = TestClient(airflow, base_url=ORIGIN, follow_redirects=False)

    def open(self, link: str) -> Any:
        return self.client.get(path_of(link))

    def press(self, link: str, way: str, **headers: str) -> Any:
        return self.post(path_of(link), {"way": way}, **headers)

    def post(self, path: str, values: dict[str, str], **headers: str) -> Any:
        return self.client.post(path, data=values, headers={"Origin": ORIGIN, **headers})

    def follow(self, response: Any) -> Any:
        assert response.status_code == 303, response.text
        return self.client.get(path_of(response.headers["location"]))

    def consent_page(self, link: str) -> str:
        """Press the button; return the address of the third party's consent page."""
        return address_in(self.press(link, "consent"))

    def consent(self, link: str) -> dict[str, str]:
        """Press the button; return what the third party is asked for."""
        return query_of(self.consent_page(link))

    def come_back(self, type_id: str = "rotating", **params: str) -> Any:
        return self.client.get(f"/mbi-reauth/oauth/{type_id}/callback", params=params)

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(f"/mbi-reauth{path}", **params)


def address_in(page: Any) -> str:
    """Read the address of the third party's consent page, to which a browser goes on by itself."""
    assert page.status_code == 200, page.text
    [address] = re.findall(r'http-equiv="refresh" content="0; ?url=([^"]+)"', page.text)
    return unescape(address)


def query_of(address: str) -> dict[str, str]:
    """Read the parameters of an address, of which none may come twice."""
    return {name: value for name, [value] in parse_qs(urlsplit(address).query).items()}


def path_of(address: str) -> str:
    """Give the path of an address."""
    return urlsplit(address).path
