//! Tars that a container or a layer could hold to do harm.

use super::tar_bytes::{Raw, file, folder, gnu_long, pax, symlink, tar};

/// Its name, its bytes; the paths that `collect` takes of it, or why it is refused; whether `/a` is read from a layer of
/// these bytes, or why not.
pub type HostileTar =
    (&'static str, Vec<u8>, Result<&'static [&'static str], &'static str>, Result<(), &'static str>);

const OUT: &str = "leads out";
const KINDS: &str = "only files, folders and links";
const NONE: &str = "the rock has no /a";

/// Binary numbers have the highest bit of their field set.
fn base_256(number: u64) -> Vec<u8> {
    [&[0x80, 0, 0, 0], number.to_be_bytes().as_slice()].concat()
}

fn a(body: &str) -> Vec<u8> {
    file("a", body)
}

fn device(kind: u8) -> Vec<u8> {
    tar(&[Raw::new("a", kind, "").link("/etc/passwd").set(329, b"0000001\x000000003").bytes()])
}

/// All of them; `outside` is a file that must stay as it is.
pub fn all(outside: &str) -> Vec<HostileTar> {
    [names(outside), kinds(), sizes(), records(), whole()].concat()
}

/// Where a path leads.
fn names(outside: &str) -> Vec<HostileTar> {
    let (parent, base) = outside.rsplit_once('/').unwrap();
    let long = "d/".repeat(3000);
    vec![
        ("an absolute path", tar(&[file(outside, "x")]), Err(OUT), Err(NONE)),
        ("an absolute path that a layer may have", tar(&[file("/a", "x")]), Err(OUT), Ok(())),
        (
            "an absolute path in a PAX record",
            tar(&[pax(&[("path", outside.as_bytes())]), a("x")]),
            Err(OUT),
            Err(NONE),
        ),
        ("a parent", tar(&[file("..", "x")]), Err(OUT), Err(NONE)),
        ("a parent's file", tar(&[file("../outside/kept", "x")]), Err(OUT), Err(NONE)),
        ("a parent after a dot", tar(&[file("./../a", "x")]), Err(OUT), Err(NONE)),
        ("a parent in the middle", tar(&[file("b/../../a", "x")]), Err(OUT), Err(NONE)),
        ("a parent at the end", tar(&[folder("a/..")]), Err(OUT), Err(NONE)),
        ("a parent in a PAX record", tar(&[pax(&[("path", b"../a")]), a("x")]), Err(OUT), Err(NONE)),
        ("a parent in a long name", tar(&[gnu_long(b'L', b"../a"), a("x")]), Err(OUT), Err(NONE)),
        (
            "a parent in the prefix field",
            tar(&[Raw::new("a", b'0', "x").set(345, "..").bytes()]),
            Err(OUT),
            Err(NONE),
        ),
        (
            "a link out, and a file below it",
            tar(&[symlink("b", parent), file(format!("b/{base}"), "x")]),
            Err("lies below the link /b"),
            Err(NONE),
        ),
        (
            "a file below a link that comes later",
            tar(&[file("b/c", "x"), symlink("b", parent)]),
            Err("/b/c lies below the link /b"),
            Err(NONE),
        ),
        (
            "a link in a folder's place",
            tar(&[folder("b"), symlink("b", parent), file("b/c", "x")]),
            Err("twice"),
            Err(NONE),
        ),
        ("a file below a file", tar(&[a("x"), file("a/b", "y")]), Err("below the file /a"), Ok(())),
        ("links in a circle", tar(&[symlink("a", "b"), symlink("b", "a")]), Ok(&["/a", "/b"]), Err(NONE)),
        ("a link to itself", tar(&[symlink("a", "a")]), Ok(&["/a"]), Err(NONE)),
        ("a link to nothing", tar(&[symlink("a", "")]), Err("target"), Err(NONE)),
        (
            "a link with a line feed",
            tar(&[symlink("a", "b\nc")]),
            Err("holds a control character"),
            Err(NONE),
        ),
        ("a link that is not UTF-8", tar(&[symlink("a", b"\xff")]), Err("not UTF-8"), Err(NONE)),
        ("the name .", tar(&[folder(".")]), Err("names nothing"), Err(NONE)),
        ("the name ./", tar(&[file("./", "x")]), Err("names nothing"), Err(NONE)),
        ("no name", tar(&[file("", "x")]), Err("names nothing"), Err(NONE)),
        ("a line feed", tar(&[file("a\nb", "x")]), Err("control character"), Err(NONE)),
        ("an escape sequence", tar(&[file("\x1b[2Ja", "x")]), Err("control character"), Err(NONE)),
        ("no UTF-8", tar(&[file(b"\xff\xfe", "x")]), Err("is not UTF-8"), Err(NONE)),
        ("twice the same", tar(&[a("x"), a("y")]), Err("/a is there twice"), Ok(())),
        ("twice but for a dot", tar(&[a("x"), file("./a", "y")]), Err("/a is there twice"), Ok(())),
        ("twice but for a slash", tar(&[a("x"), folder("a/")]), Err("/a is there twice"), Err(NONE)),
        (
            "twenty folders deep",
            tar(&[a("x"), file("d/".repeat(20) + "f", "x")]),
            Ok(&["/a", "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/f"]),
            Ok(()),
        ),
        (
            "three thousand folders deep",
            tar(&[gnu_long(b'L', long.as_bytes()), a("x")]),
            Err("a path of 6000 bytes is longer than Linux allows"),
            Err(NONE),
        ),
        ("a whiteout", tar(&[file("b/.wh.c", ""), a("x")]), Err("would be a whiteout"), Ok(())),
    ]
}

/// What an entry is.
fn kinds() -> Vec<HostileTar> {
    let sparse = |name: &str, real: u64| tar(&[Raw::new(name, b'S', "").gnu_sparse(real).bytes()]);
    // Two thousand more blocks of a sparse map, each of which says that another follows.
    let mut chain = Raw::new("a", b'S', "").gnu_sparse(0).set(482, [1]).bytes();
    let mut more = [0; 512];
    more[504] = 1;
    chain.extend(more.repeat(4000));
    vec![
        ("a hard link", device(b'1'), Err(KINDS), Err(NONE)),
        ("a character device", device(b'3'), Err(KINDS), Err(NONE)),
        ("a block device", device(b'4'), Err(KINDS), Err(NONE)),
        ("a fifo", device(b'6'), Err(KINDS), Err(NONE)),
        ("a contiguous file", device(b'7'), Err(KINDS), Err(NONE)),
        ("an unknown kind", device(b'Z'), Err(KINDS), Err(NONE)),
        ("a sparse file of 1 MiB", sparse("a", 1 << 20), Err(KINDS), Err("holds the sparse file a")),
        ("a sparse file of 8 GiB", sparse("b", (1 << 33) - 1), Err(KINDS), Err("holds the sparse file b")),
        (
            "a sparse file that is not GNU's",
            tar(&[Raw::new("a", b'S', "").bytes()]),
            Err("no sound tar"),
            Err("no sound tar"),
        ),
        ("a sparse map without end", chain, Err("no sound tar"), Err("no sound tar")),
        ("a folder with bytes", tar(&[Raw::new("a", b'5', "bytes").bytes()]), Err("of 5 bytes"), Err(NONE)),
        ("a link with bytes", tar(&[Raw::new("a", b'2', "bytes").link("b").bytes()]), Err("of 5"), Err(NONE)),
        (
            "a setuid file",
            tar(&[Raw::new("a", b'0', "x").set(100, b"0004755").bytes()]),
            Err("/a is a file of mode 4755: setuid or setgid"),
            Ok(()),
        ),
    ]
}

/// What a header says of numbers.
fn sizes() -> Vec<HostileTar> {
    let sized = |field: &[u8]| tar(&[Raw::new("a", b'0', "x").size(field).bytes()]);
    let numbered = |at: usize, field: &[u8]| tar(&[Raw::new("a", b'0', "x").set(at, field).bytes()]);
    let cut = |length: usize| {
        let mut bytes = tar(&[file("a", "x".repeat(2000))]);
        bytes.truncate(length);
        bytes
    };
    vec![
        ("a size of 2^63", sized(&base_256(1 << 63)), Err("64.0 GiB"), Err("256.0 MiB")),
        ("a size of 2^64 - 1", sized(&base_256(u64::MAX)), Err("size overflow"), Err("size overflow")),
        ("a size of 1 TiB", sized(&base_256(1 << 40)), Err("more than 64.0 GiB"), Err("more than 256.0 MiB")),
        ("a size of 8 GiB", sized(b"77777777777"), Err("/a ends after 1536 of"), Err("more than 256.0 MiB")),
        ("a negative size", sized(&[0xff; 12]), Err("size overflow"), Err("size overflow")),
        ("a size that is no number", sized(b"zzzzzzzzzzz"), Err("no sound tar"), Err("no sound tar")),
        ("a size with a sign", sized(b"-0000000001"), Err("no sound tar"), Err("no sound tar")),
        ("a mode that is no number", numbered(100, b"rwxr-xr"), Err("the mode of /a is no number"), Ok(())),
        ("an owner that is no number", numbered(108, b"root\0\0\0"), Err("the owner of /a is no"), Ok(())),
        ("a group that is no number", numbered(116, b"-000001"), Err("the group of /a is no"), Ok(())),
        ("a header cut off", cut(300), Err("no sound tar"), Err("no sound tar")),
        (
            "a body cut off",
            cut(1500),
            Err("/a ends after 988 of 2000 bytes"),
            Err("a ends after 988 of 2000"),
        ),
        ("a body cut off behind its header", cut(512), Err("/a ends after 0 of 2000"), Err("a ends after 0")),
    ]
}

/// What stands before an entry and changes it.
fn records() -> Vec<HostileTar> {
    let with = |key: &str, value: &[u8]| tar(&[pax(&[(key, value)]), a("x")]);
    let huge = vec![b'n'; 33 << 20];
    // Two readers that disagree see different archives: 512 bytes are a body, or an entry of their own.
    let hidden = [Raw::new("a", b'0', "").bytes(), file("b", "")].concat();
    let more = tar(&[pax(&[("size", b"512")]), hidden.clone()]);
    let less =
        tar(&[pax(&[("size", b"0")]), Raw::new("a", b'0', "").size("00000001000").bytes(), file("b", "")]);
    vec![
        ("PAX says another path", with("path", b"b"), Ok(&["/b"]), Err(NONE)),
        ("PAX says more bytes", more, Ok(&["/a"]), Ok(())),
        ("PAX says fewer bytes", less, Ok(&["/a", "/b"]), Ok(())),
        (
            "PAX says another target",
            tar(&[pax(&[("linkpath", b"/etc/shadow")]), symlink("a", "b")]),
            Ok(&["/a"]),
            Err(NONE),
        ),
        ("PAX says a size of 2^63", with("size", b"9223372036854775808"), Err("64.0 GiB"), Err("256.0 MiB")),
        ("PAX says a size of 2^64", with("size", b"18446744073709551616"), Ok(&["/a"]), Ok(())),
        ("PAX says a negative size", with("size", b"-1"), Ok(&["/a"]), Ok(())),
        ("PAX says a size that is no number", with("size", b"many"), Ok(&["/a"]), Ok(())),
        ("PAX says a path with NUL", with("path", b"a\0b"), Err("control character"), Err(NONE)),
        ("PAX says a path with a line feed", with("path", b"b\nc"), Ok(&["/a"]), Ok(())),
        ("PAX says a path that is not UTF-8", with("path", b"\xc3\x28"), Err("is not UTF-8"), Err(NONE)),
        ("PAX says a sparse map", with("GNU.sparse.realsize", b"1099511627776"), Ok(&["/a"]), Ok(())),
        (
            "PAX records that are none",
            tar(&[Raw::new("p", b'x', "99999999 path=b\n").bytes(), a("x")]),
            Ok(&["/a"]),
            Ok(()),
        ),
        (
            "PAX twice",
            tar(&[pax(&[("path", b"b")]), pax(&[("path", b"c")]), a("x")]),
            Err("two pax"),
            Err("two pax"),
        ),
        ("PAX for nothing", tar(&[pax(&[("path", b"b")])]), Err("no sound tar"), Err("no sound tar")),
        ("PAX for all", tar(&[Raw::new("g", b'g', "9 path=b\n").bytes(), a("x")]), Err(KINDS), Ok(())),
        ("a long name of 33 MiB", tar(&[gnu_long(b'L', &huge), a("x")]), Err("32.0 MiB"), Err("1.0 MiB")),
        ("a long target of 33 MiB", tar(&[gnu_long(b'K', &huge), a("x")]), Err("32.0 MiB"), Err("1.0 MiB")),
        ("PAX records of 33 MiB", with("comment", &huge), Err("32.0 MiB"), Err("1.0 MiB")),
        (
            "a long name that claims 2^62 bytes",
            tar(&[Raw::new("l", b'L', "b").size(base_256(1 << 62)).set(257, b"ustar  \0").bytes(), a("x")]),
            Err("no sound tar"),
            Err("no sound tar"),
        ),
    ]
}

/// The archive as a whole.
fn whole() -> Vec<HostileTar> {
    let garbage: Vec<u8> = (0..5000_u32).map(|n| (n * n % 251) as u8).collect();
    vec![
        ("nothing", Vec::new(), Ok(&[]), Err(NONE)),
        ("nothing but zeros", vec![0; 10240], Ok(&[]), Err(NONE)),
        ("garbage", garbage.clone(), Err("no sound tar"), Err("no sound tar")),
        (
            "a wrong checksum",
            tar(&[Raw::new("a", b'0', "x").wrong_sum().bytes()]),
            Err("checksum"),
            Err("checksum"),
        ),
        ("garbage behind the end", [tar(&[a("x")]), garbage.clone()].concat(), Ok(&["/a"]), Ok(())),
        ("garbage in place of the end", [a("x"), garbage].concat(), Err("no sound tar"), Err("no sound tar")),
        ("no end", a("x"), Ok(&["/a"]), Ok(())),
        ("two archives", [tar(&[a("x")]), tar(&[file("../b", "y")])].concat(), Ok(&["/a"]), Ok(())),
        ("70,000 folders of one name", folder("d").repeat(70_000), Err("32.0 MiB"), Err(NONE)),
    ]
}
