"""Checks rockcraft.yaml files the way rockcraft 1.20 does, with rockcraft's own libraries but without rockcraft.

    validate.py [--schema FILE] [PATH…]     paths come from standard input, one a line, where none are given
    validate.py --self-test [--schema FILE] refuses every document of broken.yaml for the reason that stands there

Prints `PATH: reason` for every file that is refused, at the end how many are valid; exits 1 if any is refused.

craft-application reads the file and works through its grammar, platforms and environment; its project model,
craft-parts and craft-archives validate what comes out. Only what rockcraft adds to them is written here.
"""

import argparse
import functools
import logging
import multiprocessing
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Literal

import craft_cli
import craft_parts
import craft_platforms
import jsonschema_rs
import pydantic
import yaml
from craft_application import AppMetadata, ProjectService
from craft_application.models import Project
from craft_application.models.project import DevelBaseInfo
from craft_parts import plugins
from craft_parts.parts import Part, sort_parts
from craft_providers.bases import get_base_alias
from pebble import Check, Command, Service, Strings

# The pair's architectures: each file is rendered for both, whichever of them its platforms name.
ARCHITECTURES = ("amd64", "arm64")
# rockcraft puts these parts into every project.
OWN_PARTS = ("pebble", "_apt-upgrade")
SCHEMA: jsonschema_rs.Validator | None = None
PROJECT_DIRS = craft_parts.ProjectDirs(work_dir="/nonexistent")


class Rock(Project):
    """craft-application's project with what rockcraft adds to it."""

    summary: str
    description: str
    base: Literal[
        "bare", "ubuntu@20.04", "ubuntu@22.04", "ubuntu@24.04", "ubuntu@25.10", "ubuntu@26.04", "ubuntu@26.10"
    ]
    build_base: (
        Literal["ubuntu@20.04", "ubuntu@22.04", "ubuntu@24.04", "ubuntu@25.10", "ubuntu@26.04", "devel"] | None
    ) = pydantic.Field(default=None, validate_default=True)
    environment: Strings = {}
    run_user: Literal["_daemon_"] | None = None
    services: dict[str, Service] = {}
    checks: dict[str, Check] = {}
    entrypoint_service: str | None = None
    entrypoint_command: Command | None = None

    @classmethod
    def _providers_base(cls, base: str) -> Any:
        if base == "bare":
            return None
        return get_base_alias(("ubuntu", "devel")) if base == "devel" else super()._providers_base(base)

    @classmethod
    def _get_devel_bases(cls) -> list[DevelBaseInfo]:
        alias = lambda channel: get_base_alias(("ubuntu", channel))
        return [DevelBaseInfo(current_devel_base=alias("26.10"), devel_base=alias("devel"))]


class RockService(ProjectService):
    """craft-application's reader, of a file with any name."""

    def __init__(self, path: pathlib.Path) -> None:
        app = AppMetadata(name="rockcraft", summary="", ProjectClass=Rock)
        super().__init__(app, None, project_dir=path.parent)
        self.path = path

    def resolve_project_file_path(self) -> pathlib.Path:
        return self.path


class Refused(Exception):
    """A rule is broken."""


def set_features(**features: bool) -> None:
    """craft-parts' features are a singleton, which importing craft-application makes; undoing that logs a warning."""
    logging.disable(logging.WARNING)
    craft_parts.Features.reset()
    logging.disable(logging.NOTSET)
    craft_parts.Features(**features)


def prepare() -> None:
    """What the libraries want before anything else but a log."""
    set_features(enable_overlay=True)
    # A quarter of the time goes into making each plugin's JSON schema anew for every part: once is enough.
    properties = plugins.PluginProperties
    properties.model_properties = classmethod(functools.cache(properties.model_properties.__func__))


def compiled(schema: pathlib.Path | None) -> jsonschema_rs.Validator | None:
    """A schema, for the draft that it names."""
    return jsonschema_rs.validator_for(schema.read_text()) if schema else None


def start_worker(schema: pathlib.Path | None) -> None:
    """What every process needs once."""
    global SCHEMA
    craft_cli.emit.init(craft_cli.EmitterMode.QUIET, "rockcraft", "", log_filepath=pathlib.Path(os.devnull))
    prepare()
    SCHEMA = compiled(schema)


def refusals(paths: list[pathlib.Path], schema: pathlib.Path | None) -> Iterator[str | None]:
    """Each file's refusal, in order. A few files are not worth a second process."""
    if len(paths) < 100:
        start_worker(schema)
        yield from map(refusal, paths)
        return
    with multiprocessing.Pool(os.cpu_count(), start_worker, (schema,)) as pool:
        yield from pool.imap(refusal, paths, chunksize=20)


