//! Reading the command line, with the tips that clap does not have.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::Cli;
use crate::diagnostic::nearest;

/// Reads the command line; where it is wrong or asks for help, ends the program.
///
/// `version` is what people type who know other tools. clap has a tip for a misspelt option only where no group of options
/// is required, so one is added here.
pub fn parse() -> Cli {
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.len() == 2 && words[1] == "version" {
        words[1] = "--version".into();
    }
    Cli::try_parse_from(words).unwrap_or_else(|error| {
        let unknown = error.get(ContextKind::InvalidArg);
        if let (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) = (error.kind(), unknown)
            && error.get(ContextKind::SuggestedArg).is_none()
            && let Some(meant) = option_like(word)
        {
            eprintln!("error: unexpected argument '{word}' found\n\n  tip: did you mean `{meant}`?");
            std::process::exit(2);
        }
        error.exit()
    })
}

/// The option of any command that a word was probably meant to be.
fn option_like(word: &str) -> Option<String> {
    let name = word.strip_prefix("--")?;
    let tool = Cli::command();
    let commands = tool.get_subcommands().chain([&tool]);
    let names: Vec<&str> =
        commands.flat_map(|it| it.get_arguments()).filter_map(|it| it.get_long()).collect();
    nearest(name, names).map(|name| format!("--{name}"))
}
