//! Pure rendering: an application, its pin and the templates give files; nothing is read or written besides.
//!
//! Writing, checking and showing the difference share [`render`]; see `xtask/src/commands/render.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::app::App;
use crate::digest::Digest;
use crate::engine::{Engine, RESOURCE_POLICIES};
use crate::files::DataFile;
use crate::fresh;
use crate::lock::{Lock, MappedFile};
use crate::rock::{DAEMON_ID, Role};
use crate::way::Way;

mod kubernetes;
mod quote;
mod templates;
mod values;

pub use templates::{SECCOMP, Templates};

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is a program.
    pub executable: bool,
}

impl File {
    fn text(text: &str) -> File {
        File { bytes: tidy(text), executable: false }
    }

    fn program(text: &str) -> File {
        File { bytes: tidy(text), executable: true }
    }
}

/// Rendered files by path.
pub type Files = BTreeMap<PathBuf, File>;

/// What rockcraft's rocks hold besides what they are rendered from: the pinned jar and checkpoint data.
#[derive(Debug, Clone, Copy)]
pub struct Pinned<'a> {
    /// The jar.
    pub jar: Digest,
    /// The checkpoint data, where there is some.
    pub data: &'a [DataFile],
    /// Files of the packages that the process has mapped.
    pub mapped: &'a [MappedFile],
}

/// Every file under `rocks/<app>`: what rockcraft packs, beside it in `native/` what the native packer does, and how the
/// restore rock is run.
pub fn render(templates: &Templates, app: &App, lock: Option<&Lock>) -> Result<Files> {
    let mut files = Files::new();
    let mut add = |folder: &str, more: Files| {
        files.extend(more.into_iter().map(|(path, file)| (Path::new(folder).join(path), file)));
    };
    let way = Way::rockcraft(app);
    // Data of one engine is nothing to the other.
    let same = lock.filter(|lock| lock.engine == way.engine);
    let pinned =
        same.map(|lock| Pinned { jar: lock.source.jar, data: &lock.data.files, mapped: &lock.data.mapped });
    for role in [Role::Checkpoint, Role::Restore] {
        add(role.folder(), rockcraft_files(templates, app, role, pinned)?);
        if let Some(native) = Way::native(app) {
            add(&format!("{}/native", role.folder()), native_files(templates, app, native.engine, role)?);
        }
    }
    add("restore", deployment(templates, app, lock)?);
    Ok(files)
}

/// The folder that rockcraft packs for this role.
pub fn rockcraft_files(
    templates: &Templates,
    app: &App,
    role: Role,
    pinned: Option<Pinned<'_>>,
) -> Result<Files> {
    let way = Way::rockcraft(app);
    let values = values::of(app, way, role, pinned);
    let mut files = scripts(templates, &values, app, way.engine, role)?;
    if fresh::wanted(app, way.engine) {
        let sources = templates.fresh.iter().filter(|(name, _)| name.ends_with(".java"));
        let rendered = |text: &str| File::text(&format!("// {}{text}", unchanged(app)));
        files.extend(sources.map(|(name, text)| (Path::new(fresh::FOLDER).join(name), rendered(text))));
    }
    let text = templates.render(&format!("rockcraft/{}.yaml.j2", role.folder()), &values)?;
    files.insert("rockcraft.yaml".into(), File::text(&text));
    for (path, file) in own_files(app, way.engine) {
        files.insert(Path::new("files").join(path.trim_start_matches('/')), file);
    }
    if role == Role::Restore {
        let text = templates.render("scripts/install-data.sh.j2", &values)?;
        files.insert("install-data.sh".into(), File::program(&text));
        if let Some(pinned) = pinned.filter(|pinned| !pinned.data.is_empty()) {
            files.insert("data.manifest".into(), File::text(&manifest(app, pinned)));
            files.insert("mapped.sha256".into(), File::text(&mapped(app, pinned)));
        }
    }
    Ok(files)
}

/// What the native packer puts into a rock of this role: `layer.yaml` and `scripts/`.
pub fn native_files(templates: &Templates, app: &App, engine: Engine, role: Role) -> Result<Files> {
    let way = Way { packer: crate::way::Packer::Native, engine };
    let values = values::of(app, way, role, None);
    let mut files = scripts(templates, &values, app, engine, role)?;
    let text = templates.render(&format!("pebble/{}.yaml.j2", role.folder()), &values)?;
    files.insert("layer.yaml".into(), File::text(&text));
    Ok(files)
}

/// How the restore rock is run: `compose.yaml`, `kubernetes.yaml`, and the filter of system calls that both name.
fn deployment(templates: &Templates, app: &App, lock: Option<&Lock>) -> Result<Files> {
    // The pinned rock's way; before there is one, that of the files beside.
    let pinned = lock.map(Lock::way);
    let way = pinned.unwrap_or_else(|| Way::rockcraft(app));
    let values = values::of(app, way, Role::Restore, None);
    let granted = lock.map_or(way.engine.capabilities(app, Role::Restore), |lock| &lock.capabilities.restore);
    let granted: Vec<String> = granted.iter().map(ToString::to_string).collect();
    let refused = lock.map_or(&[][..], |lock| &lock.system_calls.refused);
    let filter = templates.filter(way.engine, refused)?;
    let refused: Vec<&str> = refused.iter().map(|family| family.row().name).collect();
    let refused = refused.join(", ");
    let values = minijinja::context! { container_capabilities => granted, refused, ..values };
    let made = lock.and_then(Lock::read_only_root);
    let scratch = made.map_or_else(Vec::new, |made| scratch(app, made));
    let compose = templates.render("compose.yaml.j2", &minijinja::context! { scratch, ..values.clone() })?;
    let own = kubernetes::values(app, way.engine, lock, &filter);
    let kubernetes = templates.render("kubernetes.yaml.j2", &minijinja::context! { ..own, ..values })?;
    Ok(Files::from([
        ("compose.yaml".into(), File::text(&compose)),
        ("kubernetes.yaml".into(), File::text(&kubernetes)),
        ("seccomp.json".into(), File::text(&filter)),
    ]))
}