def check(service: RockService, schema: jsonschema_rs.Validator | None) -> dict[str, Rock]:
    """The project by architecture, or the exception that says why rockcraft would refuse it."""
    raw = service.get_raw()
    if schema:
        check_schema(schema, raw)
    platforms = service.get_platforms()
    if not craft_platforms.rock.get_rock_build_plan(raw.get("base", ""), platforms, raw.get("build-base")):
        raise Refused("platforms: there is nothing to build")
    platform = next(iter(platforms))
    rocks = {arch: service.render_for(build_on=arch, build_for=arch, platform=platform) for arch in ARCHITECTURES}
    for rock in rocks.values():
        check_parts(rock.parts)
        check_rules(rock)
    return rocks


def check_schema(schema: jsonschema_rs.Validator, raw: dict[str, Any]) -> None:
    for error in schema.iter_errors(raw):
        where = ".".join(map(str, error.instance_path)) or "top level"
        raise Refused(f"schema: {where}: {error.message}")


def check_parts(parts: dict[str, Any]) -> None:
    """What craft-parts' lifecycle manager does before it runs anything."""
    if not parts:
        raise Refused("parts: a rock has at least one part")
    for name in OWN_PARTS:
        if name in parts:
            raise Refused(f"parts: {name} is a part that rockcraft itself adds")
    built = []
    for name, data in parts.items():
        plugin = data.get("plugin", name)
        properties = plugins.get_plugin_class(plugin).properties_class.unmarshal(data)
        rest = plugins.validate_and_extract(data, plugin_name=plugin)
        built.append(Part(name, rest, project_dirs=PROJECT_DIRS, plugin_properties=properties))
        for other in data.get("after", ()):
            if other not in parts:
                raise Refused(f"parts: {name} comes after {other}, which is not there")
    sort_parts(built)


def check_rules(rock: Rock) -> None:
    """What rockcraft and Pebble say of a project beyond the types of its fields."""
    for name, data in rock.parts.items():
        if rock.base == "bare" and craft_parts.part_has_overlay(data):
            raise Refused(f"parts: {name} has an overlay, but a bare base has nothing to lay it over")
    for name, value in rock.environment.items():
        if "$" in value[:-1]:
            raise Refused(f"environment: {name}: variables are not expanded")
    for name, service in rock.services.items():
        for other in (*service.after, *service.before, *service.requires):
            if other not in rock.services:
                raise Refused(f"services: {name} names the service {other}, which is not there")
        for other in service.on_check_failure:
            if other not in rock.checks:
                raise Refused(f"services: {name} names the check {other}, which is not there")
    if rock.entrypoint_service is not None:
        if rock.entrypoint_command is not None:
            raise Refused("entrypoint-service and entrypoint-command exclude each other")
        service = rock.services.get(rock.entrypoint_service)
        if service is None or not service.command.endswith("]"):
            raise Refused("entrypoint-service names a service whose command has default arguments")


def reason(error: Exception) -> str:
    """One line of an error of any of the libraries."""
    details = getattr(error, "details", None)
    text = f"{error} {details}" if details and details not in str(error) else str(error)
    kind = "" if isinstance(error, Refused) else f"{type(error).__name__}: "
    return kind + re.sub(r"\s+", " ", text).strip()


def refusal(path: pathlib.Path) -> str | None:
    """Why rockcraft would refuse a file; nothing if it would not."""
    try:
        check(RockService(path), SCHEMA)
    except Exception as error:  # Whatever the libraries raise, rockcraft would stop at it too.
        return reason(error)
    return None


def self_test(schema: pathlib.Path | None) -> int:
    """Refuses every broken document; each is the sound one with some keys replaced."""
    start_worker(schema)
    documents = yaml.safe_load((pathlib.Path(__file__).parent / "broken.yaml").read_text())
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rockcraft.yaml")
        for title, case in {"sound": {"replace": {}}, **documents["broken"]}.items():
            text = case.get("text") or yaml.safe_dump({**documents["sound"], **case["replace"]})
            path.write_text(text)
            expected, found = schema and case.get("schema") or case.get("says"), refusal(path)
            if found is not None if expected is None else expected not in (found or ""):
                failed += 1
                print(f"{title}: expected {expected!r}, found {found!r}")
    print(f"{len(documents['broken']) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--schema", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("paths", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test(arguments.schema)
    paths = arguments.paths or [pathlib.Path(line) for line in sys.stdin.read().splitlines()]
    refused = 0
    for path, found in zip(paths, refusals(paths, arguments.schema)):
        if found:
            refused += 1
            print(f"{path}: {found}")
    print(f"{len(paths) - refused} files valid")
    # A list of files that came out empty has proven nothing.
    return 1 if refused or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
