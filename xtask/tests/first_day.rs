//! The first day, by the real binary: what `doctor` says, `new` from a repository, a jar and a folder, and what helps at
//! the keyboard.

mod support {
    pub mod apps;
    pub mod workspace;
}

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::workspace::Workspace;

/// A jar that `java -jar` would start.
fn jar(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file("META-INF/MANIFEST.MF", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"Main-Class: com.example.Shop\nSpring-Boot-Version: 3.5.1\nBuild-Jdk-Spec: 21\n").unwrap();
    zip.finish().unwrap();
}

/// The folder in which the binary runs, beside the workspace.
fn beside(workspace: &Workspace) -> std::path::PathBuf {
    workspace.root().parent().unwrap().to_owned()
}

fn read(workspace: &Workspace, app: &str) -> String {
    fs::read_to_string(workspace.root().join(format!("apps/{app}/app.toml"))).unwrap()
}

/// `apps/APP` was not made, and nothing else has changed.
#[track_caller]
fn refused(workspace: &Workspace, words: &str, code: i32, phrases: &[&str]) {
    let ran = workspace.run_unchanged(words);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{words}: {ran:?}");
    for phrase in phrases {
        assert!(ran.stderr.contains(phrase), "{words}: `{phrase}` is not in\n{}", ran.stderr);
    }
}

