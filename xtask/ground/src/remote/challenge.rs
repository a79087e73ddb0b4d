//! `WWW-Authenticate`: what a registry asks for.

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from the server at `realm`.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What the token is for, in the token server's words.
        service: Option<String>,
        /// What must be allowed.
        scope: Option<String>,
    },
    /// User and password.
    Basic,
}

/// The challenges of one header; what is not understood is left out.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let scheme = token(rest);
        if scheme.is_empty() {
            return found;
        }
        rest = &rest[scheme.len()..];
        let mut parameters = Vec::new();
        while let Some((name, value, after)) = parameter(rest) {
            parameters.push((name.to_ascii_lowercase(), value));
            rest = after;
        }
        let get =
            |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        match (scheme.to_ascii_lowercase().as_str(), get("realm")) {
            ("bearer", Some(realm)) => {
                found.push(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
            }
            ("basic", _) => found.push(Challenge::Basic),
            _ => {}
        }
    }
}

/// `name=value`, `name="value"`; the name, the value, and what follows.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let name = token(text);
    let rest = text[name.len()..].trim_start().strip_prefix('=')?.trim_start();
    if name.is_empty() {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let value = token(rest);
        return Some((name, value.to_owned(), &rest[value.len()..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// RFC 9110's token at the beginning.
fn token(text: &str) -> &str {
    let part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    &text[..text.find(|c| !part(c)).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Challenge::Bearer { realm: realm.into(), service: some(service), scope: some(scope) }
    }

    #[test]
    fn what_registries_ask_for() {
        let check = |header: &str, expected: &[Challenge]| assert_eq!(parse(header), expected, "{header}");
        check(r#"Basic realm="x""#, &[Challenge::Basic]);
        check("basic", &[Challenge::Basic]);
        check(
            r#"Bearer realm="https://a.example/token",service="s",scope="repository:a/b:pull,push""#,
            &[bearer("https://a.example/token", "s", "repository:a/b:pull,push")],
        );
        check(r#"BEARER  Realm = "r" , Service=s"#, &[bearer("r", "s", "")]);
        check(r#"Bearer realm="a\"b\\",error="invalid_token""#, &[bearer(r#"a"b\"#, "", "")]);
        check(r#"Negotiate, Bearer realm="r", Basic realm="b, c""#, &[bearer("r", "", ""), Challenge::Basic]);
        check(r#"Basic realm="r", Bearer realm="t""#, &[Challenge::Basic, bearer("t", "", "")]);
        check("Bearer", &[]);
        check(r#"Bearer service="s""#, &[]);
        check(r#"Bearer realm="never ends"#, &[]);
        check(r#"Bearer realm="ends in \"#, &[]);
        check("", &[]);
        check(" , ,", &[]);
        check("=\"x\"", &[]);
        check("Digest realm=\"r\", nonce=\"Bearer realm=x\"", &[]);
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "\\PC*", more in "(Bearer |Basic|realm=|\"|,|=|\\\\|x)*") {
            parse(&header);
            parse(&more);
        }
    }
}
