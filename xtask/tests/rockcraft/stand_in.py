"""A stand-in for rockcraft 1.20, which is a snap and cannot be had on every machine.

    rockcraft --version
    rockcraft pack [--verbosity LEVEL] [--destructive-mode] [--platform NAME] [--output DIR]

It validates rockcraft.yaml (validate.py) and runs its parts with craft-parts, as rockcraft does, on this machine. In
place of Ubuntu's base stands a Debian root with the overlay's packages, and an empty folder in place of the mounted
overlay, so an overlay-script sees only what the stand-in puts there: CRIU, and the stand-in for OpenJDK CRaC of
../fixtures/crac. The tool's own packer writes the rock (../../examples/stand-in-pack.rs).

    STAND_IN_SCHEMA             a JSON Schema that rockcraft.yaml must satisfy
    STAND_IN_WORK               a folder for the parts, kept; without it a temporary one
    STAND_IN_PACK               the packing program; without it, cargo runs it
    STAND_IN_NO_BUILD_PACKAGES  if set, build-packages are taken to be there; otherwise apt installs them
    STAND_IN_KEEP_CAPABILITIES  if set, file capabilities survive. In rockcraft they do not, up to 1.20 at least: it
                                writes layers with Python's tarfile (canonical/rockcraft issue 683)
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

# python-apt is in no registry. craft-parts looks for Debian's when it is imported; nothing else of Debian's is wanted.
sys.path.append("/usr/lib/python3/dist-packages")
with contextlib.suppress(ImportError):
    import apt.cache
    import apt.package
    import apt.progress.base
sys.path.pop()

import craft_parts
import craft_platforms
import validate
import yaml
from craft_application import grammar
from craft_application.errors import PartsLifecycleError
from craft_cli import CraftError, EmitterMode, emit
from craft_parts import callbacks, packages
from craft_parts.executor.migration import migrate_files
from craft_parts.packages.base import DummyRepository

VERSION = "1.20.0+stand-in"
HERE = pathlib.Path(__file__).resolve().parent
CRAC = HERE.parent / "fixtures/crac"
HOST = craft_platforms.DebianArchitecture.from_host().value
PEBBLE = "var/lib/pebble/default"
CRAC_JDK = re.compile(r"(openjdk-\d+)-crac(-jdk-headless)")
OVERLAY_KEYS = ("overlay-packages", "overlay-script", "overlay")


def say(text: str) -> None:
    emit.progress(f"stand-in: {text}", permanent=True)


def arguments_of(words: list[str]) -> argparse.Namespace:
    """The options that the tool may use; rockcraft, too, exits with 64 (EX_USAGE) where it knows one not."""
    parser = argparse.ArgumentParser("rockcraft", allow_abbrev=False, add_help=False, exit_on_error=False)
    parser.add_argument("command", choices=["pack"])
    levels = [mode.name.lower() for mode in EmitterMode]
    parser.add_argument("--verbosity", choices=levels, default="brief")
    parser.add_argument("--destructive-mode", action="store_true")
    parser.add_argument("--platform")
    parser.add_argument("--output", "-o")
    try:
        arguments, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        arguments, unknown = None, [str(error)]
    if unknown:
        print(f"stand-in for rockcraft: unknown or wrong: {' '.join(unknown)}", file=sys.stderr)
        sys.exit(os.EX_USAGE)
    return arguments


def pack(arguments: argparse.Namespace, work: pathlib.Path) -> str:
    """Makes the rock; returns its file's name."""
    service = validate.RockService(pathlib.Path.cwd() / "rockcraft.yaml")
    if not service.path.exists():
        raise CraftError(f"Project file 'rockcraft.yaml' not found in '{service.path.parent}'.")
    schema = os.environ.get("STAND_IN_SCHEMA")
    try:
        rock = validate.check(service, validate.compiled(pathlib.Path(schema) if schema else None))[HOST]
    except validate.Refused as refused:
        raise CraftError(f"Bad rockcraft.yaml content: {refused}") from refused
    platform = platform_of(service, rock, arguments.platform)
    if rock.entrypoint_service or rock.entrypoint_command:
        raise CraftError("stand-in: it knows no entrypoint-service and no entrypoint-command")

    # Not the parts of `rock`: the folders of another work folder stand in those already.
    parts = service.get_raw()["parts"]
    parts = grammar.process_parts(parts_yaml_data=parts, arch=HOST, target_arch=HOST, platform_ids=set())
    overlays = {name: {key: part.pop(key, None) for key in OVERLAY_KEYS} for name, part in parts.items()}
    wanted = sorted({package for overlay in overlays.values() for package in overlay["overlay-packages"] or []})
    overlay = work / "stand-in-overlay"
    base_files = fill_overlay(overlay, wanted)
    manager = lifecycle(parts, rock.name, work)
    run_parts(manager, overlays, overlay, base_files)
    name = f"{rock.name}_{rock.version}_{platform}.rock"
    ask(wanted, rock=request(rock, manager.project_info.dirs.prime_dir, pathlib.Path.cwd() / name))
    return name


