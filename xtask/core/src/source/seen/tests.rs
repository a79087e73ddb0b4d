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
    check(folder.path().join("none.jar"), "there is no such file");
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

/// What a draft made of these lines of application.properties says, in the folder of sources.
#[test]
fn what_would_make_a_draft_wrong() {
    let check = |lines: &str, ready: &str, expected: &[&str]| {
        let pom = "<artifactId>spring-boot-starter-actuator</artifactId>";
        let folder = tree(&[("pom.xml", pom), ("src/main/resources/application.properties", lines)]);
        let seen = Seen::in_tree(folder.path()).unwrap();
        let (command, jar) = seen.build.clone().unwrap();
        let source = Source::Directory { path: "/srv/shop".into(), build: Build { command, jar } };
        let text = draft("shop", &source, &seen).unwrap();
        assert!(text.contains(&format!("\nready = \"{ready}\"")), "{lines}: {text}");
        for phrase in expected {
            assert!(text.contains(phrase), "{lines}: `{phrase}` is not in\n{text}");
        }
        let tls = expected.iter().any(|phrase| phrase.contains("SSL"));
        assert_eq!(text.contains("SERVER_SSL_ENABLED"), tls, "{lines}: {text}");
        load_text("shop", Path::new("/apps/shop"), "app.toml", &text).unwrap();
    };
    let health = "/actuator/health";
    check("", health, &["it has Spring Boot Actuator", "# A path of this machine"]);
    check("management.server.port=9001", "/", &["Actuator has a port of its own (management.server.port)"]);
    check("management.server.port=-1", "/", &["Actuator has a port of its own"]);
    check("management.server.port=8080", health, &[]);
    check("server.port=9001\nmanagement.server.port=${server.port}", health, &["port = 9001"]);
    check("server.servlet.contextPath=/shop", "/shop/actuator/health", &[]);
    check("server.servlet.context_path=/shop", "/shop/actuator/health", &[]);
    check("spring.webflux.base-path=/flux", "/flux/actuator/health", &[]);
    check("spring.webflux.basePath=/flux", "/flux/actuator/health", &[]);
    check("SERVER.PORT=81", health, &["port = 81 "]);
    check("server.ssl.enabled=true", health, &["SERVER_SSL_ENABLED = \"false\"", "it answers by TLS"]);
    check("server.ssl.bundle=web", health, &["SERVER_SSL_ENABLED = \"false\""]);
    check("server.ssl.keyStore=a.p12", health, &["SERVER_SSL_ENABLED = \"false\""]);
    check("server.ssl.enabled=false\nserver.ssl.bundle=web", health, &[]);
}

#[test]
fn the_module_that_makes_the_jar() {
    let plugin = "<artifactId>spring-boot-maven-plugin</artifactId>";
    let top = "<modules>\n <module>core</module>\n<module>apps/web</module><module>../out</module></modules>\
               <java.version>17</java.version>";
    let check = |files: &[(&str, &str)], jar: &str, note: Option<&str>| {
        let seen = Seen::in_tree(tree(files).path()).unwrap();
        assert_eq!(seen.build.unwrap().1, jar);
        assert_eq!(seen.note.as_deref(), note);
        seen.properties.get("server.port").cloned()
    };
    let web = ("apps/web/pom.xml", plugin);
    let port = ("apps/web/src/main/resources/application.properties", "server.port=81");
    let found = check(&[("pom.xml", top), ("core/pom.xml", ""), web, port], "apps/web/target/*.jar", None);
    assert_eq!(found.as_deref(), Some("81"));
    let note = Some("the first of the modules that make one: core, apps/web");
    check(&[("pom.xml", top), ("core/pom.xml", plugin), web], "core/target/*.jar", note);
    let note = Some("none of its modules names spring-boot-maven-plugin: say which one makes the jar");
    check(&[("pom.xml", top)], "target/*.jar", note);
    check(&[("pom.xml", "")], "target/*.jar", None);
}

#[test]
fn the_main_class_of_sources() {
    let check = |files: &[(&str, &str)], expected: Option<&str>| {
        let files: Vec<(&str, &str)> = [("pom.xml", "")].iter().chain(files).copied().collect();
        let seen = Seen::in_tree(tree(&files).path()).unwrap();
        assert_eq!(seen.main_class.as_deref(), expected, "{files:?}");
    };
    let boot = "package com.example.shop;\n\n@SpringBootApplication(scanBasePackages = \"x\")\npublic class Shop {}\n";
    check(&[("src/main/java/com/example/shop/Shop.java", boot)], Some("com.example.shop.Shop"));
    let kotlin = "package com.example\n@SpringBootApplication\nclass Shop\nfun main() {}\n";
    check(&[("src/main/kotlin/Shop.kt", kotlin)], Some("com.example.ShopKt"));
    check(&[("src/test/java/Shop.java", boot), ("src/main/java/Shop.txt", boot)], None);
    check(&[("src/main/java/A.java", "// @SpringBootApplication\n")], None);
    check(&[("src/main/java/A.java", "@SpringBootApplication class A {}")], Some("A"));
    let named = ("pom.xml", "<start-class>com.example.Named</start-class>");
    check(&[named, ("src/main/java/A.java", boot)], Some("com.example.Named"));
    check(&[("pom.xml", "<start-class>${x}</start-class>")], None);
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
    assert_eq!((command.as_str(), glob.as_str()), ("sh ./mvnw package -DskipTests", "target/*.jar"));
    let url = "https://git.example.com/shop.git".to_owned();
    let build = Build { command, jar: glob };
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
    check(&[("pom.xml", "<maven.compiler.source>11</maven.compiler.source>")], Ok((maven, Some(11), None)));
    let boot = "<spring-boot.version>3.2.1</spring-boot.version>";
    check(&[("pom.xml", boot)], Ok((maven, None, Some("3.2.1"))));
    let list = "<dependency><artifactId>spring-boot-dependencies</artifactId><version>VERSION</version></dependency>";
    check(&[("pom.xml", &list.replace("VERSION", "3.2.1"))], Ok((maven, None, Some("3.2.1"))));
    let both = list.replace("VERSION", "${spring-boot.version}") + boot;
    check(&[("pom.xml", &both)], Ok((maven, None, Some("3.2.1"))));
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
            let build = Build { command, jar };
            let source = Source::Directory { path: "/srv/shop".into(), build };
            if let Ok(text) = draft("shop", &source, &seen) {
                load_text("shop", Path::new("/apps/shop"), "app.toml", &text).unwrap();
            }
        }
    }
}
