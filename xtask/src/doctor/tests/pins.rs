//! What is said of one application and its pin.

use std::path::Path;

use super::super::asked::Answer;
use super::super::{Level, Subject, of_app};
use super::Fake;
use crate::app::load_text;
use crate::lock::{Host, Lock};
use Level::{Fail, NotTried, Pass, Warn};

/// What `check` says of an application with these lines, and this pin.
#[track_caller]
fn of(
    name: &str,
    toml: &str,
    change: impl FnOnce(&mut Fake, &mut Subject),
    level: Level,
    found: &str,
    remedy: &str,
) {
    let text = format!("source.jar = \"app.jar\"\n{toml}\n");
    let app = load_text("shop", Path::new("/apps/shop"), "app.toml", &text).unwrap().app;
    let mut lock = Lock::parse(include_str!("../../../tests/support/sample.lock")).unwrap();
    lock.host = Host { cpu_flags: vec!["avx".into()], kernel: "6.12.1".into(), ..here() };
    let mut subject = Subject {
        name: "shop".into(),
        app: Ok(app),
        lock: Ok(Some(lock)),
        objects: (7, 0),
        uptime: Some(90_000),
    };
    let mut fake = Fake::new();
    change(&mut fake, &mut subject);
    let findings = of_app(&fake.facts(), &subject);
    let name = format!("shop: {name}");
    let finding = findings.iter().find(|finding| finding.check == name).expect(&name);
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.found.contains(found), "`{found}` is not in {finding:?}");
    assert!(finding.remedy.contains(remedy), "`{remedy}` is not in {finding:?}");
    let needed = matches!(level, Level::Warn | Level::Fail);
    assert!(!needed || !finding.remedy.is_empty(), "what to do? {finding:?}");
}

fn here() -> Host {
    Host::below(Fake::new().root.path()).unwrap()
}

#[test]
fn an_application() {
    let same = |_: &mut Fake, _: &mut Subject| {};
    of("packer", "", same, Pass, "any", "");
    let wants = "packer = \"rockcraft\"";
    of("packer", wants, same, Fail, "needs rockcraft, which is not here", "snap install rockcraft");
    of("packer", "engine = \"crac\"", same, Fail, "engine = \"crac\" needs rockcraft", "engine = \"criu\"");
    let rockcraft = |version: &'static str| {
        move |fake: &mut Fake, _: &mut Subject| fake.asked.rockcraft = Answer::Said(version.into())
    };
    of("packer", wants, rockcraft("1.7.0"), Pass, "rockcraft 1.7.0", "");
    let newest = "packer = \"rockcraft\"\nrock.base = \"ubuntu@26.04\"";
    of("packer", newest, rockcraft("1.18.1"), Fail, "ubuntu@26.04 needs rockcraft 1.19", "snap refresh");

    of("CRIU", "", same, Pass, "from Debian sid", "");
    of("CRIU", "rock.suite = \"trixie\"", same, Pass, "from Debian trixie", "");
    let new = |fake: &mut Fake, _: &mut Subject| fake.write("proc/sys/kernel/osrelease", "6.16-rc3\n");
    of(
        "CRIU",
        "rock.suite = \"trixie\"",
        new,
        Fail,
        "fails on this kernel, 6.16-rc3",
        "rock.suite = \"sid\"",
    );

    let few = |fake: &mut Fake, _: &mut Subject| fake.write("proc/sys/kernel/pid_max", "20000\n");
    of("PIDs", "", few, Pass, "above 1000", "");
    of("PIDs", "checkpoint.min-pid = 19500", few, Fail, "end at 20000", "checkpoint.min-pid");

    of("port", "", same, Warn, "somebody listens on 8080", "restore shop --publish 8081:8080");
    of("port", "http.port = 8081", same, Pass, "8081 is free", "");
}

#[test]
fn a_pin() {
    let same = |_: &mut Fake, _: &mut Subject| {};
    of("pin", "", same, Pass, "fits this machine", "");
    let none = |_: &mut Fake, subject: &mut Subject| subject.lock = Ok(None);
    of("pin", "", none, NotTried, "there is none yet", "cargo xtask pull shop");
    of("store", "", none, NotTried, "no pin to look for", "");
    let spoilt = |_: &mut Fake, subject: &mut Subject| subject.lock = Err("it was changed by hand".into());
    of("pin", "", spoilt, Fail, "changed by hand", "git checkout apps/shop/checkpoint.lock");
    let other = |_: &mut Fake, subject: &mut Subject| {
        let lock = subject.lock.as_mut().unwrap().as_mut().unwrap();
        lock.host.cpu_flags.push("avx512f".into());
    };
    of("pin", "", other, Fail, "this CPU lacks avx512f", "checkpoint shop --force");
    let newer = |_: &mut Fake, subject: &mut Subject| {
        subject.lock.as_mut().unwrap().as_mut().unwrap().host.kernel = "6.18.0".into();
    };
    of("pin", "", newer, Fail, "kernel is 6.12.9-amd64, older than 6.18.0", "like the one it was dumped on");
    let large = |_: &mut Fake, subject: &mut Subject| {
        subject.lock.as_mut().unwrap().as_mut().unwrap().data.files[0].size = 64 << 30;
    };
    of("pin", "", large, Warn, "16.0 GiB of memory is little for a process of 64", "end other programs");
    of("timers", "", same, Pass, "go on", "");
    let young = |fake: &mut Fake, _: &mut Subject| fake.write("proc/uptime", "86400.00 9.00\n");
    of("timers", "", young, Warn, "stand still for 1h", "dump on one that was just started");
    let not_here = |_: &mut Fake, subject: &mut Subject| subject.uptime = None;
    of("timers", "", not_here, NotTried, "no dump to compare clocks with", "");
    of("store", "", same, Pass, "has all 7 objects", "");
    let lost = |_: &mut Fake, subject: &mut Subject| subject.objects = (7, 2);
    of("store", "", lost, Warn, "lacks 2 of the pin's 7 objects", "cargo xtask pull shop");
    let wrong = |_: &mut Fake, subject: &mut Subject| subject.app = Err("unknown key".into());
    of("app.toml", "", wrong, Fail, "is not valid", "cargo xtask check shop");
}
