"""Write the reference pages of the command line and of the HTTP interface from the code itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_pages(folder: Path) -> None:
    """Write ``cli.md`` from the parsers and ``http.md`` from the OpenAPI document."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cli.md").write_text(command_line_page(), encoding="utf-8")
    (folder / "http.md").write_text(http_page(), encoding="utf-8")


def command_line_page() -> str:
    """Return the help of every command, as it prints it."""
    from wsi_segment.service.cli.main import COMMANDS, make_parser

    parts = ["# Command line", "", "What `wsi-segment COMMAND --help` prints, for every command."]
    for name in ("segment", *COMMANDS):
        title = "wsi-segment SLIDE... --out PATH" if name == "segment" else f"wsi-segment {name}"
        parts += ["", f"## {title}", "", "```text", make_parser(name).format_help().rstrip(), "```"]
    return "\n".join(parts) + "\n"


def http_page() -> str:
    """Return every route with its parameters, bodies and answers."""
    from wsi_segment.service.api.app import openapi_document

    document = openapi_document()
    parts = [
        "# HTTP",
        "",
        "Every route, from the service's own OpenAPI document (`/openapi.json`; `/docs` is the same to try out).",
        "The [guide](../../guide/serve.md) shows them in use.",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += ["", f"## `{method.upper()} {path}`", "", operation.get("description") or operation["summary"]]
            parts += _parameters(operation.get("parameters", []))
            if "requestBody" in operation:
                kinds = ", ".join(f"`{kind}`" for kind in operation["requestBody"]["content"])
                parts += ["", f"Body: {kinds}."]
                for content in operation["requestBody"]["content"].values():
                    parts += _fields(content.get("schema", {}), document)
            answers = (f"{code} {answer['description']}" for code, answer in operation["responses"].items())
            parts += ["", f"Answers: {'; '.join(answers)}."]
    return "\n".join(parts) + "\n"


def _parameters(parameters: list[dict[str, Any]]) -> list[str]:
    if not parameters:
        return []
    rows = ["", "| parameter | in | kind | meaning |", "|---|---|---|---|"]
    for entry in parameters:
        meaning = _cell(entry.get("description", ""))
        rows.append(f"| `{entry['name']}` | {entry['in']} | {_kind(entry.get('schema', {}))} | {meaning} |")
    return rows


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "properties" not in schema:
        return []
    rows = ["", "| field | kind | default | meaning |", "|---|---|---|---|"]
    needed = schema.get("required", [])
    for name, entry in schema["properties"].items():
        default = "required" if name in needed else f"`{json.dumps(entry.get('default'))}`"
        rows.append(f"| `{name}` | {_kind(entry)} | {default} | {_cell(entry.get('description', ''))} |")
    return rows


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return str(schema.get("type", "any"))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
