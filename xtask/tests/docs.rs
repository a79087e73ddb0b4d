//! What the documents say: links lead somewhere, blocks of code are what they claim to be, and every command that is
//! shown is one that the tool takes.

mod support {
    pub mod markdown;
    pub mod shell_lines;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use serde::Deserialize;
use support::markdown::{Page, page};
use support::shell_lines::{syntax, wrong_commands};
use walkdir::WalkDir;
use xtask::app::load_text;
use xtask::cli::Cli;

/// The guide, which is a site as well.
const GUIDE: &str = "docs/guide";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every document, by its path from the top of the repository.
fn documents() -> Vec<PathBuf> {
    let pages = WalkDir::new(root().join("docs")).sort_by_file_name().into_iter().map(Result::unwrap);
    let pages = pages.map(|entry| entry.into_path().strip_prefix(root()).unwrap().to_owned());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    ["README.md", "ARCHITECTURE.md"].map(PathBuf::from).into_iter().chain(pages).collect()
}

/// Everything wrong with a document, each with its line.
fn wrong(path: &Path, text: &str) -> Vec<String> {
    let page = page(text);
    let mut found: Vec<(usize, String)> = Vec::new();
    for (line, target) in &page.links {
        found.extend(wrong_link(path, &page, target).map(|wrong| (*line, format!("{target}: {wrong}"))));
    }
    for (line, language, code) in &page.blocks {
        found.extend(wrong_block(language.as_deref(), code).into_iter().map(|wrong| (*line, wrong)));
    }
    let tool = Cli::command();
    // A command may be spoken of by its name alone.
    let whole = |span: &str| {
        span.strip_prefix("cargo xtask ").is_some_and(|rest| tool.find_subcommand(rest).is_none())
    };
    for (line, span) in page.spans.iter().filter(|(_, span)| whole(span)) {
        found.extend(wrong_commands(span).into_iter().map(|wrong| (*line, wrong)));
    }
    found.into_iter().map(|(line, wrong)| format!("{}:{line}: {wrong}", path.display())).collect()
}

fn wrong_link(from: &Path, own: &Page, target: &str) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    if target.contains(':') || target.starts_with('/') {
        return Some("expected https:// or a relative path".to_owned());
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, at)| (file, Some(at)));
    let there = match file {
        "" => own.anchors.clone(),
        file => {
            let path = resolve(from, file)?;
            if from.starts_with(GUIDE) && !path.starts_with(GUIDE) {
                return Some(format!(
                    "the guide is a site of its own, and {} is no part of it",
                    path.display()
                ));
            }
            let whole = root().join(&path);
            if !whole.exists() {
                return Some(format!("there is no {}", path.display()));
            }
            match whole.extension().is_some_and(|extension| extension == "md") {
                true => page(&fs::read_to_string(whole).unwrap()).anchors,
                false => BTreeSet::new(),
            }
        }
    };
    anchor.filter(|anchor| !there.contains(*anchor)).map(|anchor| {
        let near = there.iter().min_by_key(|known| {
            known.len().abs_diff(anchor.len()) + usize::from(!known.contains(&anchor[..1]))
        });
        format!("no heading has the anchor `{anchor}`; there is `{}`", near.map_or("none", String::as_str))
    })
}

/// A path that a document names, from the top.
fn resolve(from: &Path, file: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in from.parent()?.join(file).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    Some(path)
}

fn wrong_block(language: Option<&str>, code: &str) -> Vec<String> {
    match language {
        Some("toml") => wrong_toml(code).into_iter().collect(),
        Some("yaml") => {
            let mut documents =
                serde_yaml_ng::Deserializer::from_str(code).map(serde_yaml_ng::Value::deserialize);
            // Behind a mistake it would begin again, and never end.
            documents.find_map(Result::err).map(|error| format!("no YAML: {error}")).into_iter().collect()
        }
        Some("json") => serde_json::from_str::<serde_json::Value>(code)
            .err()
            .map(|e| format!("no JSON: {e}"))
            .into_iter()
            .collect(),
        Some("sh" | "bash") => {
            syntax(language.unwrap_or("sh"), code).into_iter().chain(wrong_commands(code)).collect()
        }
        Some("console") => wrong_console(code),
        Some("text" | "java" | "properties" | "xml") => Vec::new(),
        Some(other) => vec![format!(
            "a block of `{other}`: expected toml, yaml, json, sh, bash, console, text, java, properties or xml"
        )],
        None => wrong_commands(code),
    }
}

