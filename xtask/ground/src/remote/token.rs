//! From a registry's challenge to the `Authorization` header it wants.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

use super::challenge::{self, Challenge};
use super::client::{Ask, Client, Content, retry, shown};
use super::login::{self, BASE64, Login, Secret};

/// Tokens have some kilobytes.
const TOKEN_LIMIT: u64 = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
}

impl Client<'_> {
    /// The header that answers a 401.
    pub(super) fn authorize(&self, response: &Response<Body>) -> Result<Secret> {
        let headers = response.headers().get_all("WWW-Authenticate");
        let challenges: Vec<Challenge> =
            headers.iter().filter_map(|header| header.to_str().ok()).flat_map(challenge::parse).collect();
        let registry = self.registry;
        let login =
            login::find(&registry.settings.variables, &registry.origin.authority, &registry.repository)?;
        // What is to be shown to nobody, whichever way it comes back.
        match &login {
            Some(Login::Password { user, password }) => {
                self.keep_secret(password);
                self.keep_secret(&encoded(user, password));
            }
            Some(Login::Identity(token)) => self.keep_secret(token),
            None => {}
        }
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        match (bearer, login) {
            (Some(Challenge::Bearer { realm, service, scope }), login) => {
                let token = self.token(realm, service.as_deref(), scope.as_deref(), login.as_ref())?;
                Ok(Secret::new(format!("Bearer {}", token.reveal())))
            }
            (_, Some(Login::Password { user, password })) if challenges.contains(&Challenge::Basic) => {
                Ok(basic(&user, &password))
            }
            (_, None) if challenges.contains(&Challenge::Basic) => {
                Err(anyhow!(self.about_logins("asks for a login, and there is none for it")))
            }
            _ => Err(anyhow!("{} asks for a login of a kind that is not known here", registry.origin.url())),
        }
    }

    /// Where a login was looked for.
    pub(super) fn about_logins(&self, what: &str) -> String {
        let files = login::files(&self.registry.settings.variables);
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let authority = &self.registry.origin.authority;
        format!("{authority} {what} (in {}); run `podman login {authority}`", files.join(", "))
    }

    /// A token from the token server: for what we are about to do, and for what the registry says besides.
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Secret> {
        let realm: Uri = realm.parse().with_context(|| self.about_realm("no URL"))?;
        self.registry.allow(&realm).with_context(|| self.about_realm("not safe to ask"))?;
        let own = format!("repository:{}:{}", self.registry.repository, self.actions);
        let mut fields: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        let mut headers = HeaderMap::new();
        headers.insert("Accept", HeaderValue::from_static("application/json"));
        let (method, uri, body) = match login {
            Some(Login::Identity(token)) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "xtask"),
                    ("refresh_token", token.reveal()),
                    ("scope", &own),
                ]);
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert("Content-Type", form);
                (Method::POST, realm, query(&fields))
            }
            _ => {
                fields.push(("scope", &own));
                fields.extend(scope.filter(|scope| *scope != own).map(|scope| ("scope", scope)));
                let separator = if realm.query().is_some() { '&' } else { '?' };
                let uri = format!("{realm}{separator}{}", query(&fields)).parse()?;
                (Method::GET, uri, String::new())
            }
        };
        let authorization = match login {
            Some(Login::Password { user, password }) => Some(basic(user, password)),
            _ => None,
        };
        let content = if body.is_empty() { Content::Nothing } else { Content::Bytes(body.as_bytes()) };
        let ask = Ask { method, uri, headers, content, bytes: 0 };
        // Redirects are not followed: there is a login in the request.
        let answer = retry(&self.registry.settings, || {
            let mut response = self.send_once(&ask, &ask.uri, authorization.as_ref())?;
            match response.status() {
                StatusCode::OK => {
                    let read = response.body_mut().with_config().limit(TOKEN_LIMIT).read_to_vec();
                    read.map_err(|error| self.failure(error, &ask, &ask.uri))
                }
                _ => Err(self.unexpected(&ask.method, &ask.uri, response)),
            }
        });
        let answer = answer.map_err(|error| match login {
            Some(_) => error.context(self.about_logins("gives no token for our login")),
            None => {
                error.context(self.about_logins("gives no token without a login, and there is none for it"))
            }
        })?;
        // serde's own words may quote what it read.
        let answer: Option<Answer> = serde_json::from_slice(&answer).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.with_context(|| format!("{} answers without a token", shown(&ask.uri)))?;
        self.keep_secret(&token);
        Ok(token)
    }

    fn about_realm(&self, what: &str) -> String {
        format!("{} names a token server that is {what}", self.registry.origin.url())
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", encoded(user, password).reveal()))
}

fn encoded(user: &str, password: &Secret) -> Secret {
    Secret::new(BASE64.encode(format!("{user}:{}", password.reveal())))
}

/// `name=value&…`
fn query(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}
