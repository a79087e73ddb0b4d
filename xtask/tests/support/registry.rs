//! A real registry, `docker-registry`, on a free port of this machine, with its files in a temporary folder.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::digest::Digest;

/// USER:PASSWORD `hero:hunter2`, as `htpasswd -Bbn` writes it.
const HTPASSWD: &str = "hero:$2y$05$GF2.jUXNtV8P8WuuESWz0eW6pwpcPWuGPRVZ2pYUdyjoICR1bgDvG\n";

/// The registry; it ends with its value.
pub struct DockerRegistry {
    folder: TempDir,
    child: Child,
    pub port: u16,
}

/// What a registry asks of its clients.
#[derive(Default)]
pub struct Demands {
    /// A login: `hero`, `hunter2`.
    pub login: bool,
    /// TLS, with this certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl DockerRegistry {
    /// Starts one.
    pub fn start(demands: &Demands) -> DockerRegistry {
        let folder = tempfile::tempdir().unwrap();
        // Another process may take the port before the registry does; then the next is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = folder.path().join("config.yml");
            std::fs::write(&config, config_text(&folder, port, demands)).unwrap();
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let mut child = Command::new("docker-registry")
                .args(["serve", config.to_str().unwrap()])
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .expect("docker-registry is installed");
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(30) {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return DockerRegistry { folder, child, port };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("docker-registry does not start:\n{log}");
    }

    /// Its own file of a blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder
            .path()
            .join("files/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(&hex)
            .join("data")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// JSON is YAML. Without a secret of its own the registry makes one up and warns.
fn config_text(folder: &TempDir, port: u16, demands: &Demands) -> String {
    let files = folder.path().join("files");
    let mut http = serde_json::json!({ "addr": format!("127.0.0.1:{port}"), "secret": "of the test" });
    if let Some((certificate, key)) = &demands.tls {
        http["tls"] = serde_json::json!({ "certificate": certificate, "key": key });
    }
    let mut config = serde_json::json!({
        "version": 0.1,
        "log": { "level": "info" },
        "storage": { "filesystem": { "rootdirectory": files }, "cache": null },
        "http": http,
    });
    if demands.login {
        let path = folder.path().join("htpasswd");
        std::fs::write(&path, HTPASSWD).unwrap();
        config["auth"] = serde_json::json!({ "htpasswd": { "realm": "test", "path": path } });
    }
    config.to_string()
}
