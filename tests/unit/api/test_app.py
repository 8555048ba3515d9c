from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from mbi_reauth.api.app import create_app
from mbi_reauth.api.pages import COOKIE
from mbi_reauth.api.visitors import PageRoute
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import find_credential
from tests.app import KEY, App
from tests.metadata_db import empty, put_connection

ANONYMOUS = {"/health"}
ROUTES: list[BaseRoute] = list(create_app().routes)
METHODS = [(method, route) for route in ROUTES if isinstance(route, APIRoute) for method in route.methods]
OWNERS = [(method, route.path) for method, route in METHODS if isinstance(route, PageRoute)]


def test_only_plain_routes_are_served() -> None:
    assert ROUTES
    assert all(isinstance(route, APIRoute) for route in ROUTES)


@pytest.fixture(scope="module", autouse=True)
def _auth_manager(_database: None) -> None:
    """Airflow's API server makes it before it serves the app."""
    from airflow.api_fastapi.app import create_auth_manager

    create_auth_manager()


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, route.path) for method, route in METHODS if not isinstance(route, PageRoute)],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}])
def test_every_route_but_the_health_check_refuses_anonymous_callers(
    client: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    anonymous = TestClient(client.app, headers=headers)
    status = anonymous.request(method, path.replace("{notification_id}", "1")).status_code
    assert status == (200 if path in ANONYMOUS else 401)


@pytest.mark.parametrize(("method", "path"), OWNERS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {KEY}"}, {"Cookie": f"{COOKIE}=made-up"}])
def test_the_owners_pages_tell_a_stranger_nothing(
    app: App, method: str, path: str, headers: dict[str, str]
) -> None:
    app.report(Cause.GRANT_REVOKED)
    stranger = TestClient(app.client.app, headers=headers)
    answer = stranger.request(method, path.replace("{type_id}", app.integration.type))
    assert answer.status_code in (403, 404, 410)
    assert app.integration.owner.name not in answer.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_are_no_documentation_pages(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_key_is_made_at_start_up(client: TestClient) -> None:
    empty()
    with TestClient(client.app):
        found = find_credential("mbi_reauth_api")
    assert found is not None
    assert len(found.credential.password) >= 40


def test_deleting_the_key_replaces_it(client: TestClient) -> None:
    empty()
    assert client.post("/api/notifications/claim", json={"integration_id": "shop"}).status_code == 401
    found = find_credential("mbi_reauth_api")
    assert found is not None
    headers = {"Authorization": f"Bearer {found.credential.password}"}
    answer = client.post("/api/notifications/claim", json={"integration_id": "shop"}, headers=headers)
    assert answer.status_code == 200


def test_an_empty_key_admits_nobody(client: TestClient) -> None:
    put_connection("mbi_reauth_api", password="")
    for header in ("Bearer ", "Bearer x"):
        assert client.post("/api/checks", headers={"Authorization": header}).status_code == 401


def test_the_refusal_does_not_repeat_the_key(client: TestClient) -> None:
    answer = client.post("/api/checks", headers={"Authorization": "Bearer fake-wrong-key"})
    assert "fake-wrong-key" not in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["checks", "findings", "notifications/claim", "notifications/settle"])
def test_an_unknown_field_is_refused(client: TestClient, path: str) -> None:
    assert client.post(f"/api/{path}", json={"surprise": 1}).status_code == 422


def test_a_refused_request_is_not_repeated(client: TestClient) -> None:
    body = '{"refused_token": ["fake-secret"], "max_age": NaN}'
    answer = client.post("/api/checks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "fake-secret" not in answer.text
    assert "refused_token" in answer.text
