//! The templates, as the template engine has read them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use walkdir::WalkDir;

use super::quote;
use crate::diagnostic::{InputError, Problem, nearest};
use crate::engine::Engine;
use crate::fresh;
use crate::seccomp::{Family, narrowed, without_breakpoints};

/// The filter's file, below the templates.
pub const SECCOMP: &str = "seccomp.json";

/// Every template, parsed once.
#[derive(Debug, Clone)]
pub struct Templates {
    environment: Environment<'static>,
    /// The filter of system calls: no template, but fitted to an engine and narrowed for a pin that says so.
    seccomp: String,
    /// Sources and list of the provider of random numbers, by file name: no templates either.
    pub(super) fresh: BTreeMap<String, String>,
}

impl Templates {
    /// Reads every `*.j2` below `folder`.
    pub fn read(folder: &Path) -> Result<Templates> {
        let mut environment = environment();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.context("cannot read the templates")?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "j2") {
                let name = path.strip_prefix(folder)?.to_str().context("a template's name is UTF-8")?;
                environment
                    .add_template_owned(name.to_owned(), fs::read_to_string(path)?)
                    .map_err(|error| located(&error, &Value::UNDEFINED))?;
            }
        }
        let seccomp = fs::read_to_string(folder.join(SECCOMP))?;
        let mut provider = BTreeMap::new();
        for entry in fs::read_dir(folder.join(fresh::FOLDER))? {
            let path = entry?.path();
            let name =
                path.file_name().and_then(|name| name.to_str()).context("a template's name is UTF-8")?;
            provider.insert(name.to_owned(), fs::read_to_string(&path)?);
        }
        Ok(Templates { environment, seccomp, fresh: provider })
    }

    /// The filter of system calls that a restore by this engine runs under which is refused these.
    pub fn filter(&self, engine: Engine, refused: &[Family]) -> Result<String> {
        let filter = match engine {
            Engine::Criu => without_breakpoints(&self.seccomp),
            // What CRIU of a CRaC JVM would do without them could not be tried.
            Engine::Crac => Ok(self.seccomp.clone()),
        };
        filter.and_then(|filter| narrowed(&filter, refused)).with_context(|| format!("templates/{SECCOMP}"))
    }

    /// Renders a template of a report, whose text passes the filter of HTML.
    pub fn report(&self, name: &str, values: &Value) -> Result<String> {
        self.render(name, values)
    }

    /// Renders one template.
    pub(super) fn render(&self, name: &str, values: &Value) -> Result<String> {
        let template = self
            .environment
            .get_template(name)
            .map_err(|_| anyhow!("templates/{name}: there is no such file"))?;
        template.render(values).map_err(|error| located(&error, values))
    }
}

/// A template's own mistake, where it stands in its file. `values` holds the variables there are.
fn located(error: &minijinja::Error, values: &Value) -> anyhow::Error {
    // An included template's mistake is the cause of one in the template that includes it.
    let mut error = error;
    while let Some(cause) = std::error::Error::source(error).and_then(|cause| cause.downcast_ref()) {
        error = cause;
    }
    let help = "a template's variables are those of `render::values` in xtask/core/src/render/values.rs";
    let (Some(name), Some(text), Some(span)) = (error.name(), error.template_source(), error.range()) else {
        return InputError::plain(format!("templates: {error}"), help).into();
    };
    let detail = error.detail().unwrap_or("no more is known");
    let mut message = format!("{}: {detail}", error.kind());
    let mut help = help.to_owned();
    if error.kind() == ErrorKind::UndefinedError || detail == "value is not a string" {
        // The span may be that of a filter: what it was given stands before it.
        let expression = text.get(..span.end).unwrap_or_default().rsplit("{{").next().unwrap_or_default();
        let known: Vec<String> = values.try_iter().into_iter().flatten().map(|key| key.to_string()).collect();
        let mut words = expression.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| !word.is_empty() && !known.iter().any(|name| name == word)) {
            message = format!("{message}; there is no variable `{word}`");
            if let Some(near) = nearest(word, known.iter().map(String::as_str)) {
                help = format!("did you mean `{near}`? {help}");
            }
        }
    }
    let problem = Problem { message, span: Some(span), label: String::new(), help: Some(help) };
    InputError { file: format!("templates/{name}"), text: text.to_owned(), problems: vec![problem] }.into()
}

/// Strict, and without any way to print a string that passed no filter of [`quote`].
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // Where a template's mistake stands: minijinja keeps that by itself only where it was built with its assertions.
    environment.set_debug(true);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(|out, _, value| {
        let plain = value.is_safe() || value.is_number();
        if !plain {
            let message = format!("{value:?} reaches the file through no quoting filter");
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
        }
        out.write_str(&value.to_string())?;
        Ok(())
    });
    environment.add_filter("sh", quote::sh);
    environment.add_filter("sh_in_block", quote::sh_in_block);
    environment.add_filter("yaml", quote::yaml);
    environment.add_filter("yaml_block", quote::yaml_block);
    environment.add_filter("name", quote::name);
    environment.add_filter("comment", quote::comment);
    environment.add_filter("html", quote::html);
    environment
}
