//! Pure rendering: an application, its pin and the templates give files; nothing is read or written besides.
//!
//! Writing, checking and showing the difference share [`render`]; see `commands/render.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context};
use walkdir::WalkDir;

use crate::app::{App, Source};
use crate::diagnostic::{InputError, Problem, nearest};
use crate::digest::Digest;
use crate::engine::{CRIU_OPTIONS, Engine};
use crate::lock::Lock;
use crate::plan::Packer;
use crate::rock::Role;

mod quote;

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is a program.
    pub executable: bool,
}

/// Rendered files by path, relative to `rocks/<app>`.
pub type Files = BTreeMap<PathBuf, File>;

/// The templates as they were read: path below `templates/` and text.
#[derive(Debug, Clone)]
pub struct Templates(BTreeMap<String, String>);

impl Templates {
    /// Reads every `*.j2` below `folder`.
    pub fn read(folder: &Path) -> Result<Templates> {
        let mut templates = BTreeMap::new();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.context("cannot read the templates")?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "j2") {
                let name = path.strip_prefix(folder)?.to_str().context("a template's name is UTF-8")?;
                templates.insert(name.to_owned(), fs::read_to_string(path)?);
            }
        }
        Ok(Templates(templates))
    }

    /// One digest over names and texts.
    pub fn digest(&self) -> Digest {
        Digest::of_value(&self.0)
    }

    fn render(&self, name: &str, values: &Value) -> Result<String> {
        let mut environment = environment();
        for (name, text) in &self.0 {
            environment.add_template(name, text).map_err(|error| located(&error, values))?;
        }
        let template =
            environment.get_template(name).map_err(|_| anyhow!("templates/{name}: there is no such file"))?;
        template.render(values).map_err(|error| located(&error, values))
    }
}

/// A template's own mistake, where it stands in its file. `values` holds the variables there are.
fn located(error: &minijinja::Error, values: &Value) -> anyhow::Error {
    let help = "a template's variables are those of `render::values` in xtask/src/render/mod.rs";
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
    environment
}

/// Every file under `rocks/<app>`: what rockcraft packs, and beside it, in `native/`, what the native packer
/// does. The two differ where their engines do.
pub fn render(templates: &Templates, app: &App, lock: Option<&Lock>) -> Result<Files> {
    let mut files = Files::new();
    for role in [Role::Checkpoint, Role::Restore] {
        let folder = PathBuf::from(role.folder());
        let engine = Engine::choose(app.engine, Packer::Rockcraft);
        let values = values(app, engine, role, lock);
        let text = templates.render(&format!("rockcraft/{}.yaml.j2", role.folder()), &values)?;
        files.insert(folder.join("rockcraft.yaml"), File { bytes: tidy(&text), executable: false });
        if let (Role::Restore, Some(lock)) = (role, lock) {
            files.insert(folder.join("data.sha256"), manifest(lock));
        }
        files.extend(
            scripts(templates, app, engine, role)?.into_iter().map(|(path, file)| (folder.join(path), file)),
        );
        if Engine::choose(app.engine, Packer::Native) == Engine::Criu {
            let native = folder.join("native");
            files.extend(
                native_files(templates, app, role)?.into_iter().map(|(path, file)| (native.join(path), file)),
            );
        }
    }
    Ok(files)
}

/// What the native packer puts into a rock of this role: `layer.yaml` and `scripts/`.
pub fn native_files(templates: &Templates, app: &App, role: Role) -> Result<Files> {
    let engine = Engine::choose(app.engine, Packer::Native);
    let mut files = scripts(templates, app, engine, role)?;
    let text =
        templates.render(&format!("pebble/{}.yaml.j2", role.folder()), &values(app, engine, role, None))?;
    files.insert("layer.yaml".into(), File { bytes: tidy(&text), executable: false });
    Ok(files)
}

