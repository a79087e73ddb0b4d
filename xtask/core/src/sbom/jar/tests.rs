use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// A jar with these entries, which are not compressed: its bytes are then the same with every version of flate2.
pub(in crate::sbom) fn jar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(*name, stored).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn pom(group: &str, artifact: &str, version: &str) -> String {
    format!("#Created by Apache Maven\r\nversion={version}\r\ngroupId={group}\nartifactId = {artifact}\n")
}

#[test]
fn coordinates_come_from_the_surest_place() {
    let check = |file: &str, entries: &[(&str, &str)], expected: [&str; 3]| {
        let entries: Vec<_> = entries.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let bytes = jar(&entries);
        let found = Coordinates::of(&Zip::new(&bytes).unwrap(), file);
        let text = |part: Option<String>| part.unwrap_or_default();
        assert_eq!([text(found.group), text(found.name), text(found.version)], expected, "{file}");
    };
    let (a, b) = ("META-INF/maven/g/a/pom.properties", "META-INF/maven/h/b/pom.properties");
    let (of_a, of_b) = (pom("g", "a", "1"), pom("h", "b", "2"));
    let manifest = "META-INF/MANIFEST.MF";
    let title = "Manifest-Version: 1.0\r\nImplementation-Title: The Title\r\nImplementation-Version: 6\r\n .1\r\n\r\n\
                 Name: other\r\nImplementation-Version: 9\r\n";

    check("x-9.jar", &[(a, &of_a), (manifest, title)], ["g", "a", "1"]);
    // Of several, the one that the file is named after; else none.
    check("b-2.jar", &[(a, &of_a), (b, &of_b)], ["h", "b", "2"]);
    check("x-9.jar", &[(a, &of_a), (b, &of_b)], ["", "x", "9"]);
    check("x-9.jar", &[(a, &of_a), (b, &of_b), (manifest, title)], ["", "The Title", "6.1"]);
    // A pom that says nothing, or what no name is.
    check("x-9.jar", &[(a, &pom("g", "a", "${project.version}"))], ["", "x", "9"]);
    check("x-9.jar", &[(a, &pom("g", "a\u{7}", "1"))], ["", "x", "9"]);
    check("x-9.jar", &[(a, &of_a), (b, "")], ["g", "a", "1"]);
    check("spring-core-6.1.jar", &[(manifest, title)], ["", "spring-core", "6.1"]);
    check(
        "x.jar",
        &[(manifest, "Bundle-SymbolicName: org.x;singleton:=true\nBundle-Version: 3\n")],
        ["", "org.x", "3"],
    );
    check(
        "x-2.jar",
        &[(manifest, "Implementation-Vendor-Id: org.x\nImplementation-Version: 2\n")],
        ["org.x", "x", "2"],
    );
    for (file, name, version) in [
        ("snakeyaml-2.4.jar", "snakeyaml", "2.4"),
        ("log4j-to-slf4j-2.24.3.jar", "log4j-to-slf4j", "2.24.3"),
        ("app.jar", "", ""),
        ("a\u{1b}[2J-1.jar", "", ""),
        ("", "", ""),
    ] {
        check(file, &[], ["", name, version]);
    }
}

/// Each nested jar's name, purl and why it was not read.
fn listed(bytes: &[u8]) -> Vec<(String, Option<String>, Option<String>, usize)> {
    let (_, nested) = components("/jars/a.jar", bytes).unwrap();
    let unread =
        |c: &Component| c.properties.iter().find(|p| p.name == "xtask:unread").map(|p| p.value.clone());
    nested.into_iter().map(|c| (c.name.clone(), c.purl.clone(), unread(&c), c.hashes.len())).collect()
}

#[test]
fn nested_jars_are_listed() {
    let a = jar(&[("META-INF/maven/g.h/a/pom.properties", pom("g.h", "a", "1").as_bytes())]);
    let outer = jar(&[
        ("BOOT-INF/lib/a-1.jar", &a),
        ("BOOT-INF/lib/notes.txt", b"no jar"),
        ("WEB-INF/lib/broken-2.jar", b"no zip"),
        ("WEB-INF/lib-provided/c-3.jar", &jar(&[])),
        ("elsewhere/d-4.jar", &a),
        ("META-INF/maven/org.shop/shop/pom.properties", pom("org.shop", "shop", "7").as_bytes()),
    ]);
    let listed = listed(&outer);
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(listed[0], ("a".into(), Some("pkg:maven/g.h/a@1?type=jar".into()), None, 1));
    assert_eq!((listed[1].0.as_str(), listed[1].3), ("broken-2.jar", 1));
    assert!(listed[1].2.as_ref().is_some_and(|why| why.contains("it is no zip file")), "{listed:?}");
    assert_eq!(listed[2], ("c".into(), None, None, 1));
    let (own, _) = components("/jars/a.jar", &outer).unwrap();
    assert_eq!(own.purl.as_deref(), Some("pkg:maven/org.shop/shop@7?type=jar"));

    let (own, nested) = components("/jars/a.jar", b"no zip").unwrap();
    assert_eq!((own.name.as_str(), nested.len(), own.hashes.len()), ("a.jar", 0, 1));
    assert_eq!(own.properties[0].name, "xtask:unread");
}

#[test]
fn a_bomb_is_not_unpacked() {
    // 300 MiB of zeros, packed to a thousandth.
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("BOOT-INF/lib/bomb-1.jar", SimpleFileOptions::default()).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..300).for_each(|_| writer.write_all(&zeros).unwrap());
    let bomb = writer.finish().unwrap().into_inner();
    assert!(bomb.len() < 1 << 20);
    let listed = listed(&bomb);
    assert_eq!((listed[0].0.as_str(), listed[0].3), ("bomb-1.jar", 0));
    assert_eq!(listed[0].2.as_deref(), Some("more than 268435456 bytes of it are not read: it is too large"));
}

#[test]
fn ten_thousand_jars_are_refused() {
    let names: Vec<String> = (0..=COUNT).map(|number| format!("BOOT-INF/lib/{number}.jar")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let error = components("/jars/a.jar", &jar(&entries)).unwrap_err().to_string();
    assert_eq!(error, "/jars/a.jar holds 10001 jars; more than 10000 are not listed");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_jar_is_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..40_usize) {
        let nested = jar(&[("META-INF/MANIFEST.MF", b"Implementation-Version: 1\n")]);
        let mut outer = jar(&[("BOOT-INF/lib/a-1.jar", &nested), ("META-INF/MANIFEST.MF", b"")]);
        let at = at.index(outer.len());
        outer[at] = byte;
        outer.truncate(outer.len() - cut);
        let _ = components("/jars/a.jar", &outer);
    }
}
