"""admin/openapi.py: the document is one, and is about what is really routed."""

import re
from typing import Any

import pytest

from fastrelay import __version__
from fastrelay.admin import api, openapi

METHODS = {"get", "post", "put", "delete", "patch"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document((operation for operation, _ in api.OPERATIONS), api.ROOT, __version__)


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {str(value["$ref"])} if "$ref" in value else set()
        return own.union(*map(references, value.values())) if value else own
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_it_has_what_openapi_3_1_demands(document: dict[str, Any]) -> None:
    """The structure of the OAS 3.1 schema, as far as we use it; a validator of it would bring ten packages."""
    assert document["openapi"] == "3.1.0" and {"title", "version"} <= document["info"].keys()
    assert document.keys() <= {"openapi", "info", "servers", "security", "paths", "components"}
    names = []
    for path, item in document["paths"].items():
        assert path.startswith("/api/v1/") and item.keys() <= METHODS
        words = re.findall(r"\{(\w+)\}", path)
        for operation in item.values():
            assert operation.keys() <= {"operationId", "summary", "parameters", "requestBody", "responses"}
            names.append(operation["operationId"])
            assert operation["summary"] and operation["responses"]
            for code, response in operation["responses"].items():
                assert code == "default" or re.fullmatch("[1-5]\\d\\d", code)
                assert response["description"] and response.keys() <= {"description", "content"}
            parameters = operation.get("parameters", [])
            assert [one["name"] for one in parameters if one["in"] == "path"] == words
            for one in parameters:
                assert one["in"] in ("path", "query") and one["schema"]["type"]
                assert one["in"] == "query" or one["required"] is True
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["schema"]
    assert len(set(names)) == len(names)
    schemes = document["components"]["securitySchemes"]
    assert all(key in schemes for one in document["security"] for key in one)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = references(document)
    assert found
    for reference in found:
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)


def test_every_operation_is_routed_and_nothing_else(document: dict[str, Any]) -> None:
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    routed = {
        (f"{api.ROOT}{operation.path}", method)
        for methods in api._ROUTES.values()
        for method, (operation, _) in methods.items()
    }
    assert described == routed and len(described) == len(api.OPERATIONS)
