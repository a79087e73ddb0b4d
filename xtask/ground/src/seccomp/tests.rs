//! The table against the template, and what is left of the template without its families.

use std::collections::BTreeMap;

use super::*;

const TEMPLATE: &str = include_str!("../../../../templates/seccomp.json");

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What a call with these arguments is answered, as libseccomp would: `None` by the filter's default.
fn answer(filter: &str, call: &str, arguments: [u64; 3]) -> Option<String> {
    let filter = parsed(filter);
    let holds = |test: &Value| {
        let argument = arguments[test["index"].as_u64().unwrap() as usize];
        let value = test["value"].as_u64().unwrap();
        match test["op"].as_str().unwrap() {
            "SCMP_CMP_EQ" => argument == value,
            "SCMP_CMP_NE" => argument != value,
            "SCMP_CMP_LT" => argument < value,
            "SCMP_CMP_GE" => argument >= value,
            other => panic!("{other}"),
        }
    };
    let mut rules = filter["syscalls"].as_array().unwrap().iter().filter(|rule| {
        let named = rule["names"].as_array().unwrap().iter().any(|name| name == call);
        let tests = rule["args"].as_array();
        named && rule["includes"].is_null() && tests.is_none_or(|tests| tests.iter().all(holds))
    });
    let rule = rules.next()?;
    // Which of two rules counts is libseccomp's secret.
    assert!(rules.next().is_none(), "{call} {arguments:?} has two answers");
    Some(
        rule["errnoRet"]
            .as_u64()
            .map_or_else(|| rule["action"].as_str().unwrap().to_owned(), |no| no.to_string()),
    )
}

#[test]
fn breakpoints_are_set_without_effect_and_nothing_else_changes() {
    let filter = without_breakpoints(TEMPLATE).unwrap();
    let check = |arguments: [u64; 3], expected: Option<&str>| {
        assert_eq!(answer(&filter, "ptrace", arguments).as_deref(), expected, "{arguments:?}");
        assert_eq!(answer(TEMPLATE, "ptrace", arguments).as_deref(), Some("SCMP_ACT_ALLOW"));
    };
    let allowed = Some("SCMP_ACT_ALLOW");
    // PTRACE_TRACEME, PTRACE_CONT, PTRACE_SEIZE; the same with a number that is a debug register's.
    for request in [0, 7, 0x4206] {
        check([request, 24, 0], allowed);
        check([request, 24, 848], allowed);
    }
    // The last register that is none, the first and the eighth debug register.
    check([6, 24, 840], allowed);
    check([6, 24, 848], Some("0"));
    check([6, 24, 904], Some("0"));

    let without = |text: &str| {
        let mut filter = parsed(text);
        for rule in filter["syscalls"].as_array_mut().unwrap() {
            rule["names"].as_array_mut().unwrap().retain(|name| name != "ptrace");
        }
        filter["syscalls"]
            .as_array_mut()
            .unwrap()
            .retain(|rule| !rule["names"].as_array().unwrap().is_empty());
        filter
    };
    assert_eq!(without(&filter), without(TEMPLATE));
    // Who is refused ptrace is refused all of it.
    let narrow = narrowed(&filter, &[Family::Ptrace]).unwrap();
    assert_eq!(answer(&narrow, "ptrace", [6, 24, 848]), None);
    assert_eq!(answer(&narrow, "ptrace", [7, 24, 0]), None);
}

/// What each call is answered, by the filter's rules: `SCMP_ACT_ALLOW` or an errno.
fn answers(filter: &str) -> BTreeMap<String, String> {
    let filter = parsed(filter);
    let mut answers = BTreeMap::new();
    for rule in filter["syscalls"].as_array().unwrap() {
        let answer = match rule["errnoRet"].as_u64() {
            Some(errno) => errno.to_string(),
            None => rule["action"].as_str().unwrap().to_owned(),
        };
        for name in rule["names"].as_array().unwrap() {
            let before = answers.insert(name.as_str().unwrap().to_owned(), answer.clone());
            assert!(before.is_none_or(|before| before == answer), "{name} has two answers");
        }
    }
    answers
}

#[test]
fn every_familys_calls_are_in_the_filter_and_in_no_other_family() {
    let allowed = answers(TEMPLATE);
    let mut seen = BTreeMap::new();
    for row in FAMILIES {
        assert!(row.calls.is_sorted(), "{}", row.name);
        assert_eq!(row.calls.is_empty(), row.family == Family::OtherArchitectures, "{}", row.name);
        for call in row.calls {
            assert!(allowed.contains_key(*call), "{}: the filter refuses {call} anyway", row.name);
            assert_eq!(seen.insert(*call, row.name), None, "{call} is in two families");
        }
    }
}

