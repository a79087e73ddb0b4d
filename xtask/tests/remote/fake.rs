//! A registry of our own, in memory, which can be made to misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use xtask::digest::Digest;

use crate::server::{Answer, Asked, Server};

/// What the registry has.
#[derive(Default)]
pub struct Shelf {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifests: BTreeMap<String, Vec<u8>>,
    pub uploads: BTreeMap<String, Vec<u8>>,
    begun: usize,
}

/// The registry and its server.
pub struct Fake {
    pub server: Server,
    pub shelf: Arc<Mutex<Shelf>>,
}

impl Fake {
    /// One that does as it should, but for what `fault` answers in its place.
    pub fn start(fault: impl Fn(&Asked, &mut Shelf, u16) -> Option<Answer> + Send + Sync + 'static) -> Fake {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let own = Arc::clone(&shelf);
        let server = Server::start(move |asked, port| {
            let mut shelf = own.lock().unwrap();
            fault(asked, &mut shelf, port).unwrap_or_else(|| shelf.answer(asked))
        });
        Fake { server, shelf }
    }

    /// Requests of a method, whose path has this in it.
    pub fn asked(&self, method: &str, path: &str) -> Vec<Asked> {
        let fits = |asked: &Asked| asked.method == method && asked.path.contains(path);
        self.server.asked().into_iter().filter(fits).collect()
    }
}

impl Shelf {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let Some(rest) = path.strip_prefix("/v2/team/petclinic/") else { return Answer::of(404) };
        match (asked.method.as_str(), rest.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", ["blobs", "uploads", ""]) => {
                let name = self.begun.to_string();
                self.begun += 1;
                self.uploads.insert(name.clone(), Vec::new());
                Answer::of(202).with("Location", format!("{path}{name}"))
            }
            ("GET" | "PATCH", ["blobs", "uploads", name]) => {
                let Some(upload) = self.uploads.get_mut(*name) else { return Answer::of(404) };
                upload.extend(&asked.body);
                let range = format!("0-{}", upload.len().saturating_sub(1));
                let status = if asked.method == "GET" { 204 } else { 202 };
                Answer::of(status).with("Location", path).with("Range", range)
            }
            ("PUT", ["blobs", "uploads", name]) => {
                let Some(mut upload) = self.uploads.remove(*name) else { return Answer::of(404) };
                upload.extend(&asked.body);
                let digest = Digest::of(&upload).to_string();
                if query != format!("digest={digest}") {
                    return Answer::of(400).body("DIGEST_INVALID");
                }
                self.blobs.insert(digest, upload);
                Answer::of(201)
            }
            ("GET" | "HEAD", ["blobs", digest]) => {
                let Some(blob) = self.blobs.get(*digest) else { return Answer::of(404) };
                let from =
                    asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
                match from.map(|from| from.parse::<usize>().unwrap()) {
                    Some(from) => {
                        let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                        Answer::of(206).with("Content-Range", range).body(&blob[from..])
                    }
                    None => Answer::of(200).body(blob.clone()),
                }
            }
            ("PUT", ["manifests", name]) => {
                self.manifests.insert((*name).to_owned(), asked.body.clone());
                Answer::of(201)
            }
            ("GET", ["manifests", name]) => {
                self.manifests.get(*name).map_or(Answer::of(404), |bytes| Answer::of(200).body(bytes.clone()))
            }
            _ => Answer::of(404),
        }
    }
}
