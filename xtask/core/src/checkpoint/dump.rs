//! From a checkpoint rock to checkpoint data in the store.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;

use super::life::{Life, with_running};
use super::{Dumped, collect, dump_service};
use crate::app::Memory;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::files::DataFile;
use crate::lock::MappedFile;
use crate::memory;
use crate::process::Limit;
use crate::rocks::Job;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::source::Jar;
use crate::store::Store;

/// More than any JVM's library has (27 MiB in JDK 21).
const LIBRARY: u64 = 256 << 20;

/// Runs the checkpoint rock `image`, dumps the application and collects what it left; its jar too if only the rock has
/// it.
pub fn dump(job: &Job<'_>, runtime: &Runtime, image: &str, jar: Option<&Jar>) -> Result<Dumped> {
    let Job { session, app, way, .. } = *job;
    with_running(job, runtime, image, &[], |life| {
        life.warm_up()?;
        let max_heap = match way.engine.settles() {
            Some(script) => life.settle(script)?,
            None => None,
        };
        let answers = verify(life).context("http.verify, before the dump")?;
        let jar = match jar {
            Some(jar) => jar.clone(),
            None => life.jar(&session.store).context("the jar could not be collected")?,
        };
        let (pid, froze, mapped) = life.dump()?;
        let files = collect::collect(&session.store, life.container, &app.name, way.engine.required(app))?;
        let files = match (way.engine, app.checkpoint.memory) {
            (Engine::Criu, Memory::Mapped) => {
                let jvm = life.jvm(&mapped);
                remap(session, files, jvm.as_ref())
                    .context("the dump's memory cannot be mapped (checkpoint.memory)")?
            }
            // A CRaC JVM has ways of its own.
            (Engine::Criu, Memory::Read) | (Engine::Crac, _) => files,
        };
        let files = match way.engine {
            Engine::Criu => memory::unburden(&session.store, files).context("the dump's credentials")?,
            Engine::Crac => files,
        };
        Ok(Dumped { pid, cold: life.start, froze, max_heap, files, mapped, answers, jar })
    })
}

/// Makes what can be of the dumped memory a file that the restored process maps.
fn remap(session: &Session, files: Vec<DataFile>, jvm: Option<&memory::Jvm>) -> Result<Vec<DataFile>> {
    if let Some(library) = memory::counts_on_zeros(&session.store, &files)? {
        session.progress.warn(&format!(
            "{library} is in the process: an allocator that takes memory given back to the kernel for zeros, which is not so of \
             a mapped file; memory is read at a restore (as with checkpoint.memory = \"read\")"
        ));
        return Ok(files);
    }
    let memory::Named { files, bytes } = memory::deleted(&session.store, files)?;
    if bytes > 0 {
        session.progress.say(&format!(
            "{} of deleted files, libraries most often, will be mapped and not copied at a restore",
            ByteSize(bytes)
        ));
    }
    let memory::Remapped { files, mapped, read, dropped, heap, stacks, windows } =
        memory::remap(&session.store, files, jvm)?;
    session.progress.say(&format!(
        "of the dumped memory {} will be mapped and {} read at a restore; left out are {} of zeros, {} of Java heap, \
         {} of stacks and {} of inflaters' windows that are not in use",
        ByteSize(mapped),
        ByteSize(read),
        ByteSize(dropped.saturating_sub(heap + stacks + windows)),
        ByteSize(heap),
        ByteSize(stacks),
        ByteSize(windows)
    ));
    Ok(files)
}

