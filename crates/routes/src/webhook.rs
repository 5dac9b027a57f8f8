//! One delivery by HTTP.
//!
//! Owns the request: its headers, its time, and the address it goes to. A name is looked up once, all its addresses are
//! judged, and the connection is made to one of those that were judged. No redirect is followed, no proxy is used, and of
//! the answer only the status is believed; a little of the rest is read so that the connection ends well.

use std::io::{self, Read};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::Failure;
use crate::address::{Reach, reach};
use crate::secret::Secret;
use crate::signature::sign;
use crate::url::{Host, WebhookUrl};

/// Bytes of an answer's head.
const HEAD_BYTES: usize = 16 << 10;
/// Bytes of an answer's body that are read before the connection is dropped.
const BODY_BYTES: u64 = 4 << 10;

/// Whether machines of a private network may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Machines of the public network, and loopback where it is named.
    Public,
    /// Those of private networks as well.
    Private,
}

/// What is sent.
#[derive(Debug)]
pub struct Post<'a> {
    /// The same for every time it is sent: by it the receiver knows what it has.
    pub id: &'a str,
    /// Seconds since 1970, now.
    pub timestamp: i64,
    /// JSON.
    pub body: &'a [u8],
    /// Unsigned without one.
    pub secret: Option<&'a Secret>,
    /// As which program we come.
    pub user_agent: &'a str,
    /// For all of it.
    pub time: Duration,
}

/// Sends it once; the status of the answer, which is one of success.
///
/// # Errors
/// Why it has not arrived, and whether it is worth another try.
pub fn post(url: &WebhookUrl, trust: Trust, what: &Post<'_>) -> Result<u16, Failure> {
    let Post { id, timestamp, body, secret, user_agent, time } = what;
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy would look the name up anew, and connect to what it finds.
        .proxy(None)
        .timeout_global(Some(*time))
        .max_response_header_size(HEAD_BYTES)
        .user_agent(*user_agent)
        .tls_config(tls)
        .build();
    let resolver = Judge { host: url.host(), trust };
    let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
    let mut request = agent
        .post(url.uri().clone())
        .header("content-type", "application/json")
        .header("webhook-id", *id)
        .header("webhook-timestamp", timestamp.to_string());
    if let Some(secret) = secret {
        request = request.header("webhook-signature", sign(secret, id, *timestamp, body));
    }
    let mut answer = request.send(*body).map_err(|error| failure(&error))?;
    let status = answer.status().as_u16();
    // Read to be polite, and no further; what went wrong with it changes nothing.
    let _rest = io::copy(&mut answer.body_mut().as_reader().take(BODY_BYTES), &mut io::sink());
    match status {
        200..=299 => Ok(status),
        300..=399 => {
            Err(Failure::Lasting(format!("answered {status}: redirects are not followed")))
        }
        // Not now: too many requests, too early, or the receiver itself ran out of time.
        408 | 425 | 429 | 500..=599 => Err(Failure::Passing(format!("answered {status}"))),
        _ => Err(Failure::Lasting(format!("answered {status}"))),
    }
}

/// Looks a name up and judges what it finds.
#[derive(Debug)]
struct Judge {
    host: Host,
    trust: Trust,
}

impl Resolver for Judge {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let refused = found.iter().find(|address| !self.may_reach(reach(address.ip())));
        match refused {
            None => Ok(found),
            Some(address) => Err(Error::Io(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} is no address to send to{}", address.ip(), self.advice(address.ip())),
            ))),
        }
    }
}

impl Judge {
    fn may_reach(&self, reach: Reach) -> bool {
        match (self.host, reach) {
            (Host::Loopback, reach) => reach == Reach::Loopback,
            (_, Reach::Public) => true,
            (_, Reach::Private) => self.trust == Trust::Private,
            (_, Reach::Loopback | Reach::Never) => false,
        }
    }

    fn advice(&self, address: std::net::IpAddr) -> &'static str {
        match (self.host, reach(address)) {
            (Host::Address(_) | Host::Name, Reach::Private) => {
                " (private network: notify.webhook.private allows it)"
            }
            _ => "",
        }
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Failure::Lasting(format!("refused: {error}"))
        }
        Error::Timeout(_) => Failure::Passing("no answer in time".into()),
        Error::HostNotFound => Failure::Passing("its name was not found".into()),
        Error::Io(error) => Failure::Passing(format!("no connection: {error}")),
        Error::BadUri(_) | Error::Http(_) => Failure::Lasting("it is no address".into()),
        // Certificates are renewed, servers repaired. Their words may repeat the address: only their kind is said.
        other => Failure::Passing(kind(other).into()),
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Tls(_) | Error::Rustls(_) => "no trusted connection (TLS)",
        Error::ConnectionFailed => "no connection",
        Error::Protocol(_) => "its answer is not HTTP",
        Error::LargeResponseHeader(..) => "the head of its answer is too long",
        _ => "the exchange broke off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(url: &str, trust: Trust, address: &str) -> bool {
        let url = WebhookUrl::parse(url).unwrap();
        Judge { host: url.host(), trust }.may_reach(reach(address.parse().unwrap()))
    }

    #[test]
    fn a_name_must_not_lead_into_this_machine_or_this_network() {
        let name = "https://example.com/";
        assert!(allowed(name, Trust::Public, "1.1.1.1"));
        for inside in ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0"] {
            assert!(!allowed(name, Trust::Public, inside), "{inside}");
            assert!(!allowed(name, Trust::Private, inside), "{inside}");
        }
        for private in ["10.0.0.1", "192.168.0.1", "fd00::1", "100.64.1.1"] {
            assert!(!allowed(name, Trust::Public, private), "{private}");
            assert!(allowed(name, Trust::Private, private), "{private}");
        }
        assert!(allowed("http://localhost:1/", Trust::Public, "127.0.0.1"));
        assert!(!allowed("http://localhost:1/", Trust::Private, "1.1.1.1"));
    }

    #[test]
    fn an_address_that_is_refused_is_not_tried_again() {
        let url = WebhookUrl::parse("https://10.1.2.3/hook").unwrap();
        let what = Post {
            id: "d",
            timestamp: 1,
            body: b"{}",
            secret: None,
            user_agent: "meanwhile",
            time: Duration::from_secs(5),
        };
        let Err(Failure::Lasting(text)) = post(&url, Trust::Public, &what) else {
            panic!("a private address was tried");
        };
        assert!(text.contains("10.1.2.3") && text.contains("notify.webhook.private"), "{text}");
    }
}