#[test]
fn from_a_jar() {
    let workspace = Workspace::new();
    let path = beside(&workspace).join("build/shop 1.0.jar");
    jar(&path);
    let link = beside(&workspace).join("shop.jar");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let ran = workspace.run("new shop --jar shop.jar");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stdout.starts_with("apps/shop/app.toml is written, and valid: jar /"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Next: cargo xtask checkpoint shop\n"), "{}", ran.stdout);
    let text = read(&workspace, "shop");
    assert!(
        text.starts_with("#:schema ../app.schema.json\n# Spring Boot 3.5.1, main class com.example.Shop,"),
        "{text}"
    );
    assert!(text.contains("shop 1.0.jar\"\n") && text.contains("version = 21   # the manifest"), "{text}");
    assert_eq!(workspace.run_unchanged("check shop").code, Some(0));
    assert_eq!(workspace.run_unchanged("show shop").code, Some(0));
    assert!(text.contains("\n# A path of this machine: on others"), "{text}");
    fs::rename(&path, path.with_extension("gone")).unwrap();
    let gone = workspace.run_unchanged("check shop");
    assert!(gone.code == Some(0) && gone.stderr.contains("warning: its jar is not there: /"), "{gone:?}");
    fs::rename(path.with_extension("gone"), &path).unwrap();

    let there = ["apps/shop is there already", "choose another name"];
    refused(&workspace, "new shop --jar shop.jar", 2, &there);
    workspace.write("apps/notes/readme", "mine");
    refused(&workspace, "new notes --jar shop.jar", 2, &["apps/notes is there already"]);
    // What a killed run leaves: an empty folder, or one with a file that was never renamed.
    workspace.write("apps/killed/.partial-x1", "half");
    assert_eq!(workspace.run("new killed --jar shop.jar").code, Some(0));
    assert_eq!(fs::read_dir(workspace.root().join("apps/killed")).unwrap().count(), 1);
}

#[test]
fn what_is_wrong_on_the_command_line() {
    let workspace = Workspace::new();
    fs::write(beside(&workspace).join("text.jar"), "no jar").unwrap();
    refused(&workspace, "new shop", 2, &["<--git <URL>|--maven", "required"]);
    refused(&workspace, "new shop --jar a.jar --dir b", 2, &["cannot be used with"]);
    refused(&workspace, "new shop --jar a.jar --commit b", 2, &["cannot be used with"]);
    refused(&workspace, "new Shop --jar a.jar", 2, &["the name `Shop` is not a valid name", "lowercase"]);
    refused(&workspace, "new ../shop --jar a.jar", 2, &["is not a valid name"]);
    refused(&workspace, "new a-restore --jar a.jar", 2, &["ends in `-restore`"]);
    refused(&workspace, "new shop --jar none.jar", 2, &["--jar none.jar: there is no such file or folder"]);
    refused(&workspace, "new shop --jar text.jar", 2, &["text.jar: it is no jar", "`java -jar` starts"]);
    refused(&workspace, "new shop --jar root", 2, &["it is no file", "`--dir` takes a folder"]);
    refused(&workspace, "new shop --dir root", 2, &["neither pom.xml nor build.gradle"]);
    let place = "the command line:1:9";
    refused(
        &workspace,
        "new shop --maven a:b",
        2,
        &["`--maven` has 2 parts", place, "group:artifact:version"],
    );
    let moving = ["can mean another jar tomorrow", place];
    refused(&workspace, "new shop --maven a:b:1-SNAPSHOT", 2, &moving);
    let http = ["anyone on the way can alter", "the command line:1:7", "`https://`"];
    refused(&workspace, "new shop --git http://example.com/a.git", 2, &http);
    let short = ["`--commit` is a short id", "the command line:1:10"];
    refused(&workspace, "new shop --git file:///none --commit abc", 2, &short);
    for latest in ["latest", "LATEST", "Release", "1-snapshot"] {
        refused(&workspace, &format!("new shop --maven a:b:{latest}"), 2, &["can mean another jar tomorrow"]);
    }
    refused(
        &workspace,
        "new shop --git /tmp/foo",
        2,
        &["--git /tmp/foo: this is a path", "`--dir` takes a folder"],
    );
    refused(&workspace, "new shop --git ./foo", 2, &["this is a path"]);
    refused(&workspace, "new shop --gti https://example.com/a.git", 2, &["did you mean `--git`?"]);
    refused(&workspace, "chekpoint shop", 2, &["'checkpoint'"]);
    let ran = workspace.run_unchanged("new shop --git https://me:secret@example.com/a.git");
    assert!(ran.code == Some(2) && !ran.stderr.contains("secret"), "{ran:?}");
    let gone = ["cannot ask file:///no/such/repository for its newest commit"];
    refused(&workspace, "new shop --git file:///no/such/repository", 1, &gone);
    let plan = workspace.run_unchanged("new shop --jar none.jar --plan");
    assert!(plan.code == Some(0) && plan.stdout.contains("write app.toml"), "{plan:?}");
}

/// Nobody writes to it, so whoever opens it as a file waits for ever.
#[test]
fn a_named_pipe_is_no_file() {
    let workspace = Workspace::new();
    let pipe = beside(&workspace).join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let check = |words: &str, code: i32, expected: &str| {
        let mut limited = Command::new("timeout");
        let command = workspace.command(words);
        limited.args(["10", env!("CARGO_BIN_EXE_xtask")]).args(command.get_args());
        limited.current_dir(command.get_current_dir().unwrap());
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = workspace.unchanged(&mut limited);
        assert_eq!(ran.code, Some(code), "{words}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{words}: `{expected}` is not in\n{}", ran.stderr);
    };
    check("new shop --jar pipe", 2, "pipe: it is no file");
    check("new shop --dir pipe", 2, "neither pom.xml nor build.gradle");
    check("explain pipe", 2, "cannot read pipe: it is no regular file");
    check("gc --keep pipe", 1, "pipe is no regular file");
    workspace.write("apps/local/app.toml", &format!("[source]\njar = \"{}\"\n", pipe.display()));
    check("checkpoint local --plan", 1, "pipe is no regular file");
}

#[test]
fn from_a_repository() {
    let workspace = Workspace::new();
    let origin = beside(&workspace).join("origin");
    fs::create_dir(&origin).unwrap();
    let git = |words: &str| {
        let user = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        git.current_dir(&origin).args(user).args(words.split(' '));
        let output = git.output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git("init --quiet");
    let url = format!("file://{}", origin.display());
    refused(&workspace, &format!("new shop --git {url}"), 1, &["has no commit yet"]);
    fs::write(origin.join("README"), "").unwrap();
    git("add .");
    git("commit --quiet -m empty");
    let empty = git("rev-parse HEAD");
    fs::write(origin.join("pom.xml"), "<java.version>17</java.version> spring-boot-starter-actuator")
        .unwrap();
    git("add .");
    git("commit --quiet -m x");
    let head = git("rev-parse HEAD");

    let ran = workspace.run(&format!("new shop --git {url} --quiet"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let text = read(&workspace, "shop");
    for line in [&format!("git = \"{url}\""), &format!("commit = \"{head}\""), "version = 17   # pom.xml"] {
        assert!(text.lines().any(|other| other == line), "`{line}` is not in\n{text}");
    }
    assert!(ran.stdout.contains("\n  ready = \"/actuator/health\"   # guessed"), "{}", ran.stdout);
    assert_eq!(workspace.run_unchanged("check shop").code, Some(0));

    let nothing = [&format!("{url} at {empty}: it has neither pom.xml nor build.gradle")[..]];
    refused(&workspace, &format!("new other --git {url} --commit {empty} --quiet"), 2, &nothing);
    let zeros = "0".repeat(40);
    let missing = ["has no commit 0000"];
    refused(&workspace, &format!("new other --git {url} --commit {zeros} --quiet"), 1, &missing);
    // The same sources as a folder.
    let ran = workspace.run("new folder --dir origin");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let line = format!("directory = \"{}\"", fs::canonicalize(&origin).unwrap().display());
    assert!(read(&workspace, "folder").lines().any(|other| other == line));
}

#[test]
fn doctor_needs_neither_an_engine_nor_an_application() {
    let workspace = Workspace::new();
    let empty = tempfile::tempdir().unwrap();
    let ran = workspace.unchanged(workspace.command("doctor zipkin").env("PATH", empty.path()));
    let found = |phrase: &str| {
        let words: Vec<&str> = ran.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains(phrase), "`{phrase}` is not in\n{}", ran.stdout);
    };
    if !["/usr/sbin/podman", "/sbin/podman", "/usr/sbin/docker"].iter().any(|path| Path::new(path).exists()) {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let error = ran.stderr.lines().last().unwrap();
        assert!(error.contains(" checks failed: ") && error.contains("container engine"), "{error}");
        found("fail container engine none answers: podman is not installed; docker is not installed");
        found("- CRIU's own check not tried: it runs in a container, and there is no engine");
    }
    found("- zipkin: pin there is none yet");
    assert!(!ran.stdout.contains("petclinic"), "{}", ran.stdout);

    std::fs::remove_dir_all(workspace.root().join("apps")).unwrap();
    let ran = workspace.unchanged(workspace.command("doctor").env("PATH", empty.path()));
    assert!(ran.stdout.contains("64 KiB folios"), "{ran:?}");
    assert_eq!(workspace.run_unchanged("doctor shop").code, Some(2));
    assert!(workspace.run_unchanged("doctor --plan").stdout.contains("print a table"));
}

/// Many machines have the program of Docker alone, whose daemon is elsewhere, old, or nowhere.
#[test]
fn docker_does_where_it_answers() {
    if ["/usr/sbin/podman", "/sbin/podman"].iter().any(|path| Path::new(path).exists()) {
        eprintln!("skipped: this machine has podman in a folder that is searched without PATH");
        return;
    }
    let workspace = Workspace::new();
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, script: &str| {
        // By a process of its own: what this one has open for writing, one that another test forks meanwhile has open as
        // well, and a program that is open for writing cannot be started.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", write, "sh"]).arg(folder.path().join(name)).arg(script);
        assert!(shell.status().unwrap().success(), "{name} is not written");
    };
    let answer = |version| format!("[ $1 = version ] && echo {version} || echo unix:///run/docker.sock");
    let (silent, old, new) = ("exit 1".to_owned(), answer("20.10.24"), answer("28.2.2"));
    let check = |docker: &str, words: &str, lacks: &str, why: &str| {
        program("docker", docker);
        let mut command = workspace.command(words);
        let ran = workspace.unchanged(command.env("PATH", folder.path()).env_remove("DOCKER_HOST"));
        let lacks = format!("error: this machine lacks {lacks}; add --install to this command, or run\n");
        assert!(ran.stderr.starts_with(&lacks), "{docker}: {}", ran.stderr);
        let said = ran.stderr.lines().nth(2).unwrap_or_default();
        assert!(said.starts_with(why) && said.is_empty() == why.is_empty(), "{docker}: {}", ran.stderr);
    };
    check(&silent, "checkpoint zipkin", "podman, mmdebstrap", "Docker will not do: Docker does not answer;");
    check(
        &old,
        "checkpoint zipkin",
        "podman, mmdebstrap",
        "Docker will not do: this is Docker Engine 20.10.24,",
    );
    check(&new, "checkpoint zipkin", "mmdebstrap", "");
    check(&new, "checkpoint zipkin --runtime podman", "podman, mmdebstrap", "");
    check(&silent, "checkpoint zipkin --runtime docker", "mmdebstrap", "");

    // What --install would install.
    let asked = folder.path().join("asked");
    program("env", "shift; exec \"$@\"");
    program("sudo", "shift; exec \"$@\"");
    program("apt-get", &format!("echo \"$@\" >>{}; exit 1", asked.display()));
    program("docker", &silent);
    let mut command = workspace.command("checkpoint zipkin --install");
    let ran = workspace.unchanged(command.env("PATH", folder.path()).env_remove("DOCKER_HOST"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let asked = fs::read_to_string(asked).unwrap();
    let first = asked.lines().next().unwrap();
    assert!(
        first.contains(" install --no-install-recommends --no-remove podman runc ")
            && first.ends_with(" mmdebstrap"),
        "{asked}"
    );
}

#[test]
fn doctor_goes_on_where_an_app_toml_is_wrong() {
    let workspace = Workspace::new();
    workspace.edit("apps/petclinic/app.toml", "java.version", "java.verzion");
    let ran = workspace.run_unchanged("doctor");
    for phrase in ["petclinic: app.toml", "`cargo xtask check petclinic` shows what is wrong", "zipkin: pin"]
    {
        assert!(ran.stdout.contains(phrase), "`{phrase}` is not in\n{}", ran.stdout);
    }
    assert_eq!(ran.code, Some(1));
    // The one that is asked for is shown in full.
    let ran = workspace.run_unchanged("doctor petclinic");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("did you mean `version`?"), "{}", ran.stderr);
}

#[test]
fn the_schema_is_written_and_checked() {
    let workspace = Workspace::new();
    let stale = workspace.run_unchanged("schema --check");
    assert_eq!(stale.code, Some(1), "{stale:?}");
    assert_eq!(stale.stderr, "error: apps/app.schema.json is not fresh; run `cargo xtask schema`\n");
    assert_eq!(workspace.run("schema").stdout, "apps/app.schema.json is written\n");
    for words in ["schema --check", "schema", "schema --locked"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "apps/app.schema.json is fresh\n"), "{words}");
    }
    workspace.write("docs/guide/configuration.md", "old\n");
    let stale = workspace.run_unchanged("schema --check");
    assert_eq!(stale.stderr, "error: docs/guide/configuration.md is not fresh; run `cargo xtask schema`\n");
    let written = "docs/guide/configuration.md is written\ndocs/guide/commands.md is written\n";
    assert!(workspace.run("schema").stdout.ends_with(written));
    assert_eq!(workspace.run_unchanged("schema --check").code, Some(0));
    // It is no application.
    assert!(!workspace.run_unchanged("list").stdout.contains("schema"));
}

/// What is typed first: help in each of its spellings, and which version this is.
#[test]
fn first_reflexes() {
    let workspace = Workspace::new();
    let help = workspace.run_unchanged("new --help").stdout;
    assert!(help.contains("Usage: cargo xtask new"), "{help}");
    assert_eq!(workspace.run_unchanged("help new").stdout, help);
    assert_eq!(workspace.run_unchanged("help").stdout, workspace.run_unchanged("--help").stdout);
    let version = format!("cargo xtask {}\n", env!("CARGO_PKG_VERSION"));
    for words in ["--version", "-V", "version"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), version.as_str()), "{words}: {ran:?}");
    }
}