#[test]
fn names_are_those_of_the_lock_in_their_order() {
    for (number, row) in FAMILIES.iter().enumerate() {
        assert_eq!(row.family as usize, number, "{}", row.name);
        assert_eq!(serde_json::to_value(row.family).unwrap(), row.name);
        assert_eq!(row.family.to_string(), row.name);
    }
    assert!(FAMILIES.is_sorted_by(|one, other| one.name < other.name));
}

/// docs/guide/privileges.md has the table, for those who look for what an error means.
#[test]
fn the_guide_has_them() {
    let guide = include_str!("../../../../docs/guide/privileges.md");
    let rows = FAMILIES.map(|row| format!("| `{}` | {} | {} |\n", row.name, row.purpose, row.answer));
    assert!(guide.contains(&rows.concat()), "{}", rows.concat());
}

/// What a JVM makes only now and then, what CRIU and Pebble cannot be without, and what the container engine calls under
/// the filter before the rock's program.
#[test]
fn what_is_no_candidate() {
    let calls: BTreeSet<&str> = FAMILIES.iter().flat_map(|row| row.calls.iter().copied()).collect();
    for call in "accept4 bind brk capset chdir clone clone3 close_range connect copy_file_range epoll_ctl execve \
        fallocate fcntl flock fork fsync ftruncate futex getrandom inotify_add_watch inotify_init1 ioctl kill link \
        madvise membarrier mincore mlock mmap mprotect mremap munmap openat pidfd_open pipe2 poll prctl prlimit64 \
        pwrite64 readlink recvmmsg rename rseq rt_sigaction rt_sigqueueinfo sched_setaffinity sendfile sendmmsg setgid \
        setgroups setpriority setresuid setsid setuid sigaltstack socket socketpair symlink sync_file_range tgkill \
        timer_create timerfd_create unlink utimensat vfork wait4 waitid write"
        .split_whitespace()
    {
        assert!(answers(TEMPLATE).contains_key(call), "{call}");
        assert!(!calls.contains(call), "{call}");
    }
}

#[test]
fn nothing_refused_is_the_template() {
    assert_eq!(narrowed(TEMPLATE, &[]).unwrap(), TEMPLATE);
}

/// Each family by itself, and all of them: what it has is answered otherwise, and nothing else is.
#[test]
fn what_is_left() {
    let all: Vec<Family> = FAMILIES.iter().map(|row| row.family).collect();
    let before = answers(TEMPLATE);
    for refused in all.iter().map(std::slice::from_ref).chain([all.as_slice()]) {
        let text = narrowed(TEMPLATE, refused).unwrap();
        let mut expected = before.clone();
        for row in refused.iter().map(|family| family.row()) {
            for call in row.calls {
                expected.remove(*call);
                if row.answer == Answer::NoSuchCall {
                    expected.insert((*call).to_owned(), "38".to_owned());
                }
            }
        }
        assert_eq!(answers(&text), expected, "{refused:?}");
        let (filter, template) = (parsed(&text), parsed(TEMPLATE));
        // EPERM is what is left for the others.
        for key in ["defaultAction", "defaultErrnoRet"] {
            assert_eq!(filter[key], template[key], "{refused:?}");
        }
        assert_eq!(filter["defaultErrnoRet"], 1);
        let native = |filter: &Value| -> Vec<Value> {
            let all = filter["archMap"].as_array().unwrap();
            all.iter().map(|map| map["architecture"].clone()).collect()
        };
        assert_eq!(native(&filter), native(&template));
        let others = !refused.contains(&Family::OtherArchitectures);
        let kept = filter["archMap"].as_array().unwrap().iter().all(|map| {
            map["subArchitectures"].as_array().is_some_and(|others_of| others_of.is_empty() != others)
        });
        assert!(kept, "{refused:?}: {}", filter["archMap"]);
        // A rule that names no call is an error to some engines.
        assert!(
            filter["syscalls"].as_array().unwrap().iter().all(|rule| rule["names"][0].is_string()),
            "{text}"
        );
    }
}

/// The condition of a rule stays with what is left of it.
#[test]
fn conditions_stay() {
    let template = r#"{"archMap": [], "syscalls": [
        {"names": ["kcmp", "socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]},
        {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let left = parsed(&narrowed(template, &[Family::ProcessMemory]).unwrap());
    assert_eq!(
        left["syscalls"][0],
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]})
    );
    assert_eq!(left["syscalls"][1]["errnoRet"], 38);
    assert_eq!(left["syscalls"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_no_filter() {
    let check = |text: &str, phrase: &str| {
        let error = format!("{:#}", narrowed(text, &[Family::OtherArchitectures]).unwrap_err());
        assert!(error.contains(phrase), "{error}");
    };
    check("", "no JSON");
    check("{}", "no list `syscalls`");
    check(r#"{"syscalls": []}"#, "no list `archMap`");
    check(r#"{"syscalls": [{}]}"#, "no list `names`");
}
