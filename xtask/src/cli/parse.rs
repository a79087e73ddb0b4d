//! Reading the command line, with the tips that clap does not have.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::Cli;
use crate::diagnostic::nearest;
use crate::rock::Role;
use crate::runtime::Kind;

/// A value that an argument may have, how it is typed, and what help says of it.
pub type Choice<T> = (T, &'static str, &'static str);

/// The container engines.
pub const ENGINES: [Choice<Kind>; 2] =
    [(Kind::Podman, "podman", "podman"), (Kind::Docker, "docker", "Docker Engine 23 or later")];
/// The rocks of a pair.
pub(super) const ROLES: [Choice<Role>; 2] = [
    (Role::Checkpoint, "checkpoint", "Runs the application and dumps it"),
    (Role::Restore, "restore", "Brings the dumped process back"),
];

/// What was typed.
pub fn chosen<T: Copy>(choices: &[Choice<T>], typed: &str) -> Option<T> {
    choices.iter().find(|(_, name, _)| *name == typed).map(|choice| choice.0)
}

/// Reads an argument that is one of a few. What derives this is clap's, and the crate that has the types does without clap.
pub(super) fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    choices: [Choice<T>; N],
) -> impl TypedValueParser<Value = T> {
    let values = choices.map(|(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values)
        .try_map(move |typed| chosen(&choices, &typed).ok_or("it is none of these"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_chosen_can_be_typed() {
        for (kind, name, _) in ENGINES {
            assert_eq!(name, kind.to_string());
        }
        for (role, name, _) in ROLES {
            assert_eq!(name, role.folder());
        }
        // One more of them must be added here, and above.
        let known = |kind: Kind, role: Role| match (kind, role) {
            (Kind::Podman | Kind::Docker, Role::Checkpoint | Role::Restore) => true,
        };
        assert!(ENGINES.iter().zip(ROLES).all(|(engine, role)| known(engine.0, role.0)));
    }
}
