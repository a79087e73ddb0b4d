"""Services and checks, by the specification of Pebble's layers."""

import shlex
from typing import Annotated, Any, Literal

import pydantic
from craft_application.models import CraftBaseModel

# Pebble reads durations with Go's time.ParseDuration.
Duration = Annotated[str, pydantic.StringConstraints(pattern=r"^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$")]
Strings = dict[str, str]


def command_of_pebble(command: str) -> str:
    """Pebble splits a command like a shell, and takes `[ … ]` at its end for arguments that may be replaced."""
    words = shlex.split(command)
    if not words or words[0] == "[":
        raise ValueError("the command names no program")
    brackets = [at for at, word in enumerate(words) if word in ("[", "]")]
    if brackets and (len(brackets) != 2 or words[brackets[0]] != "[" or words[-1] != "]"):
        raise ValueError("default arguments stand between one [ and one ] at the end of the command")
    return command


Command = Annotated[str, pydantic.AfterValidator(command_of_pebble)]
Exit = Literal["restart", "shutdown", "ignore"]


class Entry(CraftBaseModel):
    """What Pebble's services and checks have in common."""

    override: Literal["merge", "replace"]
    startup: Literal["enabled", "disabled"] | None = None


class Service(Entry):
    """A service, by Pebble's layer specification. rockcraft wants a command in each."""

    command: Command
    summary: str | None = None
    description: str | None = None
    after: list[str] = []
    before: list[str] = []
    requires: list[str] = []
    environment: Strings = {}
    user: str | None = None
    user_id: int | None = None
    group: str | None = None
    group_id: int | None = None
    working_dir: str | None = None
    on_success: Exit | Literal["failure-shutdown"] | None = None
    on_failure: Exit | Literal["success-shutdown"] | None = None
    on_check_failure: dict[str, Exit | Literal["success-shutdown"]] = {}
    backoff_delay: Duration | None = None
    backoff_factor: Annotated[float, pydantic.Field(ge=1)] | None = None
    backoff_limit: Duration | None = None
    kill_delay: Duration | None = None


class Check(Entry):
    """A health check, by Pebble's layer specification; the schema looks into the three kinds."""

    level: Literal["alive", "ready"] | None = None
    period: Duration | None = None
    timeout: Duration | None = None
    threshold: Annotated[int, pydantic.Field(ge=1)] | None = None
    http: dict[str, Any] | None = None
    tcp: dict[str, Any] | None = None
    exec: dict[str, Any] | None = None

    @pydantic.model_validator(mode="after")
    def one_kind(self) -> "Check":
        if [self.http, self.tcp, self.exec].count(None) != 2:
            raise ValueError("a check is exactly one of http, tcp and exec")
        return self
