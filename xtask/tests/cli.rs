//! The real binary: bad input is refused before anything changes, and what only looks changes nothing.

mod support {
    pub mod apps;
    pub mod workspace;
}

use clap::CommandFactory;
use support::workspace::Workspace;
use xtask::lock::Lock;

/// Appended to petclinic's app.toml, this is refused on its line, with every phrase.
#[track_caller]
fn refused_line(wrong: &str, phrases: &[&str]) {
    let workspace = Workspace::new();
    let text = format!("{}{wrong}\n", support::apps::PETCLINIC);
    workspace.write("apps/petclinic/app.toml", &text);
    let place = format!("apps/petclinic/app.toml:{}:", text.lines().count());
    for words in ["check", "check petclinic", "render", "checkpoint petclinic", "pack petclinic checkpoint"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!(ran.code, Some(2), "{words}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        for phrase in phrases.iter().chain([&place.as_str()]) {
            assert!(ran.stderr.contains(phrase), "`{phrase}` is not in\n{}", ran.stderr);
        }
    }
}

#[test]
fn a_wrong_line_of_app_toml() {
    refused_line("sumary = 1", &["unknown key `sumary` at the top", "did you mean `summary`?"]);
    refused_line("http.redy = \"/\"", &["unknown key `redy` in `http`", "did you mean `ready`?"]);
    refused_line(
        "http.port = \"8080\"",
        &["expected an integer, found a string", "leave out the quotes: 8080"],
    );
    refused_line("engine = \"crui\"", &["`engine` is `crui`", "did you mean `criu`?"]);
    refused_line("limits.dump = \"90\"", &["`limits.dump` has no unit", "did you mean \"90s\"?"]);
    refused_line("limits.dump = \"3h\"", &["out of range", "from 1s to 2h"]);
    refused_line("rock.restore-name = \"A b\"", &["is not a valid name", "expected lowercase letters"]);
    refused_line("rock.restore-name = \"no\"", &["means something else in YAML", "expected another name"]);
    refused_line("environment.PATH = \"/\"", &["may not be set", "remove this line"]);
    refused_line("http.port = ", &["not valid TOML"]);
}

#[test]
fn a_path_that_leaves_the_applications_folder() {
    for (source, phrase) in [
        ("source.jar = \"../other/app.jar\"", "`source.jar` holds `..`"),
        ("source.directory = \"a/../../b\"", "`source.directory` holds `..`"),
        ("source.directory = \"src\"\nsource.jar = \"/tmp/*.jar\"", "`source.jar` is an absolute path"),
    ] {
        let workspace = Workspace::new();
        workspace.write("apps/zipkin/app.toml", source);
        let ran = workspace.run_unchanged("checkpoint zipkin");
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let place = format!("apps/zipkin/app.toml:{}:", source.lines().count());
        assert!(ran.stderr.contains(phrase) && ran.stderr.contains(&place), "{}", ran.stderr);
    }
}

#[test]
fn a_folder_with_a_bad_name() {
    for name in ["Shop", "null", "shop-restore"] {
        let workspace = Workspace::new();
        workspace.write(&format!("apps/{name}/app.toml"), "source.jar = \"app.jar\"\n");
        let ran = workspace.run_unchanged(&format!("check {name}"));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        for phrase in [&format!("the folder's name `{name}`"), "expected ", &format!("apps/{name}/app.toml")]
        {
            assert!(ran.stderr.contains(phrase), "`{phrase}` is not in\n{}", ran.stderr);
        }
    }
}

/// These words are refused with every phrase.
#[track_caller]
fn refused(words: &str, phrases: &[&str]) {
    let ran = Workspace::new().run_unchanged(words);
    assert_eq!(ran.code, Some(2), "{words}: {ran:?}");
    for phrase in phrases {
        assert!(ran.stderr.contains(phrase), "{words}: `{phrase}` is not in\n{}", ran.stderr);
    }
    assert_eq!(ran.stdout, "", "{words}");
}