#[test]
fn completions_and_man_pages() {
    use clap::CommandFactory;
    let workspace = Workspace::new();
    let tool = xtask::cli::Cli::command();
    for (shell, phrase) in [("bash", "-F _xtask"), ("zsh", "#compdef xtask"), ("fish", "complete -c xtask")] {
        let ran = workspace.run_unchanged(&format!("completions {shell}"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        let script = ran.stdout;
        assert!(script.contains(phrase), "`{phrase}` is not in {shell}'s");
        for command in tool.get_subcommands() {
            assert!(script.contains(command.get_name()), "{} is not in {shell}'s", command.get_name());
        }
    }
    // Bash knows the applications of the workspace that it is in.
    let check = |command: &str, word: &str, expected: &[&str]| {
        let script = format!(
            "source /dev/stdin\nCOMP_WORDS=(xtask {command} '{word}') COMP_CWORD=2\n             _xtask_applications xtask '{word}' {command}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(workspace.root().join("templates")).stdin(Stdio::piped());
        let mut child = bash.stdout(Stdio::piped()).spawn().unwrap();
        let generated = workspace.run_unchanged("completions bash").stdout;
        child.stdin.take().unwrap().write_all(generated.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let apps: Vec<&str> = said.lines().filter(|line| ["petclinic", "zipkin"].contains(line)).collect();
        assert_eq!(apps, expected, "{command} {word}: {said}");
    };
    check("check", "", &["petclinic", "zipkin"]);
    check("check", "z", &["zipkin"]);
    check("list", "", &[]);
    check("new", "", &[]);
    let folder = beside(&workspace).join("man");
    let ran = workspace.run_unchanged("man --output man");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    for command in tool.get_subcommands() {
        let name = command.get_name();
        let page = fs::read_to_string(folder.join(format!("cargo-xtask-{name}.1"))).unwrap();
        assert!(
            page.contains(&format!(".TH cargo-xtask-{name} 1")) && page.contains(".SH SYNOPSIS"),
            "{page}"
        );
    }
    let page = fs::read_to_string(folder.join("cargo-xtask.1")).unwrap();
    assert!(page.contains("The way from an application to a rock"), "{page}");
}