impl Life<'_> {
    /// Dumps the application, which ends it; the files stay in its container. Its PID, how long it was frozen until it was
    /// killed, and the files that it had mapped.
    pub fn dump(&self) -> Result<(u32, Duration, Vec<MappedFile>)> {
        self.trigger()?;
        self.wait_for_dump()
    }

    /// The jar that runs, out of its container.
    fn jar(&self, store: &Store) -> Result<Jar> {
        let file = format!("/jars/{}.jar", self.app.name);
        let limit = Limit::new("the tool's own limit for collecting a jar", Duration::from_secs(120));
        let (digest, size) = self.take_file(store, &file, &limit)?;
        Ok(Jar { digest, size })
    }

    /// The JVM of the process, if it has mapped these files. Without it the dump is larger, and as good.
    fn jvm(&self, mapped: &[MappedFile]) -> Option<memory::Jvm> {
        let file = mapped.iter().find(|file| file.path.ends_with("/server/libjvm.so"))?;
        let limit = Limit::new("the tool's own limit for reading the JVM's library", Duration::from_secs(60));
        let library = self.container.exec_pipe(&["cat", &file.path], &limit, |reader| {
            let mut bytes = Vec::new();
            reader.take(LIBRARY).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        Some(memory::Jvm { path: file.path.clone(), library: library.ok()? })
    }

    /// Starts the service that dumps, as a person would by hand. Pebble calls a service that ends within a
    /// second a failure, so its word is not asked: the dump's own is.
    fn trigger(&self) -> Result<()> {
        let service = dump_service(&self.app.name);
        let limit = Limit::new("limits.dump", self.app.limits.dump);
        let ran = self.container.exec(&["pebble", "start", &service], &limit)?;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        if !ran.status.success() && !said.contains(&format!("Start service \"{service}\"")) {
            bail!("Pebble cannot start {service}: {}", said.trim());
        }
        Ok(())
    }

    /// Waits until the dump says that every file is there; that the JVM is dead says nothing.
    fn wait_for_dump(&self) -> Result<(u32, Duration, Vec<MappedFile>)> {
        let folder = format!("/run/{}", self.app.name);
        let limit = Limit::new("limits.dump", self.app.limits.dump);
        let script =
            "cd \"$0\" && until [ -e dump ]; do sleep 0.05; done; cat dump; [ ! -e mapped ] || cat mapped";
        let ran = self
            .container
            .exec(&["sh", "-c", script, &folder], &limit)
            .context("waiting for a complete dump")?;
        let (said, mapped) = ran.stdout.split_once('\n').unwrap_or((&ran.stdout, ""));
        match said.split_once(' ') {
            Some(("complete", numbers)) => {
                let (pid, millis) = numbers.split_once(' ').context("the dump names PID and milliseconds")?;
                let mapped = parse_sums(mapped).context("the list of mapped files")?;
                Ok((pid.parse()?, Duration::from_millis(millis.parse()?), mapped))
            }
            Some(("failed", reason)) => bail!("the dump failed: {reason}"),
            _ => bail!("the dump says neither `complete` nor `failed` but {said:?} ({})", ran.stderr.trim()),
        }
    }
}

/// The lines of `sha256sum`. What a container says is not trusted.
fn parse_sums(text: &str) -> Result<Vec<MappedFile>> {
    let parse = |line: &str| -> Result<MappedFile> {
        let (sum, path) = line.split_once("  ").context("no sum")?;
        ensure!(path.starts_with('/') && !path.chars().any(char::is_control), "no absolute path");
        // sha256sum marks a name that it had to escape with a backslash before the sum, which is then none.
        Ok(MappedFile { path: path.to_owned(), sha256: format!("sha256:{sum}").parse()? })
    };
    let mut files = text
        .lines()
        .map(|line| parse(line).with_context(|| format!("{line:?}")))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    ensure!(!files.is_empty(), "it is empty");
    Ok(files)
}

/// Sends every request and returns the digests of the answers. No connection stays open: a restored process would find it
/// broken, and clear up after it while the first request waits.
fn verify(life: &Life<'_>) -> Result<Vec<Digest>> {
    let client = life.client.anew();
    life.app.http.verify.iter().map(|request| Ok(life.expect(&client, request)?.digest())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_and_nothing_else() {
        let sum = Digest::of("x").hex();
        let files = parse_sums(&format!("{sum}  /usr/lib/b c.so\n{sum}  /usr/lib/a.so\n")).unwrap();
        assert_eq!(
            files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            ["/usr/lib/a.so", "/usr/lib/b c.so"]
        );
        let cut = &sum[1..];
        for bad in [
            "",
            "x",
            &format!("{sum} /a"),
            &format!("{sum}  a"),
            &format!("\\{sum}  /a"),
            &format!("{cut}  /a"),
        ] {
            assert!(parse_sums(bad).is_err(), "{bad:?}");
        }
    }
}