/// As app.toml, unless its first line is a comment that names another file.
fn wrong_toml(code: &str) -> Option<String> {
    let table = match toml::from_str::<toml::Table>(code) {
        Ok(table) => table,
        Err(error) => return Some(format!("no TOML: {error}")),
    };
    let first = code.lines().next().unwrap_or_default();
    if first.starts_with("# ") && !first.contains("app.toml") && first.contains(['.', '/']) {
        return None;
    }
    // What it names of the application's folder is there.
    let folder = tempfile::tempdir().unwrap();
    let files = at(&table, "rock", "files").and_then(toml::Value::as_table);
    let files =
        files.into_iter().flat_map(|files| files.values()).chain(at(&table, "crac", "resource-policies"));
    for file in files.filter_map(toml::Value::as_str).filter(|file| !file.contains('/')) {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let error = load_text("shop", folder.path(), "app.toml", &whole(table, code)).err()?;
    Some(error.to_string())
}

fn at<'t>(table: &'t toml::Table, outer: &str, inner: &str) -> Option<&'t toml::Value> {
    table.get(outer)?.get(inner)
}

/// With a source: a part of an app.toml has it elsewhere, or shows one key of it.
fn whole(mut table: toml::Table, code: &str) -> String {
    let glob = at(&table, "source", "jar").and_then(toml::Value::as_str).is_some_and(|jar| jar.contains('*'));
    match table.get_mut("source").and_then(toml::Value::as_table_mut) {
        None => format!("source.jar = \"a.jar\"\n{code}"),
        Some(source) if glob && source.len() == 1 => {
            source.insert("directory".to_owned(), "source".into());
            table.to_string()
        }
        Some(_) => code.to_owned(),
    }
}

/// What is typed stands behind a `$`; the rest is what was answered.
fn wrong_console(code: &str) -> Vec<String> {
    let mut typed = String::new();
    let mut goes_on = false;
    for line in code.lines() {
        let Some(line) = line.strip_prefix("$ ").or(goes_on.then_some(line)) else { continue };
        typed += line;
        typed.push('\n');
        goes_on = line.ends_with('\\');
    }
    if typed.is_empty() {
        return vec!["a console without a line that begins with `$ `".to_owned()];
    }
    syntax("sh", &typed).into_iter().chain(wrong_commands(&typed)).collect()
}