/// The folders that are written to where the restore rock's root is read-only, as compose.yaml and the command line of
/// `restore --plan` have them: each begins as a copy of the image's. None where the root must be writable.
pub fn scratch(app: &App, files: &[DataFile]) -> Vec<String> {
    let own = ["/tmp".to_owned(), format!("/run/{}", app.name), "/var/lib/pebble/default".to_owned()];
    if kubernetes::read_only(files) { own.into() } else { Vec::new() }
}

/// Files of the application's own, by their place in the rock.
pub fn own_files(app: &App, engine: Engine) -> BTreeMap<String, File> {
    let file = |file: &crate::app::RockFile| File { bytes: file.bytes.clone(), executable: file.executable };
    let mut files: BTreeMap<String, File> =
        app.rock.files.iter().map(|(path, own)| (path.clone(), file(own))).collect();
    if let (Engine::Crac, Some(policies)) = (engine, &app.crac.resource_policies) {
        files.insert(RESOURCE_POLICIES.to_owned(), file(policies));
    }
    files
}

fn scripts(
    templates: &Templates,
    values: &minijinja::Value,
    app: &App,
    engine: Engine,
    role: Role,
) -> Result<Files> {
    let script = |name: &&str| -> Result<(PathBuf, File)> {
        let text = templates.render(&format!("scripts/{name}.j2"), values)?;
        Ok((Path::new("scripts").join(name), File::program(&text)))
    };
    let mut files: Files = engine.scripts(app, role).iter().map(script).collect::<Result<_>>()?;
    if let (true, Some(list)) = (fresh::listed(app, engine, role), templates.fresh.get(fresh::LIST)) {
        let text = format!("# {}{list}", unchanged(app));
        files.insert(Path::new("scripts").join(fresh::LIST), File::text(&text));
    }
    Ok(files)
}

/// The first line of what is rendered as it stands below the templates.
fn unchanged(app: &App) -> String {
    format!("@generated by `cargo xtask render {}` from templates/{}; do not edit\n", app.name, fresh::FOLDER)
}

/// What `install-data.sh` reads: the pinned files with their folders, sorted, so that parents come first.
fn manifest(app: &App, pinned: Pinned<'_>) -> String {
    let mut lines = BTreeMap::new();
    let mut folders = BTreeSet::new();
    let jar = format!("jars/{}.jar", app.name);
    let paths = pinned.data.iter().map(|file| file.path.trim_start_matches('/'));
    for path in paths.chain([jar.as_str()]) {
        folders
            .extend(Path::new(path).ancestors().skip(1).filter_map(Path::to_str).filter(|p| !p.is_empty()));
    }
    for folder in folders {
        let owner = if folder == "checkpoint-data" { DAEMON_ID } else { 0 };
        lines.insert(folder, format!("d 0755 {owner}:{owner} -"));
    }
    lines.insert(&jar, format!("f 0644 0:0 {}", pinned.jar.hex()));
    for file in pinned.data {
        let (kind, sum) = match (&file.sha256, &file.link) {
            (Some(digest), _) => ('f', digest.hex()),
            (None, Some(target)) => ('l', Digest::of(target).hex()),
            (None, None) => ('d', "-".to_owned()),
        };
        let path = file.path.trim_start_matches('/');
        lines.insert(path, format!("{kind} {} {} {sum}", file.mode, file.owner));
    }
    let text: String = lines.iter().map(|(path, line)| format!("{line} {path}\n")).collect();
    format!("# @generated by `cargo xtask checkpoint {}`: KIND MODE UID:GID SHA256 PATH\n{text}", app.name)
}

/// `sha256sum --check` reads it, at the root of the rock's base and packages.
fn mapped(app: &App, pinned: Pinned<'_>) -> String {
    // What is in the data is compared with the data's own manifest, and the provider where it is compiled.
    let jars = "/jars/";
    let ours = |file: &&MappedFile| {
        !file.path.starts_with(jars)
            && file.path != fresh::JAR
            && pinned.data.iter().all(|data| data.path != file.path)
    };
    let lines = pinned.mapped.iter().filter(ours);
    let text: String =
        lines.map(|file| format!("{}  {}\n", file.sha256.hex(), file.path.trim_start_matches('/'))).collect();
    format!(
        "# @generated by `cargo xtask checkpoint {}`: what the dumped process has mapped\n{text}",
        app.name
    )
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

/// The name of the rock of this role.
pub fn rock_name(app: &App, role: Role) -> &str {
    match role {
        Role::Checkpoint => &app.rock.checkpoint_name,
        Role::Restore => &app.rock.restore_name,
    }
}
