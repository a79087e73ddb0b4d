//! OCI archives of somebody who wishes us ill.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use xtask::digest::Digest;

use super::oci_bytes::{GZIP, MANIFEST, TAR, blob, descriptor, oci};
use super::tar_bytes::{Raw, file, folder, pax, symlink, tar};

/// Its name and bytes; whether the index names a manifest, whether the blobs are taken into the store, and whether `/a`
/// is then read from the image: or why not.
pub struct HostileImage {
    /// What is wrong with it.
    pub name: &'static str,
    /// The archive.
    pub bytes: Vec<u8>,
    /// `archive::read_manifest_digest`.
    pub index: Result<(), &'static str>,
    /// `import::read_archive`.
    pub taken: Result<(), &'static str>,
    /// `import::read_file`.
    pub file: Result<(), &'static str>,
}

fn image(name: &'static str, bytes: Vec<u8>, file: Result<(), &'static str>) -> HostileImage {
    HostileImage { name, bytes, index: Ok(()), taken: Ok(()), file }
}

fn not_taken(name: &'static str, bytes: Vec<u8>, why: &'static str) -> HostileImage {
    HostileImage { taken: Err(why), ..image(name, bytes, Err("")) }
}

fn no_index(name: &'static str, bytes: Vec<u8>, why: &'static str) -> HostileImage {
    HostileImage { index: Err(why), ..not_taken(name, bytes, why) }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn layer() -> Vec<u8> {
    tar(&[file("a", "x")])
}

/// All of them.
pub fn all() -> Vec<HostileImage> {
    let mut all = indexes();
    all.extend(manifests());
    all.extend(blobs());
    all.extend(layers());
    all
}

fn indexes() -> Vec<HostileImage> {
    let sound = || oci(&[(TAR, layer())]);
    let index = |bytes: &[u8]| sound().bytes_with(bytes);
    let text = sound().index().to_string();
    let manifest = sound().index()["manifests"][0].clone();
    let digest = |digest: &str| {
        let mut index = sound().index();
        index["manifests"][0]["digest"] = digest.into();
        sound().bytes_with(index.to_string().as_bytes())
    };
    let of = |manifests: serde_json::Value| {
        index(json!({ "schemaVersion": 2, "manifests": manifests }).to_string().as_bytes())
    };
    let hex = Digest::of("x").hex();
    let link = |kind| tar(&[Raw::new("index.json", kind, "").link("/etc/passwd").bytes()]);
    vec![
        image("a sound image", sound().bytes(), Ok(())),
        no_index(
            "an index of 2 MiB",
            index(text.replace('{', &("{".to_owned() + &" ".repeat(1 << 20))).as_bytes()),
            "more than 1.0 MiB",
        ),
        no_index("an index that is no JSON", index(b"manifests: []"), "no OCI index"),
        no_index("an empty index", index(b""), "no OCI index"),
        no_index(
            "an index with a byte order mark",
            index(format!("\u{feff}{text}").as_bytes()),
            "no OCI index",
        ),
        no_index("an index that is not UTF-8", index(b"{\"manifests\": \"\xff\"}"), "no OCI index"),
        no_index("an index of wrong types", of(json!({})), "no OCI index"),
        no_index("an index of strings", of(json!(["x"])), "no OCI index"),
        no_index("an index 100,000 deep", index("[".repeat(100_000).as_bytes()), "no OCI index"),
        no_index(
            "an index with manifests twice",
            index(text.replacen('{', "{\"manifests\":[],", 1).as_bytes()),
            "no OCI index",
        ),
        no_index("no images", of(json!([])), "holds 0 images"),
        no_index("two images", of(json!([manifest, manifest])), "holds 2 images"),
        no_index("a digest that is a path", digest("sha256:../../outside/kept"), "index"),
        no_index("a digest with a path behind it", digest(&format!("sha256:{hex}/../x")), "index"),
        no_index("a digest that is absolute", digest("sha256:/etc/passwd"), "index"),
        no_index("a digest in capitals", digest(&format!("sha256:{}", hex.to_uppercase())), "index"),
        no_index("a digest cut off", digest(&format!("sha256:{}", &hex[1..])), "index"),
        no_index(
            "a digest of sha512",
            digest(&format!("sha512:{hex}{hex}")),
            "is no digest; expected `sha256:`",
        ),
        no_index(
            "a digest of a kind unknown",
            digest("md5:d41d8cd98f00b204e9800998ecf8427e"),
            "is no digest",
        ),
        no_index("the index twice", sound().and("./index.json", text.clone()).bytes(), "index.json twice"),
        no_index("an index that is a link", link(b'2'), "holds no index.json"),
        no_index("an index that is a hard link", link(b'1'), "holds no index.json"),
        no_index("an index above", tar(&[file("../index.json", &text)]), "holds no index.json"),
        no_index("an index at the root", tar(&[file("/index.json", &text)]), "holds no index.json"),
        no_index(
            "an index named by PAX only to one",
            tar(&[pax(&[("path", b"x")]), file("index.json", &text)]),
            "holds no index.json",
        ),
        no_index(
            "headers of 9 MiB",
            [Raw::new("l", b'L', vec![b'n'; 9 << 20]).set(257, b"ustar  \0").bytes(), sound().bytes()]
                .concat(),
            "more than 8.0 MiB",
        ),
    ]
}

fn manifests() -> Vec<HostileImage> {
    let sound = || oci(&[(TAR, layer())]);
    let size = |size: serde_json::Value| sound().with(|m| m["layers"][0]["size"] = size).bytes();
    let digest = |digest: &str| sound().with(|m| m["layers"][0]["digest"] = digest.into()).bytes();
    let length = layer().len() as u64;
    let again = |size: u64| {
        sound().with(|m| {
            let mut second = m["layers"][0].clone();
            second["size"] = size.into();
            m["layers"].as_array_mut().unwrap().insert(0, second);
        })
    };
    let nested = {
        let inner = sound().index().to_string();
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor("application/vnd.oci.image.index.v1+json", inner.as_bytes())] });
        let (name, bytes) = blob(inner.as_bytes());
        sound().and(name, bytes).bytes_with(index.to_string().as_bytes())
    };
    let lost = {
        let mut index = sound().index();
        index["manifests"][0]["digest"] = json!(Digest::of("another"));
        sound().bytes_with(index.to_string().as_bytes())
    };
    let swapped = {
        let name = blob(b"another").0;
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, b"another")] });
        let manifest = sound().manifest.to_string();
        sound().and(name, manifest).bytes_with(index.to_string().as_bytes())
    };
    vec![
        not_taken("an index in the index", nested, "is no OCI image manifest"),
        not_taken("a manifest that is not there", lost, "does not hold the manifest"),
        not_taken("a manifest that is another", swapped, "the manifest was changed"),
        not_taken(
            "a manifest of 5 MiB",
            sound().with(|m| m["annotations"] = json!({ "x": "x".repeat(5 << 20) })).bytes(),
            "more than 4.0 MiB",
        ),
        not_taken(
            "a manifest without layers",
            sound().with(|m| drop(m.as_object_mut().unwrap().remove("layers"))).bytes(),
            "no OCI image manifest",
        ),
        not_taken(
            "a manifest of wrong types",
            sound().with(|m| m["config"] = json!([])).bytes(),
            "no OCI image manifest",
        ),
        not_taken("a layer larger than its blob", size(json!(length + 1)), "and should have"),
        not_taken("a layer smaller than its blob", size(json!(1)), "and should have 1"),
        not_taken("a layer of 2^64 - 1 bytes", size(json!(u64::MAX)), "and should have 18446744073709551615"),
        not_taken("a layer of negative size", size(json!(-1)), "no OCI image manifest"),
        not_taken("a layer of half a byte", size(json!(0.5)), "no OCI image manifest"),
        not_taken("a layer whose size is a string", size(json!("1")), "no OCI image manifest"),
        not_taken("a layer whose digest is a path", digest("sha256:../../x"), "manifest"),
        not_taken(
            "a layer of sha512",
            digest(&format!("sha512:{0}{0}", Digest::of("").hex())),
            "is no digest",
        ),
        not_taken("a layer that is not there", digest(&Digest::of("lost").to_string()), "is not complete"),
        not_taken("a layer of two sizes", again(1).bytes(), "is not complete"),
        image("a layer twice", again(length).bytes(), Ok(())),
        image("no layers", sound().with(|m| m["layers"] = json!([])).bytes(), Err("the rock has no /a")),
        image(
            "a layer of a kind unknown",
            sound().with(|m| m["layers"][0]["mediaType"] = json!("text/x; $(id)")).bytes(),
            Ok(()),
        ),
        image(
            "a layer that is the config",
            sound().with(|m| m["layers"][0] = m["config"].clone()).bytes(),
            Err("no sound tar"),
        ),
    ]
}