#[test]
fn wrong_words() {
    let unknown = ["there is no application `petclinik`", "did you mean `petclinic`?", "`zipkin`"];
    for command in ["checkpoint", "restore", "render", "check", "show"] {
        refused(&format!("{command} petclinik"), &unknown);
    }
    refused("pack petclinik restore", &unknown);
    refused("checkpoint ../apps/zipkin", &["there is no application", "`petclinic`, `zipkin`"]);
    refused("checkpiont zipkin", &["unrecognized subcommand 'checkpiont'", "'checkpoint'"]);
    refused("checkpoint zipkin --focre", &["unexpected argument '--focre'", "'--force'"]);
    refused("checkpoint", &["<APP>"]);
    refused(
        "pack zipkin restor",
        &["invalid value 'restor'", "[possible values: checkpoint, restore]", "'restore'"],
    );
    refused("check --quiet --verbose", &["cannot be used with"]);
    refused("render --check --diff", &["cannot be used with"]);
    for command in ["checkpoint zipkin", "pack zipkin checkpoint"] {
        let words = format!("{command} --source /no/such/folder");
        refused(
            &words,
            &[
                "--source /no/such/folder: there is no such file or folder",
                "name a folder of sources or a jar",
            ],
        );
    }
}

#[test]
fn a_wrong_publish() {
    let expected = "expected [[ADDRESS:]PORT:]PORT";
    refused("restore zipkin --publish web", &["`web` is no port", expected]);
    refused("restore zipkin --publish 0", &["`0` is no port", expected]);
    refused("restore zipkin --publish 80:70000", &["`70000` is no port", expected]);
    refused("restore zipkin --publish example.com:80:9411", &["`example.com` is no IP address"]);
    // Zipkin listens on 9411: nothing is packed or started before this is said.
    refused("restore zipkin --publish 8000:8080", &["port 9411", "http.port", "8080"]);
}

/// A template with this in place of the version is refused, with its file and line.
#[track_caller]
fn refused_template(wrong: &str, phrase: &str) {
    let workspace = Workspace::new();
    workspace.edit("templates/rockcraft/project.yaml.j2", "{{ version | yaml }}", wrong);
    for words in ["check", "render petclinic", "render --check", "checkpoint petclinic"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!(ran.code, Some(2), "{words}: {ran:?}");
        for phrase in ["templates/rockcraft/project.yaml.j2:3:", phrase, "render::values"] {
            assert!(ran.stderr.contains(phrase), "{words}: `{phrase}` is not in\n{}", ran.stderr);
        }
    }
}

#[test]
fn a_wrong_template() {
    refused_template("{{ nonsense | yaml }}", "there is no variable `nonsense`");
    refused_template("{{ sumary | yaml }}", "did you mean `summary`?");
    refused_template("{{ nonsense }}", "there is no variable `nonsense`");
    refused_template("{{ version }}", "reaches the file through no quoting filter");
    refused_template("{{ version | yaml ~ summary }}", "reaches the file through no quoting filter");
    refused_template("{{ version | shell }}", "unknown filter");
    refused_template("{{ version | }}", "syntax error");
    refused_template("{{ summary | name }}", "is no plain name");
}

