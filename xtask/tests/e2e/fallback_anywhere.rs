//! The cold start in place of a restore, under other engines and in rocks of another packer.

use xtask::runtime::free_port;

use crate::fallback::{LIMIT, READY};
use crate::support::{PORT, first_answer, runtime};

/// Whatever engine runs a restore rock, and whoever packed it: its service comes up where its data is gone, and where it is
/// granted nothing; the container then has Pebble's notice.
pub fn comes_up(program: &str, app: &str, capabilities: &[&str]) {
    let granted: Vec<String> = capabilities.iter().map(|name| format!("--cap-add={name}")).collect();
    // podman would copy the image's folder into it.
    let empty = match program {
        "podman" => "--tmpfs=/checkpoint-data:notmpcopyup",
        _ => "--tmpfs=/checkpoint-data",
    };
    let gone: Vec<&str> = granted.iter().map(String::as_str).chain([empty]).collect();
    for (fault, more) in [("its data is gone", gone), ("it is granted nothing", Vec::new())] {
        let (name, port) = (format!("xtask-{app}-cold"), free_port().unwrap());
        let (called, publish) = (format!("--name={name}"), format!("--publish=127.0.0.1:{port}:{PORT}"));
        let run = ["run", "--detach", "--pull=never", "--cap-drop=all", &called, &publish];
        let image = format!("localhost/{app}-restorer:0.0.1");
        runtime(program, &[&run[..], &more, &[&image, "--verbose"]].concat());
        first_answer(port, READY, LIMIT);
        let notice = runtime(program, &["exec", &name, "pebble", "notice", "custom", "dev.xtask/cold-start"]);
        let reason = notice.lines().find_map(|line| line.trim().strip_prefix("reason: "));
        println!("    {program}, {fault}: {}", reason.unwrap_or_else(|| panic!("{notice}")));
        runtime(program, &["rm", "--force", &name]);
    }
}
