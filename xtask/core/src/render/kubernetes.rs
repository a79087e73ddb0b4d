//! What kubernetes.yaml says of a node, of memory and of folders, from an application and its pin.

use std::collections::BTreeSet;

use minijinja::{Value, context};

use crate::app::App;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::files::DataFile;
use crate::lock::{Host, Lock};

/// How the CPU's features are called in /proc/cpuinfo, and in the labels of node-feature-discovery
/// (`feature.node.kubernetes.io/cpu-cpuid.NAME`; its documentation, "Feature labels", and klauspost/cpuid, whose names it
/// takes over). Only what HotSpot generates code for, and only what node-feature-discovery publishes unasked: it leaves
/// out BMI, POPCNT, LZCNT and SSE, which every CPU with AVX2 has.
const X86: [(&str, &str); 25] = [
    ("adx", "ADX"),
    ("aes", "AESNI"),
    ("avx", "AVX"),
    ("avx2", "AVX2"),
    ("avx512_bitalg", "AVX512BITALG"),
    ("avx512_fp16", "AVX512FP16"),
    ("avx512_vbmi2", "AVX512VBMI2"),
    ("avx512_vnni", "AVX512VNNI"),
    ("avx512_vpopcntdq", "AVX512VPOPCNTDQ"),
    ("avx512bw", "AVX512BW"),
    ("avx512cd", "AVX512CD"),
    ("avx512dq", "AVX512DQ"),
    ("avx512er", "AVX512ER"),
    ("avx512f", "AVX512F"),
    ("avx512ifma", "AVX512IFMA"),
    ("avx512pf", "AVX512PF"),
    ("avx512vbmi", "AVX512VBMI"),
    ("avx512vl", "AVX512VL"),
    ("avx_ifma", "AVXIFMA"),
    ("avx_vnni", "AVXVNNI"),
    ("fma", "FMA3"),
    ("gfni", "GFNI"),
    ("sha_ni", "SHA"),
    ("vaes", "VAES"),
    ("vpclmulqdq", "VPCLMULQDQ"),
];
/// The same for 64-bit ARM, whose names are those of /proc/cpuinfo in capitals.
const ARM: [(&str, &str); 4] =
    [("aes", "AES"), ("atomics", "ATOMICS"), ("dcpop", "DCPOP"), ("pmull", "PMULL")];

/// Where a node has the filter of system calls, below the kubelet's own folder for them. Each engine has its own. One that is
/// narrowed for a pin has a name of its own, which changes with it: the Pods of two pins are on one node during a rollout,
/// and a Pod whose node has not got its filter does not start, where one under the filter of another pin might fail later.
fn profile(app: &App, engine: Engine, lock: Option<&Lock>, filter: &str) -> String {
    match lock {
        Some(lock) if !lock.system_calls.refused.is_empty() => {
            let digest = Digest::of(filter).short();
            format!("xtask/{}-{digest}.json", app.name)
        }
        _ => format!("xtask/{engine}.json"),
    }
}

/// The variables that only kubernetes.yaml has. `filter` is the text of seccomp.json.
pub fn values(app: &App, engine: Engine, lock: Option<&Lock>, filter: &str) -> Value {
    let memory = lock.and_then(|lock| lock.memory.as_ref());
    let made = lock.and_then(Lock::read_only_root);
    let limits = &app.limits;
    context! {
        profile => profile(app, engine, lock, filter),
        ready => &app.http.ready,
        startup_seconds => (limits.restore + limits.ready).as_secs().max(1),
        tree => lock.map(|lock| lock.data.tree.to_string()),
        rock => lock.map(|lock| lock.rocks.restore.to_string()),
        node => lock.map(|lock| node(&lock.host)),
        scratch => made.and_then(|made| scratch(&app.name, made)).map(|Scratch { volumes, copied }| {
            let volume = |(name, path)| context! { name, path };
            context! { volumes => volumes.into_iter().map(volume).collect::<Vec<Value>>(), copied }
        }),
        memory => memory.map(|memory| context! {
            request => mebibytes(memory.resident),
            limit => memory.max_heap.map(|heap| mebibytes(memory.resident.saturating_add(heap))),
        }),
    }
}

/// Rounded up to 16 MiB: another restore takes some pages more.
fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(16 << 20).saturating_mul(16)
}

