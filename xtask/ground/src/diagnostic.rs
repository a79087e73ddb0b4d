//! Errors in what a user wrote: they name the file and line, say what was expected and the nearest valid name,
//! and end the program with exit code 2 before anything has changed.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One mistake in a user's input.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Bytes of the file it is about.
    pub span: Option<Range<usize>>,
    /// What stands under the marked bytes: what was expected.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything that is wrong with one file.
#[derive(Debug, Clone)]
pub struct InputError {
    /// The file, relative to the workspace where possible.
    pub file: String,
    /// Its text as it was read.
    pub text: String,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

impl InputError {
    /// An error about something that is no file of ours: a command-line argument, say.
    pub fn plain(message: impl Into<String>, help: impl Into<String>) -> InputError {
        InputError {
            file: String::new(),
            text: String::new(),
            problems: vec![Problem {
                message: message.into(),
                span: None,
                label: String::new(),
                help: Some(help.into()),
            }],
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let mut group: Group<'_> = match (&problem.span, self.file.is_empty()) {
                (Some(span), _) => Level::ERROR.primary_title(&problem.message).element(
                    Snippet::source(&self.text)
                        .path(&self.file)
                        .fold(true)
                        .annotation(AnnotationKind::Primary.span(span.clone()).label(&problem.label)),
                ),
                (None, false) => Level::ERROR
                    .primary_title(&problem.message)
                    .element(Level::NOTE.message(format!("in {}", self.file))),
                (None, true) => Group::with_title(Level::ERROR.primary_title(&problem.message)),
            };
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help));
            }
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", Renderer::plain().render(&[group]))?;
        }
        Ok(())
    }
}

impl std::error::Error for InputError {}

/// An error and its causes, each on its own line.
pub fn causes(error: &anyhow::Error) -> String {
    error.chain().map(|cause| cause.to_string()).collect::<Vec<_>>().join("\n  because: ")
}

/// The candidate nearest to `name`, if one is near enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}
