//! Variables of the container: which are searched for, which refuse the dump, and which are told.

use super::*;

/// What refuses, without digests.
fn refused(scan: &Scan) -> Vec<&str> {
    scan.refused().map(Finding::rule).collect()
}

#[test]
fn variables_that_are_called_like_secrets() {
    let check = |names: &[&str], expected: bool| {
        names.iter().for_each(|name| assert_eq!(is_secret(name), expected, "{name}"));
    };
    check(
        &[
            "PASSWORD",
            "DB_PASSWORD",
            "DBPASSWORD",
            "db.password",
            "SPRING_DATASOURCE_PASSWORD",
            "API_KEY",
            "APIKEY",
        ],
        true,
    );
    check(
        &[
            "DB_PASSWORD2",
            "S3_SECRETKEY",
            "ACCESSKEY",
            "accessKey",
            "TOKEN2",
            "KEY1_VALUE",
            "APIKEY2",
            "SSHKEY",
        ],
        true,
    );
    check(
        &["GITHUB_TOKEN", "CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "SENTRY_DSN", "REDIS_PW", "SMTP_PASS"],
        true,
    );
    check(&["KEYSTORE_PASSWORD", "JWT_SIGNING_KEY", "MY_CREDENTIALS", "BASIC_AUTH", "TOKEN_SECRET_V2"], true);
    check(
        &[
            "PATH",
            "LANG",
            "HOME",
            "JAVA_TOOL_OPTIONS",
            "MALLOC_ARENA_MAX",
            "PEBBLE",
            "PWD",
            "OLDPWD",
            "HOSTNAME",
        ],
        false,
    );
    check(
        &[
            "DB_PASSWORD_FILE",
            "KEY_PATH",
            "TOKEN_TTL",
            "AWS_ACCESS_KEY_ID",
            "SECRET_NAME",
            "KEYBOARD",
            "MONKEY",
        ],
        false,
    );
    check(
        &["PUBLIC_KEY", "PUBLICKEY", "TURKEY", "AUTH0_TENANT", "TOKEN_ID2", "OAUTH2_CLIENT_ID", "HTTP2"],
        false,
    );
    check(&["COMPASS", "SPRING_PROFILES_ACTIVE", "SERVER_PORT", "BYPASS", "TOKENIZER", "_", ""], false);
}

#[test]
fn variables_of_app_toml_refuse_the_dump_by_their_names() {
    let app = app(
        "environment.DB_PASSWORD = \"k7Rw-2mQx\"\nenvironment.PIN = \"12\"\nenvironment.GREETING = \"hello there\"",
    );
    let found =
        scan_texts(&app, &[("start.sh", b"export DB_PASSWORD=k7Rw-2mQx GREETING='hello there' PIN=12")], &[]);
    assert_eq!(rules(&found), ["variable/DB_PASSWORD", "variable/GREETING", "variable/PIN"]);
    assert_eq!(refused(&found), ["variable/DB_PASSWORD", "variable/PIN"]);
    assert_eq!(found.variables, ["DB_PASSWORD", "GREETING", "PIN"]);
    // The same value under the name that app.toml gives it is one finding.
    let given = secret("db", b"k7Rw-2mQx");
    let found = scan_texts(&app, &[("start.sh", b"k7Rw-2mQx")], &[given]);
    assert_eq!(rules(&found), ["secret/db"]);
}

/// Every variable is searched for, whatever it is called; what refuses and what is only told is in `variables.rs`.
#[test]
fn every_variable_is_searched_for() {
    // Refused, or told; or neither, where it is not searched for.
    let check = |name: &str, value: &str, expected: &[&str], told: bool| {
        let block = format!("PATH=/usr/bin\0{name}={value}\0");
        let lines = format!("[environment]\n{name} = {value:?}");
        let found = scan_texts(&app(&lines), &[("block", block.as_bytes())], &[]);
        assert_eq!(refused(&found), expected, "{name}={value}");
        let of_name = format!("variable/{name}");
        let noted: Vec<&str> = found.noted().map(Finding::rule).collect();
        assert_eq!(noted, if told { vec![of_name.as_str()] } else { vec![] }, "{name}={value}");
        assert_eq!(found.verdict().is_err(), !expected.is_empty());
    };
    // What honest applications have.
    check("SPRING_PROFILES_ACTIVE", "prod", &[], false);
    check("SPRING_PROFILES_ACTIVE", "production", &[], false);
    check("SPRING_PROFILES_ACTIVE", "production,metrics", &[], true);
    check("SERVER_PORT", "8081", &[], false);
    check("LC_ALL", "en_US.UTF-8", &[], false);
    check("JAVA_TOOL_OPTIONS", "-Xmx200m -Dserver.port=8081", &[], false);
    check("SPRING_DATASOURCE_URL", "jdbc:postgresql://db.internal:5432/shop", &[], true);
    check("GIT_COMMIT", "0d684bdbc0d86586d878c1b58f2d0da89fd35cda", &[], true);
    check("INSTANCE", "6f1c3f0e-8f57-4c4c-9d0e-0b6f7a0c2f11", &[], true);
    check("REGION", "eu-West1-Cluster2-Rack7", &[], true);
    check("SERVICE", "MyServiceName2Production1", &[], true);
    check("GREETING", "hello there", &[], true);
    // What is one by its name, or by its looks, or by what it holds.
    check("DB_PASSWORD2", "swordfish", &["variable/DB_PASSWORD2"], false);
    check("S3_SECRETKEY", "swordfish", &["variable/S3_SECRETKEY"], false);
    check("ACCESSKEY", "swordfish", &["variable/ACCESSKEY"], false);
    check("BLOB", "Zk3v9QxT7mLp2RwYb8Nc", &["variable/BLOB"], false);
    let json = r#"{"spring":{"datasource":{"password":"correct-horse-battery"}}}"#;
    check("SPRING_APPLICATION_JSON", json, &["property-password"], true);
    check("DB", "postgres://a:k7Rw3mQx@db.internal/x", &["url-password"], true);
    check("JAVA_TOOL_OPTIONS", "-Dspring.datasource.password=swordfish", &["property-password"], false);
}

#[test]
fn a_variable_that_is_told_can_be_allowed() {
    let lines = |allow: &str| format!("secrets.allow = [{allow}]\n[environment]\nGREETING = \"hello there\"");
    let text: &[(&str, &[u8])] = &[("block", b"GREETING=hello there")];
    let first = scan_texts(&app(&lines("")), text, &[]);
    assert!(first.summary().starts_with("nothing found beyond 1 variable; "), "{}", first.summary());
    first.verdict().unwrap();
    let allow = format!("{{ id = \"{}\", reason = \"it greets\" }}", first.findings[0].id);
    let second = scan_texts(&app(&lines(&allow)), text, &[]);
    assert_eq!((second.noted().count(), second.allowed_in_vain.as_slice()), (0, [].as_slice()));
    assert!(second.summary().starts_with("nothing found beyond 1 allowed finding; "), "{}", second.summary());
}
