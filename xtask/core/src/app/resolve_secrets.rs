//! The keys of `[secrets]`. Whoever writes the value itself there must not see it in a log.

use std::collections::BTreeMap;

use super::keys::{ALLOWED, SECRET};
use super::raw::{Reader, Table, Value};
use super::resolve::fixed;
use super::setting::{Origin, Show};
use super::{Allowed, SecretFrom, Secrets, check_secrets};

/// `[secrets]`.
pub fn secrets(r: &mut Reader<'_>, top: &Table<'_>) -> Secrets {
    let table = r.value(top, "secrets", |r, v| {
        if !v.is_table() {
            r.hidden.push(v.span.clone());
        }
        r.inner(v, None)
    });
    let nothing = || fixed(Vec::<Allowed>::new(), "whatever is found is refused");
    let Some(table) = table else {
        let (allow, origin) = nothing();
        r.record("secrets.allow".to_owned(), &allow, origin);
        return Secrets::default();
    };
    let mut named = BTreeMap::new();
    let mut names = Vec::new();
    for (name, span, value) in table.iter().filter(|(name, ..)| *name != "allow") {
        names.push(name.to_owned());
        let line = r.line(span.start);
        let name_is_right = r.checked_at(&value.path, span, check_secrets::name(name)).is_some();
        if let Some(from) = secret(r, &value)
            && name_is_right
        {
            r.record(value.path, &from, Origin::File { line });
            named.insert(name.to_owned(), from);
        }
    }
    let mut ids: Vec<String> = Vec::new();
    let allow = r.setting(&table, "allow", nothing(), |r, v| {
        r.array(v, |r, v| {
            let entry = allowed(r, v, &names)?;
            if ids.contains(&entry.id) {
                let message = format!("`secrets.allow` names `{}` twice", entry.id);
                r.problem(message, Some(v.span.clone()), "is there already", "keep one of them");
                return None;
            }
            ids.push(entry.id.clone());
            Some(entry)
        })
    });
    Secrets { named, allow }
}

/// `{ environment = "NAME" }` or `{ file = "PATH" }`.
fn secret(r: &mut Reader<'_>, value: &Value<'_>) -> Option<SecretFrom> {
    r.hidden.extend(value.inner_spans(SECRET));
    if !value.is_table() {
        let message = format!("`{}` does not say where the secret is", value.path);
        let help = "write `{ environment = \"DB_PASSWORD\" }` or `{ file = \"/run/secrets/db\" }`; the secret itself has no \
                    place in app.toml, which is committed";
        r.problem(message, Some(value.span.clone()), "expected a table", help);
        return None;
    }
    let t = r.inner(value, Some(SECRET))?;
    let variable = r.value(&t, "environment", |r, v| r.string(v, check_secrets::variable));
    let file = r.value(&t, "file", |r, v| r.string(v, check_secrets::file));
    match (t.attempts("environment"), t.attempts("file")) {
        (true, true) => {
            let message = format!("`{}` has both `environment` and `file`", value.path);
            r.problem(message, t.key_span("file"), "expected one of them", "keep one of them");
            None
        }
        (false, false) => {
            let message = format!("`{}` does not say where the secret is", value.path);
            let help = "give it `environment`, a variable of the machine that scans, or `file`, a file there";
            r.problem(message, Some(value.span.clone()), "expected `environment` or `file`", help);
            None
        }
        _ => variable.map(SecretFrom::Environment).or(file.map(SecretFrom::File)),
    }
}

/// `{ id = "RULE:DIGEST", reason = "…" }`.
fn allowed(r: &mut Reader<'_>, value: &Value<'_>, secrets: &[String]) -> Option<Allowed> {
    let t = r.inner(value, Some(ALLOWED))?;
    for (key, help) in [
        ("id", "`cargo xtask scan APP` prints it beside each finding"),
        (
            "reason",
            "write `reason = \"…\"`: whoever reads this in a year must know why the value may be in the rock",
        ),
    ] {
        if !t.attempts(key) {
            let message = format!("`{}` is missing", t.key(key));
            r.problem(message, Some(value.span.clone()), &format!("needs `{key}`"), help);
        }
    }
    let id = r.value(&t, "id", |r, v| r.string(v, |text| check_secrets::id(text, secrets)));
    let reason = r.value(&t, "reason", |r, v| r.string(v, check_secrets::reason));
    Some(Allowed { id: id?, reason: reason? })
}

impl Show for SecretFrom {
    fn show(&self) -> String {
        match self {
            SecretFrom::Environment(name) => format!("{{ environment = {} }}", name.show()),
            SecretFrom::File(path) => format!("{{ file = {} }}", path.show()),
        }
    }
}

impl Show for Allowed {
    fn show(&self) -> String {
        format!("{{ id = {}, reason = {} }}", self.id.show(), self.reason.show())
    }
}