fn blobs() -> Vec<HostileImage> {
    let sound = || oci(&[(TAR, layer())]);
    let (name, bytes) = blob(&layer());
    let changed = || {
        let mut image = sound();
        image.files.last_mut().unwrap().1[600] ^= 1;
        image
    };
    let linked = |kind| {
        let mut image = sound();
        image.files.pop();
        let mut bytes = image.bytes();
        bytes.truncate(bytes.len() - 1024);
        [bytes, tar(&[Raw::new(&name, kind, "").link("../../../outside/kept").bytes()])].concat()
    };
    let cut = {
        let bytes = sound().bytes();
        bytes[..bytes.len() / 2].to_vec()
    };
    vec![
        not_taken("a blob that is not its name", changed().bytes(), "expected sha256:"),
        not_taken(
            "a second blob that is not its name",
            sound().and(&name, vec![0; bytes.len()]).bytes(),
            "expected sha256:",
        ),
        not_taken("a blob that is a link", linked(b'2'), "is not complete"),
        not_taken("a blob that is a hard link", linked(b'1'), "is not complete"),
        not_taken("an archive cut in half", cut, ""),
        image("a blob twice", sound().and(&name, bytes.clone()).bytes(), Ok(())),
        image(
            "a blob that nothing names",
            sound().and(format!("blobs/sha256/{}", Digest::of("y").hex()), "z").bytes(),
            Ok(()),
        ),
        image(
            "a blob that leads out",
            sound().and("blobs/sha256/../../../outside/kept", "z").bytes(),
            Ok(()),
        ),
        image("a blob of no digest", sound().and("blobs/sha256/kept", "z").bytes(), Ok(())),
        image("garbage behind the image", [sound().bytes(), b"garbage".repeat(99)].concat(), Ok(())),
        image("an image behind the image", [sound().bytes(), changed().bytes()].concat(), Ok(())),
    ]
}