def platform_of(service: validate.RockService, rock: validate.Rock, wanted: str | None) -> str:
    platforms = service.get_platforms()
    if wanted and wanted not in platforms:
        raise CraftError(f"Platform {wanted!r} not found in the project definition.")
    plan = craft_platforms.rock.get_rock_build_plan(rock.base, platforms, rock.build_base)
    for build in plan:
        if build.build_on == build.build_for == HOST and wanted in (None, build.platform):
            return build.platform
    raise CraftError(f"No build matches the current execution environment ({HOST}).")


def ask(wanted: list[str], **request: Any) -> None:
    """Has the packing program make or reuse the base, and do something with it."""
    # The fixture puts OpenJDK CRaC together from the stock JDK and CRIU.
    base = {CRAC_JDK.sub(r"\1\2", name) for name in wanted} | {"criu" for name in wanted if CRAC_JDK.match(name)}
    if program := os.environ.get("STAND_IN_PACK"):
        command = [program]
    else:
        manifest = HERE.parents[2] / "Cargo.toml"
        command = ["cargo", "run", "--quiet", f"--manifest-path={manifest}", "-p=xtask", "--example=stand-in-pack"]
    with emit.open_stream("packing") as stream:
        text = json.dumps({"packages": sorted(base), **request}).encode()
        done = subprocess.run(command, input=text, stdout=stream, stderr=stream, check=False)
    if done.returncode:
        raise CraftError(f"stand-in: {command[0]} failed with {done.returncode}")


def fill_overlay(overlay: pathlib.Path, wanted: list[str]) -> list[pathlib.Path]:
    """What the overlay's packages would bring, as far as an overlay-script may touch it. Returns the files of the base
    that are there to be looked at."""
    shutil.rmtree(overlay, ignore_errors=True)
    overlay.mkdir()
    extract = {}
    if "criu" in wanted:
        extract["usr/sbin/criu"] = overlay / "usr/sbin/criu"
    for name in wanted:
        if match := CRAC_JDK.fullmatch(name):
            shutil.copytree(CRAC / "root", overlay, symlinks=True, dirs_exist_ok=True)
            java = match[1].removeprefix("openjdk-")
            for line in (CRAC / "root.copies").read_text().splitlines():
                if not line.startswith("#"):
                    path = line.replace("java-N-", f"java-{java}-").replace("ARCH", HOST)
                    origin, to = (name.lstrip("/") for name in path.split())
                    extract[origin] = overlay / to
    # A mounted overlay shows the base, too: the files that this project's script compares are of it.
    looked_at = {name: overlay / name for name in mapped_files() if not (overlay / name).exists()}
    extract = {**looked_at, **extract}
    for path in extract.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    ask(wanted, extract={name: str(path) for name, path in extract.items()})
    return list(looked_at.values())


def mapped_files() -> list[str]:
    """Files of the base that an overlay-script of this project looks at."""
    manifest = pathlib.Path("mapped.sha256")
    lines = manifest.read_text().splitlines() if manifest.exists() else []
    return [line[66:] for line in lines if not line.startswith("#")]