fn scripts(templates: &Templates, app: &App, engine: Engine, role: Role) -> Result<Files> {
    let values = values(app, engine, role, None);
    let script = |name: &&str| -> Result<(PathBuf, File)> {
        let text = templates.render(&format!("scripts/{name}.j2"), &values)?;
        Ok((Path::new("scripts").join(name), File { bytes: tidy(&text), executable: true }))
    };
    engine.scripts(role).iter().map(script).collect()
}

/// `sha256sum --check` reads it: the part of the restore rock refuses data that is not exactly this.
fn manifest(lock: &Lock) -> File {
    let lines =
        lock.data.files.iter().filter_map(|file| {
            Some(format!("{}  {}\n", file.sha256?.hex(), file.path.trim_start_matches('/')))
        });
    File { bytes: lines.collect::<String>().into_bytes(), executable: false }
}

/// One line break at the end, and no line that ends in blanks.
fn tidy(text: &str) -> Vec<u8> {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.dedup_by(|next, line| next.is_empty() && line.is_empty());
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    (lines.join("\n") + "\n").into_bytes()
}

/// Every variable a template may use.
fn values(app: &App, engine: Engine, role: Role, lock: Option<&Lock>) -> Value {
    let mut packages = engine.packages(app.java.version);
    packages.extend(app.rock.packages.iter().cloned());
    packages.sort();
    packages.dedup();
    let ppas: &[&str] = match (engine, app.rock.base.as_str()) {
        (Engine::Crac, "ubuntu@24.04") => &["pushkarnk/openjdk-crac-noble"],
        (Engine::Crac, _) => &[],
        (Engine::Criu, _) => &["criu/ppa"],
    };
    let capabilities: Vec<String> =
        engine.capabilities(role).iter().map(|c| format!("cap_{}", c.to_string().to_lowercase())).collect();
    let App { name, summary, version, rock, java, .. } = app;
    let git = match &app.source {
        Source::Git { url, commit, build } => {
            context! { git => url, commit, build => &build.command, jar => &build.jar }
        }
        _ => context! {},
    };
    context! {
        generated => format!(
            "@generated by `cargo xtask render {0}` from apps/{0}/app.toml; do not edit", app.name),
        app => name,
        summary,
        version,
        rock_name => rock_name(app, role),
        base => &rock.base,
        run_user => &rock.run_user,
        platforms => &rock.platforms,
        packages,
        ppas => ppas.to_vec(),
        capabilities => capabilities.join(","),
        java => java.version,
        engine => engine.to_string(),
        engine_title => Value::from_safe_string(engine.title().to_owned()),
        class_archive => crate::plan::wants_archive(app) && engine == Engine::Criu,
        drop_capabilities => engine == Engine::Criu,
        min_pid => app.checkpoint.min_pid,
        jvm_options => engine.jvm_options(app),
        arguments => &java.arguments,
        criu_options => CRIU_OPTIONS.to_vec(),
        ghost_limit => app.checkpoint.ghost_limit.as_u64(),
        restore_seconds => app.limits.restore.as_secs().max(1),
        environment => engine.environment(app),
        checkpoint_command => engine.checkpoint_command(app),
        restore_command => engine.restore_command(),
        scripts => engine.scripts(role).to_vec(),
        source => git,
        jar_digest => jar_digest(app, lock),
    }
}

/// SHA-256 of the jar that rockcraft is handed: app.toml's, or the pin's. Before there is either, one that no jar has.
fn jar_digest(app: &App, lock: Option<&Lock>) -> String {
    match (&app.source, lock) {
        (Source::Maven { sha256, .. }, _) => sha256.clone(),
        (_, Some(lock)) => lock.source.jar.hex(),
        (_, None) => "0".repeat(64),
    }
}

/// The name of the rock of this role.
pub fn rock_name(app: &App, role: Role) -> &str {
    match role {
        Role::Checkpoint => &app.rock.checkpoint_name,
        Role::Restore => &app.rock.restore_name,
    }
}
