//! The URL of a JSON-RPC endpoint.

use std::fmt;

use hyper::Uri;

/// Most characters of a URL.
const MOST: usize = 512;

/// An http or https URL. It may hold its user's key at the provider, so that only its host and port are ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// Not the URL of an endpoint. The URL itself is not repeated: it may hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an endpoint is http://host[:port][/path] or https://…, of at most {MOST} characters, without user and fragment"
)]
pub struct BadUrl;

impl Url {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        if text.len() > MOST || text.contains(['#', '@']) || !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(BadUrl);
        }
        let uri: Uri = text.parse().map_err(|_| BadUrl)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BadUrl),
        };
        let authority = uri.authority().ok_or(BadUrl)?;
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => {
                if secure {
                    443
                } else {
                    80
                }
            }
            _ => authority.port_u16().ok_or(BadUrl)?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = bare(authority.host());
        if host.is_empty() || port == 0 {
            return Err(BadUrl);
        }
        let (authority, path) = (authority.as_str().to_owned(), path.to_owned());
        Ok(Self { text: text.to_owned(), secure, host, port, authority, path })
    }

    /// As it was written, for the one file that it came from and goes back to.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host and port that it is called by.
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The port that is dialled: what the sandbox must allow.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is asked over TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_endpoints_are_taken_apart() {
        for (text, name, secure, path) in [
            ("http://127.0.0.1:8545", "127.0.0.1:8545", false, "/"),
            ("https://mainnet.example.org/v3/0123", "mainnet.example.org:443", true, "/v3/0123"),
            ("http://[::1]:8545/", "[::1]:8545", false, "/"),
            ("http://node/?key=1", "node:80", false, "/?key=1"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.name().as_str(), url.is_secure(), url.path()), (name, secure, path));
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn what_is_no_url_of_an_endpoint_is_refused() {
        for text in [
            "",
            "/",
            "localhost:8545",
            "ws://a",
            "http://",
            "http:///x",
            "http://a:0",
            "http://a:70000",
            "http://a:",
            "http://user:word@a",
            "http://a#b",
            "http://a b",
            "ftp://a",
            "http://é",
        ] {
            assert_eq!(Url::parse(text), Err(BadUrl), "{text}");
        }
        assert!(Url::parse(&format!("http://a/{}", "x".repeat(600))).is_err());
    }

    #[test]
    fn a_url_is_shown_without_the_key_that_it_may_hold() {
        assert_eq!(format!("{:?}", Url::parse("https://a.example/v3/secret").unwrap()), "a.example:443");
    }
}
