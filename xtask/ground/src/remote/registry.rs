//! Blobs and manifests to and from a registry, as the OCI distribution specification has it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use ureq::Body;
use ureq::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};

use super::client::{Ask, Client, Content, Failure, retry, shown};
use super::partial::Partial;
use super::reference::Origin;
use super::{MANIFEST_LIMIT, Registry};
use crate::pack::{Blob, oci};
use crate::process::Limit;
use crate::progress::Progress;
use crate::store::Store;
use crate::workers::{each, lock};

const BYTES: &str = "application/octet-stream";
/// What arrives is read and written so many bytes at a time.
const BUFFER: usize = 1 << 20;

impl Registry {
    /// Sends what is missing, then the manifest; returns what was sent.
    pub(super) fn push(
        &self,
        store: &Store,
        blobs: &[Blob],
        manifest: &[u8],
        tag: &str,
        progress: &Progress,
    ) -> Result<Vec<Blob>> {
        let client = Client::new(self, "pull,push")?;
        let sent = Mutex::new(Vec::new());
        let send = |blob: &Blob| -> Result<()> {
            if client.upload(store, blob).with_context(|| format!("cannot send {}", blob.digest))? {
                progress.detail("push", &format!("{} ({} bytes)", blob.digest, blob.size));
                lock(&sent).push(*blob);
            }
            Ok(())
        };
        each(blobs, self.settings.limits.workers, || client.stop(), send)?;
        let kind: Value = serde_json::from_slice(manifest).context("the manifest is no JSON")?;
        let kind = kind["mediaType"].as_str().unwrap_or(oci::MANIFEST);
        let ask = Ask {
            method: Method::PUT,
            uri: client.uri(&format!("manifests/{tag}"))?,
            headers: headers(&[(CONTENT_TYPE, kind)])?,
            content: Content::Bytes(manifest),
            bytes: manifest.len() as u64,
        };
        retry(&self.settings, || client.expect(&ask, &[StatusCode::CREATED]))?;
        Ok(sent.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The bytes of the manifest with a tag or a digest.
    pub(super) fn manifest(&self, tag_or_digest: &str) -> Result<Vec<u8>> {
        let client = Client::new(self, "pull")?;
        let uri = client.uri(&format!("manifests/{tag_or_digest}"))?;
        let headers = headers(&[(ACCEPT, oci::MANIFEST)])?;
        let ask = Ask { method: Method::GET, uri, headers, content: Content::Nothing, bytes: MANIFEST_LIMIT };
        retry(&self.settings, || {
            let mut response = client.expect(&ask, &[StatusCode::OK])?;
            let read = response.body_mut().with_config().limit(MANIFEST_LIMIT).read_to_vec();
            read.map_err(|error| client.failure(error, &ask, &ask.uri))
        })
    }

    /// Fetches blobs into the store, each verified before it is visible; returns how many bytes arrived.
    pub(super) fn pull(
        &self,
        store: &Store,
        blobs: &[Blob],
        cache: &Path,
        progress: &Progress,
    ) -> Result<u64> {
        let client = Client::new(self, "pull")?;
        let arrived = AtomicU64::new(0);
        let fetch = |blob: &Blob| -> Result<()> {
            client
                .download(store, blob, cache, &arrived)
                .with_context(|| format!("cannot fetch {}", blob.digest))?;
            progress.detail("pull", &format!("{} ({} bytes)", blob.digest, blob.size));
            Ok(())
        };
        each(blobs, self.settings.limits.workers, || client.stop(), fetch)?;
        Ok(arrived.into_inner())
    }
}

/// An upload that the registry knows of.
struct Upload {
    uri: Uri,
    /// How many bytes it has.
    offset: u64,
    /// How many bytes go in one request.
    chunk: u64,
}

impl Client<'_> {
    /// Sends a blob unless it is there; returns whether it was sent.
    fn upload(&self, store: &Store, blob: &Blob) -> Result<bool> {
        let mut began = false;
        let mut upload = None;
        retry(&self.registry.settings, || {
            // Also where the answer to the last request was lost: it may have been the one that was hoped for.
            if self.has(blob)? {
                return Ok(began);
            }
            if !began {
                store.verify(&blob.digest)?;
                began = true;
            }
            let object = store.open_object(&blob.digest)?.into_parts().0;
            let known = upload.take().map_or(Ok(None), |earlier| self.look_up(earlier, blob))?;
            let at = upload.insert(known.map_or_else(|| self.begin_upload(), Ok)?);
            while blob.size - at.offset > at.chunk {
                self.send_chunk(at, &object, blob)?;
            }
            self.finish_upload(at, &object, blob)?;
            Ok(true)
        })
    }

    fn has(&self, blob: &Blob) -> Result<bool, Failure> {
        let ask = self.ask(Method::HEAD, self.blob(blob)?, 0);
        let response = self.send(&ask)?;
        match response.status() {
            // One of another size is damaged.
            StatusCode::OK => Ok(number(&response, CONTENT_LENGTH).is_none_or(|size| size == blob.size)),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.unexpected(&ask.method, &ask.uri, response)),
        }
    }

