//! The address of a webhook as it is written.
//!
//! Owns what may be written: https to anywhere, http to this machine alone, no user names or passwords, no control
//! characters. Its path may be a secret (many services put their token there): only [`WebhookUrl::place`] is for
//! messages.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// The longest that is taken.
const MAX_BYTES: usize = 2_000;

/// The address of a webhook.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    uri: Uri,
    host: Host,
}

/// Where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// This machine, by its own names.
    Loopback,
    /// Another address, as a number.
    Address(IpAddr),
    /// A name, to be looked up.
    Name,
}

/// Why it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(&'static str);

impl WebhookUrl {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not repeat it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_BYTES {
            return Err(UrlError("an address has more than 2,000 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError("an address has a space or a control character"));
        }
        let uri: Uri = text.parse().map_err(|_| UrlError("it is not the address of a web page"))?;
        let Some(authority) = uri.authority() else {
            return Err(UrlError("it names no machine; for example https://example.com/hook"));
        };
        if authority.as_str().contains('@') {
            return Err(UrlError(
                "a user name or password in an address is not sent: leave it out",
            ));
        }
        if authority.as_str().ends_with(':') || authority.port_u16() == Some(0) {
            return Err(UrlError("its port is none"));
        }
        let host = host_of(authority.host());
        match (uri.scheme_str(), host) {
            (Some("https"), _) | (Some("http"), Host::Loopback) => Ok(Self { uri, host }),
            (Some("http"), _) => {
                Err(UrlError("http goes to this machine alone (127.0.0.1, [::1]): use https"))
            }
            _ => Err(UrlError("it begins with neither https:// nor http://")),
        }
    }

    /// Scheme, machine and port: what may be said of it.
    #[must_use]
    pub fn place(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}")
    }

    /// What tells it from others without telling what it is.
    #[must_use]
    pub fn print(&self) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.uri.to_string().as_bytes());
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) const fn host(&self) -> Host {
        self.host
    }
}

fn host_of(text: &str) -> Host {
    // `localhost` is a name that no server of names may answer for (RFC 6761); it is looked up all the same, and
    // what comes of it must be loopback.
    if text.eq_ignore_ascii_case("localhost") {
        return Host::Loopback;
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Host::Loopback,
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name,
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place())
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_anywhere_and_http_to_this_machine() {
        for good in [
            "https://example.com/hook?x=1",
            "https://10.0.0.1:8443/",
            "http://127.0.0.1:8080/x",
            "http://[::1]:8080/",
            "http://localhost:9/",
            "HTTPS://example.com",
        ] {
            assert!(WebhookUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.com/hook",
            "/hook",
            "http://example.com/",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://0/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user:password@example.com/",
            "http://localhost@example.com/",
            "https://example.com/a b",
            "https://example.com/\r\nX: y",
            "https://example.com:0/",
            "https://",
        ] {
            assert!(WebhookUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(WebhookUrl::parse(&format!("https://example.com/{}", "x".repeat(2_000))).is_err());
    }

    #[test]
    fn what_is_said_of_an_address_is_without_its_path() {
        let url = WebhookUrl::parse("https://hooks.example.com:8443/services/T0/B1/secret?key=z");
        let url = url.unwrap();
        assert_eq!(url.place(), "https://hooks.example.com:8443");
        assert_eq!(format!("{url:?}"), url.place());
    }
}