/// Terms of a node's affinity, of which one must hold: the CPU in each, and a kernel that is no older.
fn node(host: &Host) -> Vec<Vec<Value>> {
    let rule = |key: &str, operator: &str, value: &str| context! { key, operator, value };
    let feature = |name: &str, operator, value: &str| {
        rule(&format!("feature.node.kubernetes.io/{name}"), operator, value)
    };
    let (architecture, names): (_, &[_]) = match host.architecture.as_str() {
        "x86_64" => ("amd64", &X86),
        "aarch64" => ("arm64", &ARM),
        other => (other, &[]),
    };
    let mut cpu = vec![rule("kubernetes.io/arch", "In", architecture)];
    let has = |flag: &str| host.cpu_flags.iter().any(|known| known == flag);
    let labels = names.iter().filter(|(flag, _)| has(flag));
    cpu.extend(labels.map(|(_, label)| feature(&format!("cpu-cpuid.{label}"), "In", "true")));
    let Some((major, minor)) = host.release() else { return vec![cpu] };
    let same = feature("kernel-version.major", "In", &major.to_string());
    // Kubernetes has no `at least`.
    let minor = (minor > 0).then(|| feature("kernel-version.minor", "Gt", &(minor - 1).to_string()));
    let later = feature("kernel-version.major", "Gt", &major.to_string());
    let same: Vec<Value> = [same].into_iter().chain(minor).collect();
    [same, vec![later]].into_iter().map(|kernel| [cpu.clone(), kernel].concat()).collect()
}

/// Above this number of folders that a process has made, a Pod with a volume for each is no longer worth it.
const MOST_FOLDERS: usize = 16;

/// What a process of a read-only root writes to.
#[derive(Debug, PartialEq, Eq)]
struct Scratch {
    /// Name and place of volumes that begin empty.
    volumes: Vec<(String, String)>,
    /// What of the image's /tmp is copied into the volume over it, before the process is restored.
    copied: Vec<String>,
}

/// The root can be read-only where the process has made nothing but folders outside /tmp: what it has written elsewhere
/// before the dump, it will write again. See compose.yaml, which has the same.
pub(super) fn read_only(files: &[DataFile]) -> bool {
    let elsewhere = |file: &&DataFile| !["/checkpoint-data", "/tmp"].iter().any(|own| below(&file.path, own));
    files.iter().filter(elsewhere).all(|file| file.sha256.is_none() && file.link.is_none())
}