    fn begin_upload(&self) -> Result<Upload, Failure> {
        let mut ask = self.ask(Method::POST, self.uri("blobs/uploads/")?, 0);
        ask.content = Content::Bytes(&[]);
        let response = self.expect(&ask, &[StatusCode::ACCEPTED])?;
        let least = number(&response, HeaderName::from_static("oci-chunk-min-length")).unwrap_or_default();
        let uri = self.upload_location(&ask.uri, &response)?;
        Ok(Upload { uri, offset: 0, chunk: self.registry.settings.limits.chunk.max(least) })
    }

    /// Where the registry is with an upload whose connection broke; none, if it does not know.
    fn look_up(&self, upload: Upload, blob: &Blob) -> Result<Option<Upload>, Failure> {
        let ask = self.ask(Method::GET, upload.uri, 0);
        let response = self.send(&ask)?;
        if response.status() != StatusCode::NO_CONTENT {
            return match self.unexpected(&ask.method, &ask.uri, response) {
                Failure::Final(_) => Ok(None),
                busy => Err(busy),
            };
        }
        let offset = received(&response).filter(|offset| *offset <= blob.size);
        let uri = match response.headers().contains_key("Location") {
            true => self.upload_location(&ask.uri, &response)?,
            false => ask.uri,
        };
        Ok(offset.map(|offset| Upload { uri, offset, chunk: upload.chunk }))
    }

    fn send_chunk(&self, at: &mut Upload, file: &File, blob: &Blob) -> Result<(), Failure> {
        let end = at.offset + at.chunk;
        let ask = self.ask_slice(Method::PATCH, at.uri.clone(), file, at.offset, end)?;
        let response = self.send_part(&ask, StatusCode::ACCEPTED)?;
        let offset = received(&response).unwrap_or(end);
        if offset <= at.offset || offset > blob.size {
            let url = shown(&ask.uri);
            return Err(Failure::Again(anyhow!("{url} has {offset} bytes after it was sent {end}")));
        }
        at.uri = self.upload_location(&ask.uri, &response)?;
        at.offset = offset;
        Ok(())
    }

    fn finish_upload(&self, at: &Upload, file: &File, blob: &Blob) -> Result<(), Failure> {
        let separator = if at.uri.query().is_some() { '&' } else { '?' };
        let uri = format!("{}{separator}digest={}", at.uri, blob.digest);
        let uri = uri.parse().context("the Location of an upload")?;
        let ask = self.ask_slice(Method::PUT, uri, file, at.offset, blob.size)?;
        self.send_part(&ask, StatusCode::CREATED).map(drop)
    }