def lifecycle(parts: dict[str, Any], name: str, work: pathlib.Path) -> craft_parts.LifecycleManager:
    """craft-parts, set up as craft-application does it for rockcraft, but for the overlay."""
    if os.environ.get("STAND_IN_NO_BUILD_PACKAGES"):
        packages._get_repository_for_platform = lambda: DummyRepository
    validate.set_features(enable_overlay=False)
    return craft_parts.LifecycleManager(
        {"parts": parts},
        application_name="rockcraft",
        project_name=name,
        arch=HOST,
        cache_dir=work / "cache",
        work_dir=work,
        ignore_local_sources=[".craft", "*.rock"],
        parallel_build_count=os.cpu_count() or 1,
        track_stage_packages=True,
    )


def run_parts(
    manager: craft_parts.LifecycleManager,
    overlays: dict[str, Any],
    overlay: pathlib.Path,
    base_files: list[pathlib.Path],
) -> None:
    """Runs overlay-scripts and then every part to its prime step."""
    actions = manager.plan(craft_parts.Step.PRIME)
    order = [action.part_name for action in actions if action.step == craft_parts.Step.PULL]
    with_overlay = [name for name in order if any(overlays[name].values())]
    for name in with_overlay:
        if script := overlays[name]["overlay-script"]:
            run_overlay_script(manager.project_info, name, script, overlay)
    # What a script only looked at is the base's, and goes into no layer of the rock.
    for path in base_files:
        path.unlink()

    def lay(info: craft_parts.StepInfo) -> bool:
        # craft-parts adds the overlay before the first part that has one; later parts' folders win over it.
        if with_overlay and info.part_name == with_overlay[0]:
            files, folders = contents(overlay)
            into = info.stage_dir if info.step == craft_parts.Step.STAGE else info.prime_dir
            migrate_files(files=files, dirs=folders, srcdir=overlay, destdir=into)
        return True

    callbacks.register_pre_step(lay, step_list=[craft_parts.Step.STAGE, craft_parts.Step.PRIME])
    with manager.action_executor() as executor:
        for action in actions:
            with emit.open_stream(f"{action.step.name.lower()} {action.part_name}") as stream:
                executor.execute(action, stdout=stream, stderr=stream)


def run_overlay_script(info: craft_parts.ProjectInfo, part: str, script: str, overlay: pathlib.Path) -> None:
    say(f"overlay-script of {part}")
    environment = {
        **os.environ,
        "CRAFT_OVERLAY": str(overlay),
        "CRAFT_ARCH_BUILD_ON": info.arch_build_on,
        "CRAFT_ARCH_BUILD_FOR": info.arch_build_for,
        "CRAFT_ARCH_TRIPLET_BUILD_ON": info.arch_triplet_build_on,
        "CRAFT_ARCH_TRIPLET_BUILD_FOR": info.arch_triplet_build_for,
        "CRAFT_PROJECT_DIR": str(info.project_dir),
        "CRAFT_PROJECT_NAME": str(info.project_name),
        "CRAFT_PART_NAME": part,
        "CRAFT_STEP_NAME": "OVERLAY",
    }
    with emit.open_stream(f"overlay {part}") as stream:
        command = ["bash", "-euxo", "pipefail", "-c", script]
        done = subprocess.run(command, env=environment, cwd=overlay, stdout=stream, stderr=stream, check=False)
    if done.returncode:
        raise CraftError(f"'overlay-script' in part {part!r} failed with code {done.returncode}.")


def contents(top: pathlib.Path) -> tuple[set[str], set[str]]:
    """Files and links, and folders, by their paths below `top`."""
    paths = {path.relative_to(top).as_posix(): path for path in top.rglob("*")}
    folders = {name for name, path in paths.items() if path.is_dir() and not path.is_symlink()}
    return set(paths) - folders, folders


