//! Jars and sources that are made up, and hostile ones.

use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::{Seen, properties, yaml};
use crate::app::{Build, Source, draft, load_text};

/// A jar in a folder of its own, with these entries.
fn jar(entries: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.jar");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    (folder, path)
}

const MANIFEST: &[u8] =
    b"Manifest-Version: 1.0\r\nMain-Class: org.springframework.boot.loader.launch.JarLauncher\r\n\
    Start-Class: com.example.shop.App\r\n lication\r\nSpring-Boot-Version: 3.5.1\r\nBuild-Jdk-Spec: 17\r\n";
const CLASS_OF_21: &[u8] = &[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 65, 0];

#[test]
fn a_jar_of_spring_boot() {
    let (_folder, path) = jar(&[
        ("META-INF/MANIFEST.MF", MANIFEST),
        ("BOOT-INF/classes/com/example/shop/Application.class", CLASS_OF_21),
        (
            "BOOT-INF/classes/application.properties",
            b"server.port=${PORT:8081}\nserver.servlet.context-path=/shop\n",
        ),
        ("BOOT-INF/lib/spring-boot-actuator-3.5.1.jar", b""),
        ("BOOT-INF/lib/crac-1.5.0.jar", b""),
    ]);
    let seen = Seen::in_jar(&path).unwrap();
    assert_eq!(seen.spring_boot.as_deref(), Some("3.5.1"));
    assert_eq!(seen.main_class.as_deref(), Some("com.example.shop.Application"));
    assert_eq!(seen.java, Some((21, "the class file of its main class")));
    assert!(seen.actuator && seen.crac);
    assert_eq!((seen.port(), seen.ready()), (Some(8081), ("/shop/actuator/health".into(), true)));
    let text = draft("shop", &Source::Jar { path: "/srv/shop.jar".into() }, &seen).unwrap();
    insta::assert_snapshot!("draft_of_a_jar", text);
    let app = load_text("shop", Path::new("/apps/shop"), "app.toml", &text).unwrap().app;
    assert_eq!((app.java.version, app.http.port), (21, 8081));
}

#[test]
fn a_jar_that_says_little() {
    let (_folder, path) = jar(&[("META-INF/MANIFEST.MF", b"Main-Class: Shop\nBuild-Jdk: 1.8.0_402\n")]);
    let seen = Seen::in_jar(&path).unwrap();
    assert_eq!((seen.java, seen.port()), (Some((8, "the manifest: the JDK that built it")), None));
    assert_eq!((seen.ready(), seen.actuator, seen.crac), (("/".into(), false), false, false));
    let source = Source::Maven {
        group: "com.example".into(),
        artifact: "shop".into(),
        version: "1.0".into(),
        classifier: Some("exec".into()),
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
    };
    insta::assert_snapshot!("draft_of_an_artifact", draft("shop", &source, &seen).unwrap());
    let newest = Seen { java: Some((99, "the manifest")), ..seen };
    assert!(draft("shop", &source, &newest).unwrap_err().contains("made for Java 99"));
}

/// A jar of these entries is refused so.
#[track_caller]
fn refused(entries: &[(&str, &[u8])], expected: &str) {
    let (_folder, path) = jar(entries);
    let error = Seen::in_jar(&path).unwrap_err().to_string();
    assert!(error.contains("shop.jar: ") && error.contains(expected), "`{expected}` is not in {error}");
}

#[test]
fn jars_that_cannot_be_started() {
    refused(&[], "it has no META-INF/MANIFEST.MF");
    refused(&[("a.txt", b"")], "it has no META-INF/MANIFEST.MF");
    refused(&[("META-INF/MANIFEST.MF", b"")], "names no Main-Class");
    refused(&[("META-INF/MANIFEST.MF", b"Main-Class: a b\x1b[31m\n")], "names no Main-Class");
    // 64 MiB of blanks, which are 64 KiB in the jar.
    refused(&[("META-INF/MANIFEST.MF", &vec![b' '; 64 << 20])], "it has more than 1048576 bytes");

    let folder = tempfile::tempdir().unwrap();
    let check = |path: PathBuf, expected: &str| {
        let error = Seen::in_jar(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "`{expected}` is not in {error}");
    };
    check(folder.path().to_owned(), "it is no file");
    check(folder.path().join("none.jar"), "No such file");
    let text = folder.path().join("text.jar");
    fs::write(&text, "no jar").unwrap();
    check(text, "it is no jar");
}

/// What lies beside the manifest is not unpacked, however large it says it is, and never more of it than is needed.
#[test]
fn bombs_in_a_jar_are_left_alone() {
    let bomb = vec![0; 64 << 20];
    let (_folder, path) = jar(&[
        ("META-INF/MANIFEST.MF", b"Main-Class: Shop\n"),
        ("Shop.class", &bomb),
        ("application.yml", &bomb),
        ("BOOT-INF/lib/spring-boot-actuator-3.5.1.jar", &bomb),
    ]);
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
    let seen = Seen::in_jar(&path).unwrap();
    assert_eq!((seen.java, seen.properties.len(), seen.actuator), (None, 0, true));
}

