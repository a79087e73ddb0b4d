//! What `--help` says below the options: examples first, then what is not to be guessed.

/// Of the tool.
pub const TOOL: &str = "\
The way from an application to a rock that restores it:
  cargo xtask doctor                              # can this machine do it?
  cargo xtask new shop --jar ../shop/target/shop.jar
  cargo xtask checkpoint shop                     # build, warm up, dump, prove, pin
  cargo xtask restore shop                        # and there it is
  cargo xtask push shop registry.example.com/team/pins

Exit codes: 0 done, 1 failed, 2 bad input and nothing changed, 130 and 143 stopped by Ctrl-C and SIGTERM.";

/// Of `new`.
pub const NEW: &str = "\
Examples:
  cargo xtask new shop --git https://git.example.com/shop.git    # at its newest commit
  cargo xtask new zipkin --maven io.zipkin:zipkin-server:3.5.1:exec
  cargo xtask new shop --jar ../shop/target/shop-1.0.jar

It writes apps/APP/app.toml whole or not at all, and never into a folder that holds something. Then look at what says
`guessed`, above all `http.ready`, and run `cargo xtask checkpoint APP`.";

/// Of `checkpoint`.
pub const CHECKPOINT: &str = "\
Examples:
  cargo xtask checkpoint shop --plan              # what would be done, and why
  cargo xtask checkpoint shop --source ../shop    # from a checkout; the pin says so

Only what depends on a change is done again: with none, it is over in a second. The pin, apps/APP/checkpoint.lock, is
written last, after a restore has given the right answers. Commit it, together with rocks/APP.";

/// Of `restore`.
pub const RESTORE: &str = "\
Examples:
  cargo xtask restore shop                        # its log follows; Ctrl-C stops it
  cargo xtask restore shop --detach --publish 0.0.0.0:80:8080

Where the CPU or the kernel lacks what the process was dumped with, nothing is started; `doctor APP` says so beforehand.";

/// Of `check`.
pub const CHECK: &str = "\
A mistake is shown with its line and the nearest valid name. `show APP` prints every key with its value and where that
comes from; `schema` lets an editor say the same while you type.";

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
Every line is `pass`, `warn`, `fail`, or `-` for what was not tried, with the reason; below it, what to do. Nothing is
changed, installed or downloaded. Exit code: 0 if nothing is worse than a warning, 1 if something fails.";
