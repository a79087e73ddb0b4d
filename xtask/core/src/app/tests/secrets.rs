//! `[secrets]`: what is wrong in it is told without telling a secret.

use super::*;

#[test]
fn what_is_wrong_in_secrets() {
    line("secrets.a b = 1", &["not valid TOML"]);
    line(
        "secrets.-a = { environment = \"A\" }",
        &["`secrets.-a` is not a valid name", "beginning with a letter"],
    );
    line(
        "secrets.a = {}",
        &["`secrets.a` does not say where the secret is", "expected `environment` or `file`"],
    );
    line("secrets.a = { environment = \"A\", file = \"/b\" }", &["has both `environment` and `file`"]);
    line("secrets.a = { enviroment = \"A\" }", &["unknown key `enviroment`", "did you mean `environment`?"]);
    line(
        "secrets.a = { environment = \"A-B\" }",
        &["is not the name of an environment variable", "not the secret itself"],
    );
    line("secrets.a = { environment = \"PATH\" }", &["is `PATH`, which is no secret"]);
    line("secrets.a = { file = \"../b\" }", &["leaves the application's folder", "absolute path"]);
    line("secrets.a = { file = \"\" }", &["is not a path"]);
    line("secrets.allow = {}", &["expected an array, found a table"]);
    line("secrets.allow = [{ id = \"jwt:1a2b3c4d\" }]", &["`secrets.allow.reason` is missing", "in a year"]);
    line("secrets.allow = [{ reason = \"a\" }]", &["`secrets.allow.id` is missing", "cargo xtask scan APP"]);
    line("secrets.allow = [{ id = \"jwt:1a2b3c4d\", reason = \" \" }]", &["`secrets.allow.reason` is empty"]);
    line(
        "secrets.allow = [{ id = \"jtw:1a2b3c4d\", reason = \"a\" }]",
        &["names `jtw`", "did you mean `jwt:1a2b3c4d`?"],
    );
    line("secrets.allow = [{ id = \"jwt\", reason = \"a\" }]", &["is no identifier of a finding"]);
    line("secrets.allow = [{ id = \"jwt:1A2B3C4D\", reason = \"a\" }]", &["eight hexadecimal digits"]);
    line("secrets.allow = [{ id = \"variable/PATH:1a2b3c4d\", reason = \"a\" }]", &["names `variable/PATH`"]);
    // What can be guessed has three digits, as all else once had eight.
    line(
        "secrets.allow = [{ id = \"variable/TOKEN:1a2b3c4d\", reason = \"a\" }]",
        &["does not end in three hexadecimal digits", "write `variable/TOKEN:1a2`"],
    );
    line("secrets.allow = [{ id = \"jwt:1a2\", reason = \"a\" }]", &["eight hexadecimal digits"]);
    let twice = "secrets.allow = [{ id = \"jwt:1a2b3c4d\", reason = \"a\" }, { id = \"jwt:1a2b3c4d\", reason = \"b\" }]";
    line(twice, &["`secrets.allow` names `jwt:1a2b3c4d` twice"]);
    let of_another =
        "secrets.db = { file = \"a\" }\nsecrets.allow = [{ id = \"secret/bd:1a2b3c4d\", reason = \"a\" }]";
    drop(check(
        &format!("{JAR}\n{of_another}\n"),
        3,
        &["names `secret/bd`", "did you mean `secret/db:1a2`?"],
    ));
}

/// Whoever writes a secret into app.toml sees stars in the error, which a log keeps.
#[test]
fn a_value_in_the_wrong_place_is_not_shown() {
    for wrong in [
        "secrets.db = \"hunter2@x\"",
        "secrets.db = [\"hunter2@x\"]",
        "secrets.db = { value = \"hunter2@x\" }",
        "secrets.db = { environment = \"DB\", password = \"hunter2@x\" }",
        "secrets = \"hunter2@x\"",
    ] {
        let error = load_here(&format!("{JAR}\n{wrong}\n")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains("***"), "{error}");
    }
}
