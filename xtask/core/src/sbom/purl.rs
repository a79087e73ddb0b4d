//! Package URLs: `pkg:TYPE/NAMESPACE/NAME@VERSION?KEY=VALUE`, with every part percent-encoded as the specification of
//! purl says.

use std::fmt::Write;

/// The purl of a package. An empty namespace, an empty version and qualifiers without a value are left out.
pub fn purl(kind: &str, namespace: &str, name: &str, version: &str, qualifiers: &[(&str, &str)]) -> String {
    let mut purl = format!("pkg:{kind}/");
    for segment in namespace.split('/').filter(|segment| !segment.is_empty()) {
        encode(segment, &mut purl);
        purl.push('/');
    }
    encode(name, &mut purl);
    if !version.is_empty() {
        purl.push('@');
        encode(version, &mut purl);
    }
    // Readers compare purls as text, so the order of the qualifiers is theirs and not the caller's.
    let mut qualifiers: Vec<_> = qualifiers.iter().filter(|(_, value)| !value.is_empty()).collect();
    qualifiers.sort();
    for (position, (key, value)) in qualifiers.into_iter().enumerate() {
        let _ = write!(purl, "{}{key}=", if position == 0 { '?' } else { '&' });
        encode(value, &mut purl);
    }
    purl
}

/// All but letters, digits, `.-_~` and the colon, which purl leaves as it is.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                into.push(char::from(byte));
            }
            _ => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_encoded() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(
            purl("deb", "debian", "libstdc++6", "1:14.2.0-19~a+b1", &[("distro", "sid"), ("arch", "amd64")]),
            "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19~a%2Bb1?arch=amd64&distro=sid",
        );
        check(
            purl("golang", "gopkg.in", "yaml.v2", "v2.4.0", &[("x", "")]),
            "pkg:golang/gopkg.in/yaml.v2@v2.4.0",
        );
        check(purl("maven", "", "a b/c@d?e#f%", "", &[]), "pkg:maven/a%20b%2Fc%40d%3Fe%23f%25");
        check(purl("maven", "/o//é/", "n", "1", &[]), "pkg:maven/o/%C3%A9/n@1");
    }
}