#[test]
fn help() {
    let workspace = Workspace::new();
    let tool = xtask::cli::Cli::command();
    let commands = [""].into_iter().chain(tool.get_subcommands().map(|command| command.get_name()));
    let mut text = String::new();
    for command in commands {
        let ran = workspace.run_unchanged(&format!("{command} --help"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        text.push_str(&format!("$ cargo xtask {command} --help\n{}\n", ran.stdout));
    }
    // What is broken by hand is not broken a second time.
    for command in std::iter::once(&tool).chain(tool.get_subcommands()) {
        let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let long = more.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{}", command.get_name());
    }
    insta::assert_snapshot!(text.replace("xtask  --", "xtask --"));
}

#[test]
fn what_only_looks_changes_nothing() {
    let workspace = Workspace::new();
    for (words, phrase) in [
        ("list", "zipkin"),
        ("show petclinic", "# apps/petclinic/app.toml:6"),
        ("check", "apps/zipkin/app.toml is valid"),
        ("check zipkin", "is valid"),
        ("render --diff", "+++ b/rocks/petclinic/checkpoint/rockcraft.yaml"),
        ("checkpoint petclinic --plan", "there is no pin yet"),
        ("checkpoint petclinic --plan --force", "--force"),
        ("restore petclinic --plan", "read the pin"),
        ("schema --plan", "write apps/app.schema.json"),
        ("doctor --plan", "print a table"),
        ("completions bash", "_xtask()"),
        ("completions fish --plan", "for the shell"),
        ("man --plan", "one for each command"),
        ("render --plan", "write rocks/"),
        ("render --check --plan", "compare with rocks/"),
        ("check --plan", "render in memory"),
        ("pack petclinic checkpoint --plan", "pack the checkpoint rock"),
        ("pack petclinic restore --plan", "read the pin"),
        ("diff zipkin main:zipkin --plan", "print what differs"),
        ("sbom petclinic --plan", "read the pin"),
        ("bench petclinic --plan", "start and restore in turn"),
        ("soak petclinic --plan", "compare the answers to http.verify"),
        ("list --plan", "print a table"),
        ("show petclinic --plan", "print it"),
        ("test --plan", "end to end"),
        ("test --fast --plan", "lints"),
        ("gc --plan", "read every checkpoint.lock"),
        ("clean --plan", "except objects of the store that a pin names"),
        ("clean --all --plan", "remove "),
    ] {
        let ran = workspace.run_unchanged(words);
        assert_eq!(ran.code, Some(0), "{words}: {ran:?}");
        assert!(ran.stdout.contains(phrase), "{words}: `{phrase}` is not in\n{}", ran.stdout);
        assert_eq!(ran.stderr, "", "{words}");
    }
}

#[test]
fn render_writes_once_and_check_agrees() {
    let workspace = Workspace::new();
    let stale = workspace.run_unchanged("render petclinic --check");
    assert_eq!(stale.code, Some(1));
    assert!(stale.stderr.contains("run `cargo xtask render petclinic`"), "{}", stale.stderr);
    assert_eq!(workspace.run("render").code, Some(0));
    for words in ["render --check", "render", "render --diff"] {
        assert_eq!(workspace.run_unchanged(words).code, Some(0), "{words}");
    }
    workspace.edit("rocks/zipkin/checkpoint/rockcraft.yaml", "base: ", "base:  ");
    workspace.write("rocks/zipkin/checkpoint/scripts/left-over.sh", "");
    let stale = workspace.run_unchanged("render --check");
    assert_eq!(stale.code, Some(1));
    for phrase in
        ["-base:  ubuntu@24.04", "+base: ubuntu@24.04", "a/rocks/zipkin/checkpoint/scripts/left-over.sh"]
    {
        assert!(stale.stdout.contains(phrase), "`{phrase}` is not in\n{}", stale.stdout);
    }
    assert_eq!(workspace.run("render zipkin").code, Some(0));
    assert_eq!(workspace.run_unchanged("render --check").code, Some(0));
}

#[test]
fn missing_programs_are_named() {
    if ["/usr/sbin/podman", "/sbin/podman", "/usr/sbin/git"]
        .iter()
        .any(|path| std::path::Path::new(path).exists())
    {
        eprintln!("skipped: this machine has podman or git in a folder that is searched without PATH");
        return;
    }
    let workspace = Workspace::new();
    let empty = tempfile::tempdir().unwrap();
    for (words, programs, packages) in [
        ("checkpoint petclinic", "podman, mmdebstrap, git;", &["podman", "runc", "mmdebstrap", "git"][..]),
        ("checkpoint zipkin", "podman, mmdebstrap;", &["podman", "mmdebstrap"]),
        ("pack petclinic checkpoint", "podman, mmdebstrap, git;", &["podman", "mmdebstrap", "git"]),
    ] {
        let ran = workspace.unchanged(workspace.command(words).env("PATH", empty.path()));
        assert_eq!(ran.code, Some(1), "{words}: {ran:?}");
        let lacks = format!("error: this machine lacks {programs} add --install to this command, or run\n");
        assert!(ran.stderr.starts_with(&lacks), "{words}: {}", ran.stderr);
        let apt = ran.stderr.lines().nth(1).unwrap().trim().trim_start_matches("sudo ");
        let listed = apt.strip_prefix("apt-get install --no-install-recommends ").expect("the apt line");
        assert!(packages.iter().all(|package| listed.split(' ').any(|one| one == *package)), "{apt}");
    }
    let install =
        workspace.unchanged(workspace.command("checkpoint zipkin --install").env("PATH", empty.path()));
    assert_eq!(install.code, Some(1));
    assert!(install.stderr.contains("--install needs apt"), "{}", install.stderr);
}

#[test]
fn a_restore_without_a_pin_says_what_to_do() {
    let ran = Workspace::new().run_unchanged("restore zipkin");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("zipkin has no pin yet; run `cargo xtask checkpoint zipkin`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_bill_of_materials_needs_what_is_in_the_rock() {
    let workspace = Workspace::new();
    let pin = Lock { app: "zipkin".into(), ..Lock::parse(include_str!("support/sample.lock")).unwrap() };
    workspace.write("apps/zipkin/checkpoint.lock", &pin.text().unwrap());
    for words in ["sbom zipkin", "sbom zipkin --output -"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains("the store has lost /checkpoint-data/core-1.img"), "{}", ran.stderr);
    }
    let ran = workspace.run_unchanged("sbom petclinic");
    assert!(ran.stderr.contains("petclinic has no pin yet"), "{}", ran.stderr);
}

#[test]
fn two_pins() {
    let workspace = Workspace::new();
    let pin = Lock::parse(include_str!("support/sample.lock")).unwrap();
    let moved = Lock { pid: 346, ..pin.clone() };
    workspace.write("apps/zipkin/checkpoint.lock", &pin.text().unwrap());
    workspace.write("apps/petclinic/checkpoint.lock", &moved.text().unwrap());
    let git = |words: &str| {
        let mut git = std::process::Command::new("git");
        git.args(words.split_whitespace()).current_dir(workspace.root());
        assert!(git.output().unwrap().status.success(), "{words}");
    };
    git("init -q");
    git("add .");
    git("-c user.name=a -c user.email=a@example.com -c commit.gpgsign=false commit -q -m pin");

    let same = workspace.run_unchanged("diff zipkin root/apps/zipkin/checkpoint.lock --exit-code");
    assert_eq!(same.code, Some(0), "{same:?}");
    assert_eq!(same.stdout, "zipkin and root/apps/zipkin/checkpoint.lock are the same pin.\n");
    let same = workspace.run_unchanged("diff HEAD:zipkin zipkin");
    assert_eq!(same.stdout, "HEAD:zipkin and zipkin are the same pin.\n", "{same:?}");

    let differ = workspace.run_unchanged("diff zipkin HEAD:petclinic");
    assert_eq!((differ.code, differ.stderr.as_str()), (Some(0), ""));
    let words: Vec<&str> = differ.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["pin", "PID", "345", "346"]);
    let lacks = "Their memory is not compared: the store lacks images of zipkin.";
    assert!(differ.stdout.ends_with(&format!("\n{lacks}\n")), "{}", differ.stdout);
    let code = workspace.run_unchanged("diff zipkin petclinic --exit-code");
    assert_eq!((code.code, code.stderr.as_str()), (Some(1), "error: zipkin and petclinic differ\n"));

    for name in ["tea", "../zipkin", "apps", "-x:zipkin", "HEAD:../zipkin", ":zipkin"] {
        let ran = ran_diff(&workspace, name);
        assert_eq!(ran.code, Some(2), "{name}: {ran:?}");
        assert!(ran.stderr.contains(&format!("there is no pin `{name}`")), "{}", ran.stderr);
    }
    let ran = ran_diff(&workspace, "HEAD:tea");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("there is no pin HEAD:tea"), "{}", ran.stderr);
}