def request(rock: validate.Rock, prime: pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
    """What rockcraft would pack, for the packing program."""
    description = f"{rock.summary}\n\n{rock.description}"
    labels = {"title": rock.title or rock.name, "version": rock.version, "description": description}
    return {
        "name": rock.name,
        "version": rock.version,
        "summary": rock.summary,
        "daemon": rock.run_user is not None,
        "environment": rock.environment,
        "labels": {f"org.opencontainers.image.{key}": value for key, value in labels.items()},
        "layers": [
            {"title": "prime", "entries": list(entries(prime))},
            {"title": "services", "entries": pebble_layer(rock, prime.parent)},
        ],
        "output": str(output),
    }


def entries(top: pathlib.Path) -> Iterator[dict[str, Any]]:
    files, folders = contents(top)
    for name in sorted(files | folders):
        path = top / name
        stat = path.lstat()
        if stat.st_uid != stat.st_gid:
            raise CraftError(f"stand-in: /{name} belongs to {stat.st_uid}:{stat.st_gid}; it knows one number for both")
        entry = {"path": f"/{name}", "mode": stat.st_mode & 0o7777, "owner": stat.st_uid}
        if path.is_symlink():
            entry.update(link=os.readlink(path), mode=0o777)
        elif name in files:
            entry.update(file=str(path), capabilities=capabilities(path))
        yield entry


def capabilities(path: pathlib.Path) -> list[str]:
    said = subprocess.run(["getcap", path], capture_output=True, text=True, check=True).stdout
    if not (match := re.search(r" ((?:cap_\w+,?)+)=eip$", said.strip())):
        return []
    if not os.environ.get("STAND_IN_KEEP_CAPABILITIES"):
        say(f"/{path.name}: its file capabilities are left out, as rockcraft leaves them out")
        return []
    return [name.removeprefix("cap_").upper() for name in match[1].split(",")]


def pebble_layer(rock: validate.Rock, work: pathlib.Path) -> list[dict[str, Any]]:
    """The services and checks as they stand in rockcraft.yaml, where rockcraft writes them."""
    project = rock.marshal()
    layer = {key: project[key] for key in ("summary", "description", "services", "checks") if project.get(key)}
    file = work / "pebble-layer.yaml"
    file.write_text(yaml.dump(layer, default_flow_style=False, sort_keys=False, allow_unicode=True))
    top = pathlib.PurePosixPath("/", PEBBLE)
    # The modes are rockcraft's.
    modes = {top.parent: 0o755, top: 0o777, top / "layers": 0o755}
    folders = [{"path": str(path), "mode": mode, "owner": 0} for path, mode in modes.items()]
    name = str(top / f"layers/001-rockcraft-{rock.name}.yaml")
    return [*folders, {"path": name, "mode": 0o777, "owner": 0, "file": str(file)}]


def main() -> int:
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"rockcraft {VERSION}")
        return 0
    arguments = arguments_of(sys.argv[1:])
    # With craft-cli's own voice: the log file, what is said of it, and how much is said, are rockcraft's.
    greeting = f"Starting rockcraft, version {VERSION}"
    emit.init(EmitterMode[arguments.verbosity.upper()], "rockcraft", greeting, streaming_brief=True)
    # craft-parts' scripts call craftctl, which is beside this Python.
    os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    validate.prepare()
    error = run(arguments)
    if error is None:
        emit.ended_ok()
        return 0
    emit.error(error)
    return error.retcode


def run(arguments: argparse.Namespace) -> CraftError | None:
    kept = os.environ.get("STAND_IN_WORK")
    try:
        with tempfile.TemporaryDirectory(prefix="stand-in-rockcraft-") as temporary:
            work = pathlib.Path(kept or temporary).absolute()
            work.mkdir(parents=True, exist_ok=True)
            name = pack(arguments, work)
        if arguments.output:
            say("--output is taken and changes nothing: rockcraft 1.20 writes into the current folder all the same")
        emit.progress(f"Packed {name}", permanent=True)
    except CraftError as error:
        return error
    except craft_parts.PartsError as error:
        return PartsLifecycleError.from_parts_error(error)
    except KeyboardInterrupt:
        return CraftError("Interrupted.", retcode=130)
    except Exception as error:  # As craft-application reports what nobody expected.
        internal = CraftError(f"rockcraft internal error: {error!r}", retcode=os.EX_SOFTWARE)
        internal.__cause__ = error
        return internal
    return None


if __name__ == "__main__":
    sys.exit(main())