    fn send_part(&self, ask: &Ask<'_>, expected: StatusCode) -> Result<Response<Body>, Failure> {
        let response = self.send(ask)?;
        match response.status() {
            status if status == expected => Ok(response),
            // The registry has forgotten the upload, or is elsewhere with it: looking it up will tell.
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Failure::Again(self.unexpected(&ask.method, &ask.uri, response).into_error()))
            }
            _ => Err(self.unexpected(&ask.method, &ask.uri, response)),
        }
    }

    /// An upload's place must be at the registry itself: the blob and the login are for nobody else.
    fn upload_location(&self, base: &Uri, response: &Response<Body>) -> Result<Uri> {
        let uri = self.location(base, response)?;
        let ours = Origin::of(&uri)?.is(&self.registry.origin);
        anyhow::ensure!(ours, "{} wants the upload at another host, {}", shown(base), shown(&uri));
        Ok(uri)
    }

    fn download(&self, store: &Store, blob: &Blob, cache: &Path, arrived: &AtomicU64) -> Result<()> {
        let settings = &self.registry.settings;
        let limit =
            Limit::new("the tool's own limit for a request of its size", settings.limits.request(blob.size));
        let mut partial = Partial::open(cache, blob, &limit)?;
        // Another process may have fetched it while we waited for it.
        if store.has(&blob.digest, blob.size) {
            return partial.remove();
        }
        match retry(settings, || self.receive(blob, &mut partial, arrived)) {
            Ok(()) => partial.finish(store),
            Err(error) if partial.length() == 0 => partial.remove().and(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Receives what is missing of a blob.
    fn receive(&self, blob: &Blob, partial: &mut Partial, arrived: &AtomicU64) -> Result<(), Failure> {
        let have = partial.length();
        if have == blob.size {
            return Ok(());
        }
        let mut ask = self.ask(Method::GET, self.blob(blob)?, blob.size - have);
        if have > 0 {
            ask.headers = headers(&[(RANGE, &format!("bytes={have}-"))])?;
        }
        let response = self.send(&ask)?;
        let what = format!("GET {}", shown(&ask.uri));
        match response.status() {
            StatusCode::PARTIAL_CONTENT if have > 0 && begins_at(&response, have) => {}
            // Ranges are a registry's to offer or not.
            StatusCode::OK => partial.begin_anew()?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.begin_anew()?;
                return Err(Failure::Again(anyhow!(
                    "{what} answered with another range than it was asked for"
                )));
            }
            _ => return Err(self.unexpected(&ask.method, &ask.uri, response)),
        }
        let missing = blob.size - partial.length();
        if let Some(length) = number(&response, CONTENT_LENGTH).filter(|length| *length != missing) {
            partial.begin_anew()?;
            return Err(anyhow!("{what} offers {length} bytes; expected {missing}").into());
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            self.go_on()?;
            let read = match body.read(&mut buffer) {
                Ok(read) => read,
                Err(error) => return Err(self.broken(error, &ask, blob, partial)),
            };
            if read == 0 {
                break;
            }
            arrived.fetch_add(read as u64, Ordering::Relaxed);
            if partial.length() + read as u64 > blob.size {
                partial.begin_anew()?;
                return Err(
                    anyhow!("{what} sends more than the {} bytes that were expected", blob.size).into()
                );
            }
            partial.append(&buffer[..read])?;
        }
        if partial.length() < blob.size {
            let (length, size) = (partial.length(), blob.size);
            return Err(Failure::Again(anyhow!("{what} ended after {length} of {size} bytes")));
        }
        Ok(())
    }

    fn broken(&self, error: std::io::Error, ask: &Ask<'_>, blob: &Blob, partial: &Partial) -> Failure {
        let seen = format!("{} of {} bytes had arrived", partial.length(), blob.size);
        match self.failure(ureq::Error::from(error), ask, &ask.uri) {
            Failure::Final(error) => Failure::Final(error.context(seen)),
            Failure::Again(error) => Failure::Again(error.context(seen)),
        }
    }

    fn blob(&self, blob: &Blob) -> Result<Uri> {
        self.uri(&format!("blobs/{}", blob.digest))
    }

    fn ask(&self, method: Method, uri: Uri, bytes: u64) -> Ask<'static> {
        Ask { method, uri, headers: HeaderMap::new(), content: Content::Nothing, bytes }
    }

    fn ask_slice<'a>(&self, method: Method, uri: Uri, file: &'a File, from: u64, to: u64) -> Result<Ask<'a>> {
        let mut fields = headers(&[(CONTENT_TYPE, BYTES)])?;
        if from < to {
            // Not as HTTP has it: OCI says no unit.
            fields.extend(headers(&[(CONTENT_RANGE, &format!("{from}-{}", to - 1))])?);
        }
        let content = Content::Slice { file, offset: from, length: to - from };
        Ok(Ask { method, uri, headers: fields, content, bytes: to - from })
    }
}

fn headers(fields: &[(HeaderName, &str)]) -> Result<HeaderMap> {
    let field = |(name, value): &(HeaderName, &str)| {
        let value =
            HeaderValue::from_str(value).with_context(|| format!("`{name}` has a value no header can have"));
        Ok((name.clone(), value?))
    };
    fields.iter().map(field).collect()
}

fn number(response: &Response<Body>, name: HeaderName) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// How many bytes of an upload a registry says it has: `0-41` are 42; `0-0` are none, as registries have it.
fn received(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(RANGE)?.to_str().ok()?;
    let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

/// Whether an answer's `Content-Range: bytes 42-99/100` begins where it was asked to.
fn begins_at(response: &Response<Body>, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()) == Some(offset)
}