#[test]
fn links_and_blocks_of_code() {
    let documents = documents();
    assert!(documents.len() >= 10, "{documents:?}");
    let wrong: Vec<String> = documents
        .iter()
        .flat_map(|path| wrong(path, &fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// That a document in the guide is wrong, and where and how.
#[test]
fn what_is_wrong_is_found() {
    let check = |text: &str, phrase: &str| {
        let found = wrong(Path::new("docs/guide/page.md"), text).join("\n");
        assert!(
            found.contains(phrase) || phrase.is_empty() && found.is_empty(),
            "{text}\n`{phrase}`: {found}"
        );
        assert_eq!(found.is_empty(), phrase.is_empty(), "{text}\n{found}");
    };
    check("# A\n\nsee [b](none.md)", "docs/guide/page.md:3: none.md: there is no docs/guide/none.md");
    check("![b](none.svg)", "there is no docs/guide/none.svg");
    check("[b](configuration.md#none)", "no heading has the anchor `none`");
    check("[b](configuration.md#javaversion)", "");
    check("# The A, b's\n\n[b](#the-a-bs)", "");
    check("# A\n\n# A\n\n[b](#a-1) [c](#a-2)", "the anchor `a-2`; there is `a");
    check("[b](../../README.md)", "README.md is no part of it");
    check("[b](http://example.com)", "expected https://");
    check("[b](/etc/passwd)", "expected https://");
    check("[b](https://example.com)", "");

    check("```toml\n[java]\nversion = 21\n```", "");
    check("```toml\nsource.jar = \"a.jar\"\nhttp.port = 80\n```", "");
    check("```toml\n[java]\nversoin = 21\n```", "did you mean `version`?");
    check("```toml\n[source]\njar = \"target/*.jar\"\n```", "");
    check("```toml\n[source]\njar = \"target/*.jar\"\nsha256 = \"0\"\n```", "docs/guide/page.md:1: ");
    check("```toml\n[rock]\nfiles = { \"/etc/a.xml\" = \"a.xml\" }\n```", "");
    check("```toml\n[rock]\nfiles = { \"/etc/a.xml\" = \"../a.xml\" }\n```", "docs/guide/page.md:1: ");
    check("1. a\n\n   ```toml\n   [java]\n   version = 18\n   ```", "page.md:3: ");
    check("```toml\n[java\n```", "no TOML");
    check("```toml\n# containers.conf\n[engine]\nruntime = \"runc\"\n```", "");
    check("```toml\n# containers.conf\n[engine\n```", "no TOML");
    check("```yaml\na: [\n```", "no YAML");
    check("```yaml\na: 1\n---\nb: 2\n```", "");
    check("```json\n{\n```", "no JSON");
    check("```sh\nif true; then\n```", "sh -n: ");
    check("```bash\na=(1 2)\n```", "");
    check("```sh\ncargo xtask restor shop\n```", "unrecognized subcommand 'restor'");
    check("```console\n$ cargo xtask restore shop --detach   # a comment\nwhatever (was said\n```", "");
    check("```console\n$ cargo xtask restore shop --detached\n```", "unexpected argument '--detached'");
    check("```console\n$ true && cargo xtask\\\n    gcc | cat\n```", "unrecognized subcommand 'gcc'");
    check("```console\n$ echo 'a\n```", "sh -n: ");
    check("```console\ncargo xtask gc\n```", "without a line that begins with");
    check("    cargo xtask soak sample --restore 9\n", "unexpected argument '--restore'");
    check("a `cargo xtask sign APP` b", "--key <FILE>");
    check("a `cargo xtask sign` b `cargo xtask sing`", "page.md:1: `cargo xtask sing`: error: unrecognized");
    check("```console\n$ cargo xtask gc  # it's\n$ cargo xtask gd  # it's\n```", "`cargo xtask gd`");
    check("a `cargo xtask` b `cargo xtask --help` c", "");
    check("```\na\n```", "a block of ``");
    check("```rust\na\n```", "a block of `rust`");
}

/// README's table has every command, and each with options that it has.
#[test]
fn every_command_is_in_the_table() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let table = text.split("\n## Commands\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| line.replace("\\|", "¦"));
    let cells: String = rows.map(|row| row.split('|').nth(1).unwrap().to_owned()).collect();
    let shown: Vec<String> = page(&cells).spans.into_iter().map(|(_, span)| span).collect();
    let tool = Cli::command();
    let name = |shown: &String| shown.split(' ').next().unwrap().to_owned();
    let names: BTreeSet<String> = shown.iter().map(name).collect();
    let commands: BTreeSet<String> = tool.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    assert_eq!(names, commands);
    for line in shown {
        let command = tool.find_subcommand(name(&line)).unwrap();
        for option in line
            .split(|c: char| !c.is_ascii_lowercase() && c != '-')
            .filter_map(|word| word.strip_prefix("--"))
        {
            let has = command.get_arguments().any(|argument| argument.get_long() == Some(option));
            assert!(has, "`{line}`: {} has no option --{option}", command.get_name());
        }
    }
}

#[test]
#[ignore = "needs shellcheck; run by cargo xtask test"]
fn shellcheck_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for document in documents() {
        let page = page(&fs::read_to_string(root().join(&document)).unwrap());
        for (line, language, code) in page.blocks {
            let Some(shell @ ("sh" | "bash")) = language.as_deref() else { continue };
            let file =
                folder.path().join(format!("{}-{line}.{shell}", document.file_stem().unwrap().display()));
            fs::write(&file, code).unwrap();
            scripts.push((shell.to_owned(), file));
        }
    }
    let others = WalkDir::new(root().join("docs")).into_iter().map(|entry| entry.unwrap().into_path());
    let others = others.filter(|path| path.extension().is_some_and(|extension| extension == "sh"));
    scripts.extend(others.map(|file| ("bash".to_owned(), file)));
    assert!(scripts.iter().any(|(_, file)| file.ends_with("docs/recording/record.sh")), "{scripts:?}");
    for (shell, file) in scripts {
        let ran = Command::new("shellcheck")
            .arg(format!("--shell={shell}"))
            .arg(file)
            .output()
            .expect("shellcheck");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    }
}

/// `cargo xtask guide` builds it, mkdocs finds every link, and no page has a script, style or picture of another host.
#[test]
#[ignore = "it installs mkdocs; run by cargo xtask test"]
fn the_guide_is_a_site_that_needs_nobody() {
    let ran = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("guide").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let index = String::from_utf8(ran.stdout).unwrap();
    let site = root().join(index.trim()).parent().unwrap().to_owned();
    let pages = documents().into_iter().filter(|path| path.starts_with(GUIDE));
    for page in pages {
        let file = site.join(page.file_name().unwrap()).with_extension("html");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(foreign(&text), Vec::<&str>::new(), "{}", file.display());
    }
    let bad = "<script src=https://a.example/b.js></script><link href=\"//c.example/d.css\"><a href=\"https://e.example\">";
    assert_eq!(foreign(bad), ["https://a.example/b.js", "//c.example/d.css"]);
}

/// What a page loads from other hosts. A link that a reader may follow is none.
fn foreign(html: &str) -> Vec<&str> {
    let tags =
        html.split('<').filter(|tag| !tag.starts_with("a ") && !tag.starts_with("link rel=\"canonical"));
    let of = |tag| {
        let url = attribute(tag, " src=").or_else(|| attribute(tag, " href="))?;
        (url.starts_with("//") || url.starts_with("http")).then_some(url)
    };
    tags.filter_map(of).collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let value = tag.split_once(name)?.1.trim_start_matches(['"', '\'']);
    value.split(['"', '\'', ' ', '>']).next()
}
