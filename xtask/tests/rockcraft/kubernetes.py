"""Holds what Kubernetes' own schemas say of each case against what is expected of it.

`kubernetes.py < CASES`, where CASES is JSON: a list of [valid, text of a YAML file]. Each object of a file is held against
the oldest and the newest schemas of the package kubernetes-validate, which takes them from Kubernetes' OpenAPI description,
strictly: a field that Kubernetes does not know is an error. Prints every case that comes out otherwise.
"""

import functools
import json
import sys

import kubernetes_validate
import yaml

# Megabytes of JSON, which it would read again for each object.
schemas = kubernetes_validate.utils
schemas.schema_contents = functools.cache(schemas.schema_contents)
versions = schemas.all_versions()
wrong = 0
for valid, text in json.load(sys.stdin):
    errors = []
    for thing in yaml.safe_load_all(text):
        for version in (versions[0], versions[-1]):
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                errors.append(f"{version} {thing['kind']}: {'.'.join(map(str, error.path))}: {error.message}")
    if valid != (not errors):
        wrong += 1
        print(f"{'refused' if valid else 'accepted'}: {text}", *errors, sep="\n  ")
print(f"Kubernetes {versions[0]} and {versions[-1]}")
sys.exit(1 if wrong else 0)
