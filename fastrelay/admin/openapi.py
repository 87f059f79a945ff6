"""The OpenAPI 3.1 document of the API, made of the table that also routes it: they cannot part. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from fastrelay.admin.answers import Error

_REFERENCE = "#/components/schemas/{name}"
_ABOUT = (
    "The queue and the state of a fastrelay mail relay, over all its workers. Every answer names in `incomplete` the "
    "slots it does not cover."
)
_WHO = "Over TCP: the line in admin.token_file. On the socket in runtime_dir file permission says who may ask."
_TYPES = {str: "string", float: "number", int: "integer", bool: "boolean"}


class Parameter(NamedTuple):
    """One word of a query string."""

    name: str
    type: type
    text: str


class Operation(NamedTuple):
    """One thing to ask. path: below the root, with at most one {word}. answer: None = any JSON object."""

    method: str
    path: str
    name: str
    text: str
    answer: Any = None
    query: Sequence[Parameter] = ()
    body: Any = None


def document(operations: Iterable[Operation], root: str, version: str) -> dict[str, Any]:
    """The document for operations under `root`."""
    known = list(operations)
    types = [one for operation in known for one in (operation.answer, operation.body) if one is not None]
    schemas, components = msgspec.json.schema_components([*types, Error], ref_template=_REFERENCE)
    refs = {id(one): schema for one, schema in zip([*types, Error], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in known:
        paths.setdefault(f"{root}{operation.path}", {})[operation.method.lower()] = _described(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fastrelay",
            "version": version,
            "description": _ABOUT,
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": _WHO,
                }
            },
        },
    }


def _described(operation: Operation, refs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": one.name, "in": "query", "description": one.text, "schema": {"type": _TYPES[one.type]}}
        for one in operation.query
    ]
    words = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters += [{"name": word, "in": "path", "required": True, "schema": {"type": "string"}} for word in words]
    schema = refs[id(operation.answer)] if operation.answer is not None else {"type": "object"}
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.text,
        "responses": {
            "200": {"description": "Done", "content": _json(schema)},
            "default": {
                "description": "400 senseless, 401 no token, 404 not there, 503 try again",
                "content": _json(refs[id(Error)]),
            },
        },
    }
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": _json(refs[id(operation.body)])}
    return told


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
