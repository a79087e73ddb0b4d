"""Holds what app.toml's JSON Schema says of each case against what is expected of it.

`schema.py SCHEMA < CASES`, where CASES is JSON: a list of [valid, instance]. Prints every case that comes out otherwise.
"""

import json
import pathlib
import sys

import jsonschema

schema = json.loads(pathlib.Path(sys.argv[1]).read_text())
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
wrong = 0
for valid, instance in json.load(sys.stdin):
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]
    if valid != (not errors):
        wrong += 1
        print(f"{'refused' if valid else 'accepted'}: {json.dumps(instance)}", *errors, sep="\n  ")
sys.exit(1 if wrong else 0)