fn layers() -> Vec<HostileImage> {
    let none = Err("the rock has no /a");
    let above = |upper: &[Vec<u8>]| oci(&[(TAR, layer()), (TAR, tar(upper))]).bytes();
    let one = |kind: &str, bytes: Vec<u8>| oci(&[(kind, bytes)]).bytes();
    let mut corrupt = gzip(&tar(&[file("a", (0..9999).map(|n| n.to_string()).collect::<String>())]));
    let half = corrupt.len() / 2;
    let cut = corrupt[..half].to_vec();
    corrupt[half] ^= 0xff;
    let members = [gzip(&file("b", "")), gzip(&layer())].concat();
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[0; 600]].concat();
    vec![
        image(
            "a gzip bomb",
            one(GZIP, gzip(&tar(&[file("b", vec![0; 100 << 20])]))),
            Err("the unpacked bytes of a layer have more than 64.0 MiB"),
        ),
        image("a corrupt gzip", one(GZIP, corrupt), Err("cannot read layer")),
        image("a gzip cut off", one(GZIP, cut), Err("cannot read layer")),
        image("a gzip of two members", one(GZIP, members), Ok(())),
        image("a gzip that is called plain", one(TAR, gzip(&layer())), Ok(())),
        image("a plain layer that is called gzip", one(GZIP, layer()), Ok(())),
        image("a zstd layer", one("application/vnd.oci.image.layer.v1.tar+zstd", zstd), Err("no sound tar")),
        image("a layer that is text", one(TAR, b"hello".to_vec()), Err("no sound tar")),
        image("a whiteout above", above(&[file(".wh.a", "")]), none),
        image("an opaque root above", above(&[file(".wh..wh..opq", "")]), none),
        image("a whiteout of another", above(&[file(".wh.b", "")]), Ok(())),
        image("a whiteout beside its file", above(&[file("a", "y"), file(".wh.a", "")]), Ok(())),
        image("a link above", above(&[symlink("a", "/etc/passwd")]), none),
        image("a folder above", above(&[folder("a")]), none),
        image("a device above", above(&[Raw::new("a", b'3', "").bytes()]), none),
    ]
}
