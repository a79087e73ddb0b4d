//! What `--help` says below the options: examples first, then what is not to be guessed.

/// Of the tool.
pub const TOOL: &str = "\
The way from an application to a rock that restores it:
  cargo xtask doctor                              # can this machine do it?
  cargo xtask new shop --jar ../shop/target/shop.jar
  cargo xtask checkpoint shop                     # build, warm up, dump, prove, pin
  cargo xtask restore shop                        # and there it is
  cargo xtask push shop registry.example.com/team/pins

Exit codes: 0 done, 1 failed, 2 bad input and nothing changed, 130 and 143 stopped by Ctrl-C and
SIGTERM.";

/// Of `new`.
pub const NEW: &str = "\
Examples:
  cargo xtask new shop --git https://git.example.com/shop.git    # at its newest commit
  cargo xtask new zipkin --maven io.zipkin:zipkin-server:3.5.1:exec
  cargo xtask new shop --jar ../shop/target/shop-1.0.jar

It writes apps/APP/app.toml whole or not at all, and never into a folder that holds something. Then
look at what says `guessed`, above all `http.ready`, and run `cargo xtask checkpoint APP`.";

/// Of `checkpoint`.
pub const CHECKPOINT: &str = "\
Examples:
  cargo xtask checkpoint shop --plan              # what would be done, and why
  cargo xtask checkpoint shop --source ../shop    # from a checkout; the pin says so

Only what depends on a change is done again: with none, it is over in a second. The pin,
apps/APP/checkpoint.lock, is written last, after a restore has given the right answers. Commit it,
together with rocks/APP.";

/// Of `restore`.
pub const RESTORE: &str = "\
Examples:
  cargo xtask restore shop                        # its log follows; Ctrl-C stops it
  cargo xtask restore shop --detach --publish 0.0.0.0:80:8080
  cargo xtask restore shop --plan                 # the line by which podman or Docker alone does it
  cargo xtask restore shop --secrets ./secrets    # a file a secret, below /run/secrets

Where the CPU or the kernel lacks what the process was dumped with, nothing is started; `doctor APP`
says so beforehand.";

/// Of `check`.
pub const CHECK: &str = "\
A mistake is shown with its line and the nearest valid name. `show APP` prints every key with its
value and where that comes from; `schema` lets an editor say the same while you type.";

/// Of `schema`.
pub const SCHEMA: &str = "\
An app.toml names it in its first line, as those that `new` writes do:

  #:schema ../app.schema.json

Editors with taplo or Even Better TOML then complete keys, show what each is for, and mark mistakes.";

/// Of `why`.
pub const WHY: &str = "\
Example:
  cargo xtask why shop                            # source-changed: … was pinned, now it is …

`checkpoint --locked` fails for the same reasons, which is what CI wants.";

/// Of `status`.
pub const STATUS: &str = "\
Examples:
  cargo xtask status shop                         # exit code 1 unless each was restored
  cargo xtask status shop --runtime docker

Where restore.fallback is `cold`, an instance may have been started the ordinary way, and works all
the same, but not in a tenth of a second. Pebble's notice in it says why.";

/// Of `push`.
pub const PUSH: &str = "\
Examples:
  cargo xtask push shop registry.example.com/team/pins
  cargo xtask push shop oci:/media/stick/pins     # a folder

Only what is not there is sent. The login is that of `podman login` or `docker login`.";

/// Of `pull`.
pub const PULL: &str = "\
Examples:
  cargo xtask pull shop                           # what the committed pin names, from pin.remote
  cargo xtask pull shop oci:/media/stick/pins --pin sha256:…

Every byte is hashed on its way in. A pull that was cut off goes on where it was.";

/// Of `verify`.
pub const VERIFY: &str = "\
Examples:
  cargo xtask verify                              # every application that has a pin
  cargo xtask verify shop --rock shop-restorer.rock";

/// Of `scan`.
pub const SCAN: &str = "\
Examples:
  cargo xtask scan shop                           # exit code 1 if something is found
  cargo xtask scan shop --json | jq '.findings[].id'

Name your secrets in app.toml, by where this machine has them, and let what may be in the rock be
there for a reason:
  [secrets]
  db-password = { environment = \"DB_PASSWORD\" }
  allow = [{ id = \"jwt:1a2b3c4d\", reason = \"signed by the test realm\" }]

No value is ever shown. `checkpoint` does the same before it pins. A clean scan is no proof: what is
encrypted, compressed, derived from a secret or kept in pieces is not found.";

/// Of `diff`.
pub const DIFF: &str = "\
Examples:
  cargo xtask diff HEAD~1:shop shop               # what the last commit changed in the pin
  cargo xtask diff shop zipkin";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Shells complete programs, and `cargo xtask` is cargo's. Give it a name of its own, in ~/.bashrc say:

  alias xtask='cargo xtask'
  source <(cargo xtask completions bash)";

/// Of `doctor`.
pub const DOCTOR: &str = "\
Every line is `pass`, `warn`, `fail`, or `-` for what was not tried, with the reason; below it, what
to do. Nothing is changed, installed or downloaded. Exit code: 0 if nothing is worse than a warning,
1 if something fails.";

/// Of `soak`.
pub const SOAK: &str = "\
Examples:
  cargo xtask soak shop --restores 100            # one after the other; nothing may be left behind
  cargo xtask soak shop --beside 20               # how one host scales out";

/// Of `capabilities`.
pub const CAPABILITIES: &str = "\
Examples:
  cargo xtask capabilities shop
  cargo xtask capabilities shop --system-calls        # narrow the filter of system calls, too
  cargo xtask capabilities shop --all-system-calls    # and back to the ordinary one

It restores without one capability after the other, and says what failed without those that stay.
Where fewer will do, the pin, the rock's CRIU and what is rendered (compose.yaml, kubernetes.yaml)
have no more from then on; commit them.

The filter of system calls is the same for all, unless --system-calls is given. Families of calls
that a JVM does not make (message queues, ptrace, 32-bit programs, ...) are then taken away one
after the other. Each time the process is restored, its answers to http.verify are compared, and the
requests of http.warm-up are sent once more.

The risk: what neither asks for is not tried. A native library that makes a refused call only later
is told ENOSYS or EPERM from then on, in production. Undo it with --all-system-calls, which keeps
dump and rock, or on the spot with templates/seccomp.json in place of the rendered seccomp.json. A
new dump, as by `checkpoint --force`, begins with the ordinary filter, and with every capability of
its engine.";

/// Of `explain`.
pub const EXPLAIN: &str = "\
Examples:
  cargo xtask explain                             # the last failure
  cargo xtask explain restore.log --app shop      # with the line of apps/shop/app.toml to change
  podman logs shop 2>&1 | cargo xtask explain -

Every failure that has a log ends with the same. Exit code: 0 if a cause is known, 1 if none is.";