/// The volumes of a read-only root. One over /tmp hides what the image has there, without which the process cannot be
/// restored: a folder that it made is a volume of its own, which costs no time; where it made a file or a link, or many
/// folders, all that is in /tmp is copied.
fn scratch(app: &str, files: &[DataFile]) -> Option<Scratch> {
    if !read_only(files) {
        return None;
    }
    let made = || files.iter().filter(|file| file.path != "/tmp" && below(&file.path, "/tmp"));
    let folders: BTreeSet<&str> = made().map(|file| file.path.as_str()).collect();
    let mut volumes = vec![("run".to_owned(), format!("/run/{app}")), ("tmp".to_owned(), "/tmp".to_owned())];
    let copies = made().any(|file| file.sha256.is_some() || file.link.is_some())
        // A colon would end the path for those who read it.
        || folders.len() > MOST_FOLDERS
        || folders.iter().any(|folder| folder.contains(':'));
    let mut copied = BTreeSet::new();
    if copies {
        let top = folders.iter().filter_map(|path| path.strip_prefix("/tmp/")?.split('/').next());
        // Kubernetes would put a variable for `$(NAME)`; `$$` is its `$`.
        copied.extend(top.map(|name| format!("/tmp/{}", name.replace('$', "$$"))));
    } else {
        // The folders above a volume come with it.
        let deepest = |folder: &&&str| !folders.iter().any(|other| other != *folder && below(other, folder));
        let own = folders.iter().filter(deepest).enumerate();
        volumes.extend(own.map(|(number, path)| (format!("tmp-{}", number + 1), (*path).to_owned())));
    }
    // podman has one namespace for the volumes of all Pods.
    let volumes = volumes.into_iter().map(|(name, path)| (format!("{app}-{name}"), path)).collect();
    Some(Scratch { volumes, copied: copied.into_iter().collect() })
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn folders_that_are_written_to() {
        let file = |path: &str| DataFile {
            path: path.trim_end_matches(['/', '@', '*']).to_owned(),
            mode: "0755".into(),
            owner: "584792:584792".into(),
            size: 0,
            sha256: path.ends_with('*').then(|| Digest::of(path)),
            link: path.ends_with('@').then(|| "there".to_owned()),
        };
        let scratch_of = |made: &[&str]| {
            let files: Vec<DataFile> =
                ["/checkpoint-data/", "/checkpoint-data/core-1.img*", "/checkpoint-data/latest@"]
                    .iter()
                    .chain(made)
                    .map(|path| file(path))
                    .collect();
            let found = scratch("shop", &files);
            assert_eq!(found.is_some(), read_only(&files), "{made:?}");
            found
        };
        let check = |made: &[&str], own: &[&str], copied: &[&str]| {
            let found = scratch_of(made).unwrap_or_else(|| panic!("{made:?}"));
            let more: Vec<&str> = found.volumes.iter().skip(2).map(|(_, path)| path.as_str()).collect();
            assert_eq!(
                (more.as_slice(), found.copied),
                (own, copied.iter().map(|p| (*p).to_owned()).collect())
            );
        };
        check(&[], &[], &[]);
        check(&["/tmp/"], &[], &[]);
        check(
            &["/tmp/", "/tmp/tomcat/", "/tmp/tomcat/work/", "/tmp/tomcat-docs/"],
            &["/tmp/tomcat-docs", "/tmp/tomcat/work"],
            &[],
        );
        // The image has it, and the process does not need to write there again.
        check(&["/var/lib/pebble/default/"], &[], &[]);
        check(&["/tmp/lib.so*"], &[], &["/tmp/lib.so"]);
        check(&["/tmp/", "/tmp/link@"], &[], &["/tmp/link"]);
        check(
            &["/tmp/", "/tmp/brotli/", "/tmp/brotli/lib.so*", "/tmp/tomcat/", "/tmp/$(A)*"],
            &[],
            &["/tmp/$$(A)", "/tmp/brotli", "/tmp/tomcat"],
        );
        check(&["/tmp/a:b/"], &[], &["/tmp/a:b"]);
        let many: Vec<String> = (0..17).map(|number| format!("/tmp/{number}/")).collect();
        let found = scratch_of(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!((found.volumes.len(), found.copied.len()), (2, 17));
        for written in ["/var/cache/shop/index*", "/var/cache/shop/link@", "/tmpfile*"] {
            assert_eq!(scratch_of(&["/tmp/", written]), None, "{written}");
        }
        let volumes = scratch("shop", &[]).unwrap().volumes;
        assert_eq!(volumes[0], ("shop-run".to_owned(), "/run/shop".to_owned()));
        assert_eq!(volumes[1], ("shop-tmp".to_owned(), "/tmp".to_owned()));
    }

    #[test]
    fn nodes_that_can_restore() {
        let check = |architecture: &str, kernel: &str, flags: &str, expected: &[&str]| {
            let host = Host {
                architecture: architecture.into(),
                kernel: kernel.into(),
                cpu_vendor: String::new(),
                cpu_flags: flags.split_whitespace().map(String::from).collect(),
            };
            let shown = |rule: &Value| {
                let part = |name| rule.get_attr(name).unwrap().to_string();
                let key = part("key").replace("feature.node.kubernetes.io/", "");
                format!("{key} {} {}", part("operator"), part("value"))
            };
            let found: Vec<String> = node(&host)
                .iter()
                .map(|term| term.iter().map(shown).collect::<Vec<_>>().join(", "))
                .collect();
            assert_eq!(found, expected, "{architecture} {kernel} {flags}");
        };
        let amd64 = "kubernetes.io/arch In amd64";
        check(
            "x86_64",
            "6.12.9-amd64",
            // Not every flag of the kernel's is a label, and BMI is not published.
            "avx avx2 avx512f bmi1 fma fpu sha_ni sse4_2 constant_tsc",
            &[
                &format!(
                    "{amd64}, cpu-cpuid.AVX In true, cpu-cpuid.AVX2 In true, cpu-cpuid.AVX512F In true, \
                     cpu-cpuid.FMA3 In true, cpu-cpuid.SHA In true, kernel-version.major In 6, kernel-version.minor Gt 11"
                ),
                &format!(
                    "{amd64}, cpu-cpuid.AVX In true, cpu-cpuid.AVX2 In true, cpu-cpuid.AVX512F In true, \
                     cpu-cpuid.FMA3 In true, cpu-cpuid.SHA In true, kernel-version.major Gt 6"
                ),
            ],
        );
        check(
            "x86_64",
            "7.0.1",
            "",
            &[&format!("{amd64}, kernel-version.major In 7"), &format!("{amd64}, kernel-version.major Gt 7")],
        );
        check("x86_64", "odd", "adx", &[&format!("{amd64}, cpu-cpuid.ADX In true")]);
        check(
            "aarch64",
            "odd",
            "aes asimd atomics",
            &["kubernetes.io/arch In arm64, cpu-cpuid.AES In true, cpu-cpuid.ATOMICS In true"],
        );
        check("riscv64", "odd", "aes", &["kubernetes.io/arch In riscv64"]);
    }

    #[test]
    fn memory_is_rounded_up() {
        for (bytes, expected) in
            [(0, 0), (1, 16), (16 << 20, 16), ((16 << 20) + 1, 32), (u64::MAX, (1 << 44))]
        {
            assert_eq!(mebibytes(bytes), expected, "{bytes}");
        }
    }
}
