//! What a Go program says of itself: the linker leaves the Go version and every module, with its version, in the
//! program.
//!
//! Go's own reader is debug/buildinfo, whose source describes the form. Only that of Go 1.18 and later is read, where
//! both texts lie inline behind the header.

/// What lies 16-byte aligned before the texts.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Header bytes: magic, size of a pointer, flags, padding.
const HEADER: usize = 32;
/// The bit of the flags that says that the texts follow.
const INLINE: u8 = 2;
/// The text of the modules lies between two markers of this length, by which runtime/debug finds it.
const MARKER: usize = 16;

/// A module and its version, as `go version -m` prints them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module {
    /// Its path, such as `gopkg.in/yaml.v3`.
    pub path: String,
    /// Its version, such as `v3.0.1`; `(devel)` where it was built from a checkout.
    pub version: String,
}

/// What was built into a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version of Go, whose standard library is in the program, such as `go1.26.1`.
    pub go: String,
    /// The module that the program's main package belongs to.
    pub main: Option<Module>,
    /// Every other module, replaced ones as what replaces them, sorted.
    pub modules: Vec<Module>,
}

/// The build information of a program; none where there is none, or it is not whole.
pub fn build_info(program: &[u8]) -> Option<BuildInfo> {
    program.chunks(16).enumerate().filter(|(_, chunk)| chunk.starts_with(MAGIC)).find_map(|(chunk, _)| {
        let header = program.get(chunk * 16..)?;
        if header.get(MAGIC.len() + 1)? & INLINE == 0 {
            return None;
        }
        let (go, rest) = text(header.get(HEADER..)?)?;
        let (modules, _) = text(rest)?;
        let modules = modules.get(MARKER..modules.len().checked_sub(MARKER)?)?;
        Some(parse(std::str::from_utf8(go).ok()?, std::str::from_utf8(modules).ok()?))
    })
}

/// A text behind its length, which is a varint, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (position, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return bytes[position + 1..].split_at_checked(length);
        }
    }
    None
}

fn parse(go: &str, lines: &str) -> BuildInfo {
    let mut info = BuildInfo { go: go.to_owned(), main: None, modules: Vec::new() };
    for line in lines.lines() {
        let mut fields = line.split('\t');
        let key = fields.next().unwrap_or_default();
        let (Some(path), version) = (fields.next(), fields.next().unwrap_or_default()) else { continue };
        let module = Module { path: path.to_owned(), version: version.to_owned() };
        match key {
            "mod" => info.main = Some(module),
            "dep" => info.modules.push(module),
            // It replaces the one on the line above, the main module among them.
            "=>" => match info.modules.last_mut().or(info.main.as_mut()) {
                Some(replaced) => *replaced = module,
                None => continue,
            },
            _ => continue,
        }
    }
    info.modules.sort();
    info.modules.dedup();
    info
}

/// A stand-in for a Go program that holds these lines.
#[cfg(test)]
pub(super) fn program(go: &str, lines: &str) -> Vec<u8> {
    let mut bytes = vec![0x7f; 48];
    bytes.extend(MAGIC);
    bytes.extend([8, INLINE]);
    bytes.resize(48 + HEADER, 0);
    let marked = format!("{}{lines}{}", "<".repeat(MARKER), ">".repeat(MARKER));
    for text in [go, &marked] {
        let mut length = text.len();
        while length > 0x7f {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(text.as_bytes());
    }
    bytes.extend([0; 9]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "path\texample.org/a/cmd/a\nmod\texample.org/a\tv1.2.3\th1:x=\n\
                         dep\tgopkg.in/yaml.v3\tv3.0.1\th1:y=\ndep\texample.org/old\tv1.0.0\n\
                         =>\texample.org/new\tv1.0.1\th1:z=\nbuild\t-trimpath=true\n";

    fn module(path: &str, version: &str) -> Module {
        Module { path: path.into(), version: version.into() }
    }

    #[test]
    fn modules_are_read() {
        let check = |program: &[u8], expected: Option<(&str, Option<Module>, Vec<Module>)>| {
            let expected = expected.map(|(go, main, modules)| BuildInfo { go: go.into(), main, modules });
            assert_eq!(build_info(program), expected);
        };
        let both = vec![module("example.org/new", "v1.0.1"), module("gopkg.in/yaml.v3", "v3.0.1")];
        let whole = program("go1.26.1", LINES);
        check(&whole, Some(("go1.26.1", Some(module("example.org/a", "v1.2.3")), both)));
        check(&program("go1.26.1", ""), Some(("go1.26.1", None, vec![])));
        check(
            &program("go1", "=>\tx\tv1\ndep\ndep\ta\nmod\tb\n"),
            Some(("go1", Some(module("b", "")), vec![module("a", "")])),
        );
        check(b"", None);
        check(&whole[..whole.len() - 20], None);
        // Not at a multiple of 16, it is the text of a program that looks for it.
        check(&[&[0], &whole[..]].concat(), None);
        let mut pointers = whole.clone();
        pointers[48 + MAGIC.len() + 1] = 0;
        check(&pointers, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_spoilt_program_is_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), keep in any::<prop::sample::Index>()) {
            let mut program = program("go1.26.1", LINES);
            let at = at.index(program.len());
            program[at] = byte;
            program.truncate(keep.index(program.len() + 1));
            let _ = build_info(&program);
        }
    }
}