#[test]
fn configuration() {
    let check = |text: &str, expected: &[(&str, &str)]| {
        let found: Vec<(String, String)> = yaml(text).into_iter().collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("server:\n  port: 9411 # mine\n", &[("server.port", "9411")]);
    check("server.port: '9411'\n---\nserver.port: 1\n", &[("server.port", "9411")]);
    check("---\na:\n  b:\n    c: 1\nd: 2\n", &[("a.b.c", "1"), ("d", "2")]);
    check("a:\n  - b: 1\n{x: 1}\n", &[]);
    assert_eq!(
        properties("# no\n a = b=c \n!x=y\n").into_iter().collect::<Vec<_>>(),
        [("a".into(), "b=c".into())]
    );
    let of = |key: &str, value: &str| Seen {
        actuator: true,
        properties: [(key.to_owned(), value.to_owned())].into(),
        ..Seen::default()
    };
    for (value, expected) in
        [("80", Some(80)), ("${X:81}", Some(81)), ("${X}", None), ("0", None), ("x", None)]
    {
        assert_eq!(of("server.port", value).port(), expected, "{value}");
    }
    for (value, expected) in
        [("/a", "/a/actuator/health"), ("/", "/actuator/health"), ("\"", "/actuator/health")]
    {
        assert_eq!(of("server.servlet.context-path", value).ready().0, expected, "{value}");
    }
    assert_eq!(of("management.endpoints.web.base-path", "/manage").ready().0, "/manage/health");
}

/// A folder with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn sources() {
    let pom = "<project><parent><groupId>org.springframework.boot</groupId>\
        <artifactId>spring-boot-starter-parent</artifactId>\n<version>3.3.0</version></parent>\
        <properties><java.version>17</java.version></properties>\
        <artifactId>spring-boot-starter-actuator</artifactId><groupId>org.crac</groupId></project>";
    let folder = tree(&[
        ("pom.xml", pom),
        ("mvnw", ""),
        ("src/main/resources/application.yml", "server:\n  port: 9090\n"),
    ]);
    let seen = Seen::in_tree(folder.path()).unwrap();
    assert_eq!(seen.spring_boot.as_deref(), Some("3.3.0"));
    assert_eq!((seen.java, seen.port()), (Some((17, "pom.xml")), Some(9090)));
    assert!(seen.actuator && seen.crac);
    // The wrapper has lost its bit.
    let (command, glob) = seen.build.clone().unwrap();
    assert_eq!((command.as_str(), glob), ("sh ./mvnw package -DskipTests", "target/*.jar"));
    let url = "https://git.example.com/shop.git".to_owned();
    let build = Build { command, jar: glob.into() };
    let source = Source::Git { url, commit: "9a22090d9e4f54de8bbef5b3b59806ee3a62ad9d".into(), build };
    insta::assert_snapshot!("draft_of_a_repository", draft("shop", &source, &seen).unwrap());

    let check = |files: &[(&str, &str)], expected: Result<(&str, Option<u32>, Option<&str>), &str>| {
        let folder = tree(files);
        match (Seen::in_tree(folder.path()), expected) {
            (Ok(seen), Ok((command, java, boot))) => {
                assert_eq!(seen.build.unwrap().0, command);
                assert_eq!((seen.java.map(|it| it.0), seen.spring_boot.as_deref()), (java, boot));
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (seen, expected) => panic!("{seen:?} is not {expected:?}"),
        }
    };
    let maven = "mvn --batch-mode package -DskipTests";
    check(&[("pom.xml", "<maven.compiler.release>21<")], Ok((maven, Some(21), None)));
    check(&[("pom.xml", "<java.version>${x}</java.version>")], Ok((maven, None, None)));
    let gradle =
        "plugins {\n id 'org.springframework.boot' version '3.4.2'\n}\nsourceCompatibility = '1.8'\n";
    let files = [("build.gradle", gradle), ("gradlew", "")];
    check(&files, Ok(("sh ./gradlew bootJar", Some(8), Some("3.4.2"))));
    let kotlin =
        "id(\"org.springframework.boot\") version \"3.4.2\"\nlanguageVersion = JavaLanguageVersion.of(25)";
    let files = [("build.gradle.kts", kotlin), ("gradlew", "")];
    check(&files, Ok(("sh ./gradlew bootJar", Some(25), Some("3.4.2"))));
    check(&[("build.gradle", "")], Err("no gradlew, and the build image has no Gradle"));
    check(&[("README", "")], Err("neither pom.xml nor build.gradle"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_jar_is_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..40_usize) {
        let (_folder, path) = jar(&[("META-INF/MANIFEST.MF", MANIFEST), ("application.yml", b"a:\n  b: 1\n")]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut);
        fs::write(&path, bytes).unwrap();
        if let Ok(seen) = Seen::in_jar(&path) {
            let source = Source::Jar { path: "/srv/shop.jar".into() };
            if let Ok(text) = draft("shop", &source, &seen) {
                load_text("shop", Path::new("/apps/shop"), "app.toml", &text).unwrap();
            }
        }
    }

    #[test]
    fn any_text_is_survived(text in ".{0,200}", lines in "([ a-z.:#-]{0,9}\n){0,20}") {
        for text in [text, lines] {
            let folder = tree(&[("pom.xml", &text), ("src/main/resources/application.yml", &text)]);
            let seen = Seen::in_tree(folder.path()).unwrap();
            let (command, jar) = seen.build.clone().unwrap();
            let build = Build { command, jar: jar.into() };
            let source = Source::Directory { path: "/srv/shop".into(), build };
            if let Ok(text) = draft("shop", &source, &seen) {
                load_text("shop", Path::new("/apps/shop"), "app.toml", &text).unwrap();
            }
        }
    }
}
