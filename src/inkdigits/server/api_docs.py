"""The API reference as one HTML page without external resources, rendered from the OpenAPI document.

Its one script, ``api_docs.js``, inserts the server's address into the examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

__all__ = ["render"]

LIST_SHOWN = 14  # numbers shown of a list
KEYS_SHOWN = 4  # keys shown of a large object
TEXT_SHOWN = 96  # characters shown of a text
_ADDRESS = re.compile(r"http://localhost:\d+")  # of the server, in the examples of the OpenAPI document
_METHODS = ("get", "post", "put", "patch", "delete")


def render(document: dict[str, Any]) -> str:
    """Return the reference page of an OpenAPI 3.1 document.

    The key of each error example is its anchor: the ``type`` of a problem links to it.
    """
    info = document["info"]
    operations = [(p, m, o) for p, item in document["paths"].items() for m, o in item.items() if m in _METHODS]
    links = "".join(
        f'<a href="#{o["operationId"]}"><b class="method">{m.upper()}</b> <span>{_wrappable(p)}</span></a>'
        for p, m, o in operations
    )
    sections = "".join(_operation(p, m, o) for p, m, o in operations)
    errors = "".join(_error(name, response) for name, response in document["components"]["responses"].items())
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(info["title"])} API</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs.css">
<script src="docs.js" defer></script>
</head>
<body>
<nav aria-label="Contents">
<p class="brand"><a href="./">{escape(info["title"])}</a> <span>{escape(info["version"])}</span></p>
{links}
<a href="#errors">Errors</a>
<a href="#schemas">Schemas</a>
<a href="openapi.json">openapi.json</a>
</nav>
<main>
<header>
<h1>{escape(info["title"])} API</h1>
<p class="lead">{escape(info["summary"])}</p>
<p>{_text(info["description"])}</p>
</header>
{sections}
<section id="errors"><h2>Errors</h2>
<p>Every error is a problem document (RFC 9457): what happened, the value seen, and what is allowed.</p>
{errors}
</section>
<section id="schemas"><h2>Schemas</h2>{schemas}</section>
</main>
</body>
</html>
"""


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f'<section id="{operation["operationId"]}">',
        f'<h2><b class="method {method}">{method.upper()}</b> <code>{escape(path)}</code></h2>',
        f'<p class="lead">{escape(operation["summary"])}</p>',
    ]
    if "description" in operation:
        parts.append(f"<p>{_text(operation['description'])}</p>")
    for sample in operation.get("x-codeSamples", ()):
        parts.append(f"<h3>{escape(sample['label'])}</h3>{_sample(sample['source'].strip())}")
    if parameters := operation.get("parameters"):
        rows = ((p["name"], p["in"], _type(p["schema"]), _text(p["description"])) for p in parameters)
        parts.append("<h3>Parameters</h3>" + _table(("name", "in", "type", "meaning"), rows))
    if body := operation.get("requestBody"):
        parts.append("<h3>Request body</h3>")
        for media, content in body["content"].items():
            parts.append(f"<h4><code>{escape(media)}</code> {_type(content['schema'])}</h4>{_examples(content)}")
    parts.append("<h3>Answers</h3>")
    errors = []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            name = response["$ref"].rpartition("/")[2]
            errors.append(f'<a class="status bad" href="#{name}">{status}</a>')
            continue
        parts.append(f'<h4><b class="status ok">{status}</b> {escape(response["description"])}</h4>')
        parts += (_examples(content) for content in response.get("content", {}).values())
    if errors:
        parts.append(f"<h4>{' '.join(errors)} on errors</h4>")
    return "".join((*parts, "</section>"))


def _examples(content: dict[str, Any], anchors: bool = False) -> str:
    out = []
    for key, example in content["examples"].items():
        anchor = f' id="{key}"' if anchors else ""
        label = f"<code>{key}</code> " if anchors else ""
        summary = _text(example.get("summary", "Example"))
        out.append(f"<details{anchor}><summary>{label}{summary}</summary>{_code(_json(example['value']))}</details>")
    return "".join(out)


def _error(name: str, response: dict[str, Any]) -> str:
    status = name.removeprefix("Error")
    head = f'<h4 id="{name}"><b class="status bad">{status}</b> {escape(response["description"])}</h4>'
    return head + "".join(_examples(content, anchors=True) for content in response["content"].values())


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    fields = {**schema.get("properties", {}), **schema.get("patternProperties", {})}
    rows = (
        (
            f"<code>{escape(key)}</code>",
            _type(value),
            "" if key in required else "optional",
            _text(value.get("description", "")),
        )
        for key, value in fields.items()
    )
    note = f"<p>{_text(schema['description'])}</p>" if "description" in schema else ""
    return f'<h3 id="schema-{name}">{name}</h3>{note}' + _table(("field", "type", "", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    """Return a short description of a schema, with links to the schemas that it refers to."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    for key, word in (("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")):
        if key in schema:
            return word.join(map(_type, schema[key]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"<code>{escape(_json(v))}</code>" for v in schema.get("enum", [schema.get("const")]))
    if "contentMediaType" in schema:
        return "the file's bytes"
    kind = schema.get("type", "any")
    if kind == "array":
        count = f"{schema['minItems']} × " if schema.get("minItems") == schema.get("maxItems", -1) else "list of "
        return count + _type(schema.get("items", {}))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return "files"
    if kind == "object" and "properties" in schema and "$ref" not in schema:
        return "{" + ", ".join(f"{escape(k)}: {_type(v)}" for k, v in schema["properties"].items()) + "}"
    words = " or ".join(kind) if isinstance(kind, list) else kind
    if "minimum" in schema and "maximum" in schema:
        words += f" {schema['minimum']}–{schema['maximum']}"
    return escape(words)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _wrappable(path: str) -> str:
    """Return a path with optional line breaks before its slashes."""
    return escape(path).replace("/", "<wbr>/")


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _code(source: str) -> str:
    return f'<pre tabindex="0"><code>{escape(source)}</code></pre>'


def _sample(source: str) -> str:
    return _ADDRESS.sub(r'<span class="server">\g<0></span>', _code(source))


def _json(value: Any) -> str:
    """Return JSON for people: lists of numbers on one line, and long values cut with "…"."""
    return "".join(_tokens(value, "\n"))


def _tokens(value: Any, newline: str) -> Iterator[str]:
    inner = newline + "  "
    if isinstance(value, dict) and value:
        items = list(value.items())
        cut = len(items) > 20
        for i, (key, item) in enumerate(items[:KEYS_SHOWN] if cut else items):
            yield ("{" if not i else ",") + inner + json.dumps(key) + ": "
            yield from _tokens(item, inner)
        yield f",{inner}… {len(items)} in all{newline}}}" if cut else newline + "}"
    elif isinstance(value, list) and value and all(isinstance(item, (int, float)) for item in value):
        rest = f", … {len(value)} numbers" if len(value) > LIST_SHOWN else ""
        yield "[" + ", ".join(f"{item:.6g}" for item in value[:LIST_SHOWN]) + rest + "]"
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            yield ("[" if not i else ",") + inner
            yield from _tokens(item, inner)
        yield newline + "]"
    elif isinstance(value, str) and len(value) > TEXT_SHOWN and " " not in value:
        yield json.dumps(value[:TEXT_SHOWN] + "…", ensure_ascii=False)
    else:
        yield json.dumps(value, ensure_ascii=False)