fn ran_diff(workspace: &Workspace, name: &str) -> support::workspace::Ran {
    workspace.unchanged(workspace.command("diff zipkin --").arg(name))
}

#[test]
fn an_unreadable_pin() {
    let workspace = Workspace::new();
    workspace.write("apps/zipkin/checkpoint.lock", "schema = 1\n");
    let again = "`cargo xtask checkpoint` writes a new one";
    for words in ["restore zipkin", "clean", "render zipkin"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!(ran.code, Some(1), "{words}: {ran:?}");
        assert!(ran.stderr.contains(again) && ran.stderr.contains("its schema is 1"), "{}", ran.stderr);
    }
    let list = workspace.run_unchanged("list");
    assert_eq!(list.code, Some(0));
    assert!(list.stderr.contains(again) && list.stdout.contains("petclinic"), "{list:?}");
    let plan = workspace.run_unchanged("checkpoint zipkin --plan");
    assert_eq!(plan.code, Some(0));
    assert!(plan.stderr.starts_with("warning: ") && plan.stderr.contains(again), "{}", plan.stderr);
    assert!(plan.stdout.contains("there is no pin yet"), "{}", plan.stdout);
}

#[test]
fn how_much_is_said() {
    let workspace = Workspace::new();
    let result = "apps/petclinic/app.toml is valid\napps/zipkin/app.toml is valid\n";
    for words in ["check", "check --quiet", "check -q", "check --verbose", "check -v", "-v check"] {
        let ran = workspace.run_unchanged(words);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), result, ""), "{words}");
    }
    // An error is said however quiet it shall be.
    assert!(workspace.run_unchanged("check nothing --quiet").stderr.contains("there is no application"));
}

#[test]
fn no_escape_sequence_where_none_is_wanted() {
    let workspace = Workspace::new();
    workspace.write("apps/zipkin/app.toml", "sumary = \"\u{1b}[31m\"\n");
    for words in ["check", "--help", "chekc", "show zipkin", "list"] {
        for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "true")] {
            let ran = workspace.unchanged(workspace.command(words).env(name, value));
            assert!(!(ran.stdout + &ran.stderr).contains('\u{1b}'), "{words} {name}");
        }
    }
}
