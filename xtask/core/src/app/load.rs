//! From a file, or its text, to an [`App`].

use std::io;
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use toml::de::DeTable;

use super::check::{app_name, quoted};
use super::raw::Reader;
use super::setting::Setting;
use super::{App, resolve};
use crate::diagnostic::{InputError, Problem, nearest};
use crate::digest::Digest;

/// An application, and how it came to be what it is.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The resolved application.
    pub app: App,
    /// Every value of it, in the order of the documentation, with where it comes from.
    pub settings: Vec<Setting>,
    /// Digest of the file's bytes.
    pub digest: Digest,
}

/// Loads `<root>/apps/<name>/app.toml`.
///
/// Whatever its author can put right is an [`InputError`] that holds everything wrong with the file; other errors
/// are those of reading it.
pub fn load(root: &Path, name: &str) -> anyhow::Result<Loaded> {
    let names = names(root)?;
    // This comes before the name is part of any path: `../x` is no folder of `apps/`.
    if !names.iter().any(|known| known == name) {
        return Err(unknown_app(name, &names).into());
    }
    let folder = std::path::absolute(root).context("the current folder is gone")?.join("apps").join(name);
    let bytes = fs_err::read(folder.join("app.toml"))?;
    let label = format!("apps/{name}/app.toml");
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(load_text(name, &folder, &label, text)?),
        Err(error) => Err(not_utf8(label, &bytes, error.valid_up_to()).into()),
    }
}

/// Whether an application can be called so.
pub fn check_name(name: &str) -> Result<(), InputError> {
    app_name(name).map(drop).map_err(|wrong| {
        InputError::plain(format!("the name {} {}", quoted(name), wrong.predicate), wrong.expected)
    })
}

/// Every application below `root`: the folders in `apps/` that hold an app.toml, sorted.
pub fn names(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("apps");
    let entries = match fs_err::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join("app.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Loads the application `name` from the text of its app.toml, without looking at the file system.
///
/// Relative paths are taken from `folder`, which should be absolute; `file_label` is what errors call the file.
pub fn load_text(name: &str, folder: &Path, file_label: &str, text: &str) -> Result<Loaded, InputError> {
    let fail = |problems, text: String| {
        Err(InputError { file: file_label.to_owned(), text: hide_user_info(text), problems })
    };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => return fail(vec![syntax(&error, text)], text.to_owned()),
    };
    let mut reader = Reader::new(text);
    if let Err(wrong) = app_name(name) {
        let message = format!("the folder's name {} {}", quoted(name), wrong.predicate);
        reader.problem(
            message,
            None,
            "",
            format!("it becomes the name of a service and of containers: {}", wrong.expected),
        );
    }
    let app = resolve::app(&mut reader, root.get_ref(), name, folder);
    if reader.problems.is_empty() {
        return Ok(Loaded { app, settings: reader.settings, digest: Digest::of(text) });
    }
    // A reader corrects a file from top to bottom; what has no place in it comes last.
    reader.problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
    let shown = reader.secrets.iter().fold(text.to_owned(), hide);
    let shown = reader.hidden.iter().fold(shown, |text, span| stars(&text, span.clone()));
    fail(reader.problems, shown)
}

/// `text` with stars over the credentials of the URL at `span`: a log keeps what an error shows.
fn hide(text: String, span: &Range<usize>) -> String {
    let Some(value) = text.get(span.clone()) else {
        return text;
    };
    let start = value.find("://").map_or(0, |at| at + 3);
    let end = value.rfind('@').unwrap_or(value.len()).max(start);
    stars(&text, span.start + start..span.start + end)
}

/// `text` with stars over what stands between `://` and `@` anywhere: the URL may be in a line that is shown because
/// its key is misspelt, or a quote missing.
fn hide_user_info(mut text: String) -> String {
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        from += at + 3;
        let rest = &text[from..];
        let authority = rest.split(|c: char| c.is_whitespace() || "/\"'".contains(c)).next().unwrap_or(rest);
        if let Some(at) = authority.rfind('@') {
            text = stars(&text, from..from + at);
        }
    }
    text
}

/// `text` with its `range` hidden. The length in bytes stays the same, so that every span still fits.
fn stars(text: &str, range: Range<usize>) -> String {
    let hidden: String =
        text[range.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
    format!("{}{hidden}{}", &text[..range.start], &text[range.end..])
}

fn syntax(error: &toml::de::Error, text: &str) -> Problem {
    let (what, expected) = match error.message().split_once(", expected ") {
        Some((what, expected)) => (what, format!("expected {expected}")),
        None => (error.message(), "here".to_owned()),
    };
    Problem {
        message: format!("not valid TOML: {what}"),
        span: error.span().map(|span| whole_characters(span, text)),
        label: expected,
        help: None,
    }
}

/// The parser counts in bytes, and may point into the middle of a character or behind the end.
fn whole_characters(span: Range<usize>, text: &str) -> Range<usize> {
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=span.start.min(text.len())).rev().find(boundary).unwrap_or(0);
    start..(span.end.max(start)..text.len()).find(boundary).unwrap_or(text.len())
}

fn not_utf8(file: String, bytes: &[u8], valid: usize) -> InputError {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let span = Some(whole_characters(valid..valid + 1, &text));
    let message = "not valid TOML: the file is not UTF-8".to_owned();
    let help = Some("save it in the encoding UTF-8".to_owned());
    InputError {
        file,
        text,
        problems: vec![Problem { message, span, label: "from here on".to_owned(), help }],
    }
}

fn unknown_app(name: &str, names: &[String]) -> InputError {
    let message = format!("there is no application {}", quoted(name));
    let known: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let near = if name.len() <= 100 { nearest(name, names.iter().map(String::as_str)) } else { None };
    let help = match (near, names) {
        (_, []) => "there is none at all yet: write apps/<app>/app.toml".to_owned(),
        (Some(near), _) => format!("did you mean {}? There is {}", quoted(near), known.join(", ")),
        (None, _) => format!("there is {}; each is a folder in apps/ with an app.toml", known.join(", ")),
    };
    InputError::plain(message, help)
}
