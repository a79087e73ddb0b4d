//! `completions`: what a shell needs to complete commands and options.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, Completions, Global};

/// What the alias that the completions are for is called.
const NAME: &str = "xtask";

/// Prints a script for the shell to read.
pub fn run(arguments: &Completions, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["print a script for the shell"]);
        return Ok(());
    }
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command().bin_name(NAME).name(NAME),
        NAME,
        &mut script,
    );
    if arguments.shell == Shell::Bash {
        script.extend(applications().bytes());
    }
    // A reader that has gone (`| head`) has read enough.
    let _ = std::io::stdout().write_all(&script);
    Ok(())
}

/// What clap does not know: the applications of the workspace that the shell is in, where a command takes one.
fn applications() -> String {
    let tool = Cli::command();
    let takes_one = |command: &&clap::Command| {
        command.get_name() != "new" && command.get_positionals().any(|argument| argument.get_id() == "app")
    };
    let commands: Vec<&str> = tool.get_subcommands().filter(takes_one).map(clap::Command::get_name).collect();
    APPLICATIONS.replace("COMMANDS", &commands.join("|"))
}

const APPLICATIONS: &str = r#"
_xtask_applications() {
    _xtask "$@"
    local word=${COMP_WORDS[COMP_CWORD]} folder=$PWD file name
    [[ $COMP_CWORD == 2 && $word != -* ]] || return 0
    case ${COMP_WORDS[1]} in COMMANDS) ;; *) return 0 ;; esac
    until [[ -d $folder/apps ]]; do
        [[ -n $folder ]] || return 0
        folder=${folder%/*}
    done
    for file in "$folder"/apps/*/app.toml; do
        name=${file%/app.toml} name=${name##*/}
        if [[ -e $file && $name == "$word"* ]]; then COMPREPLY+=("$name"); fi
    done
}
complete -F _xtask_applications -o bashdefault -o default xtask
"#;
