"""Validates CycloneDX 1.6 documents: sbom.py FILE…

The official schema, strictly; every purl as packageurl would write it; every reference leads somewhere.
Prints `FILE: reason` for each that is refused; exits 1 if any is.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL


def reasons(text: str) -> Iterator[str]:
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        yield f"schema: {error}"
        return
    document = json.loads(text)
    components = [document["metadata"]["component"], *document["components"]]
    for component in components:
        if "purl" in component:
            yield from purl_reasons(component["purl"])
    yield from reference_reasons([component["bom-ref"] for component in components], document["dependencies"])


def purl_reasons(purl: str) -> Iterator[str]:
    try:
        written = PackageURL.from_string(purl).to_string()
    except ValueError as error:
        yield f"{purl}: {error}"
        return
    if written != purl:
        yield f"{purl}: packageurl writes {written}"


def reference_reasons(references: list[str], dependencies: list[dict[str, Any]]) -> Iterator[str]:
    held = {child for dependency in dependencies for child in dependency["dependsOn"]}
    named = held | {dependency["ref"] for dependency in dependencies}
    if len(set(references)) != len(references):
        yield "a reference is there twice"
    if unknown := named - set(references):
        yield f"nothing is called {unknown}"
    if loose := set(references[1:]) - held:
        yield f"nothing holds {loose}"


def main() -> int:
    refused = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            found = list(reasons(file.read()))
        refused += bool(found)
        for reason in found:
            print(f"{path}: {reason}")
    print(f"{len(sys.argv) - 1 - refused} documents valid")
    return 1 if refused or len(sys.argv) == 1 else 0


if __name__ == "__main__":
    sys.exit(main())
