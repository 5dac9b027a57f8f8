//! Who may speak HTTP with us: a program that was given the token, never a web page.
//!
//! What it is for: a browser can be made to send requests to loopback, under a name that it resolves there (DNS
//! rebinding) or from any page. What it owns: the check of Host, Origin and token, before anything is read. What it
//! never does: say which of its checks a token failed.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use meanwhile_api::{ApiError, ErrorCode};

/// The secret that every request carries.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The text that clients send as `Authorization: Bearer TEXT`; at least 256 bits in 64 hexadecimal digits.
    /// None when it is anything else, so that a damaged file never opens a door.
    pub fn new(text: &str) -> Option<Token> {
        let whole = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then(|| Token(text.to_owned()))
    }

    /// Draws a new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw() -> Result<Token, ApiError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("draw a random token: {error}"))
        })?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// For the owner-only file, and nowhere else.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Compares in a time that depends on nothing secret.
    fn is(&self, other: &[u8]) -> bool {
        let ours = self.0.as_bytes();
        if ours.len() != other.len() {
            return false;
        }
        let different = ours.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(different) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The name it was sent to is not ours.
    Host,
    /// A page sent it that we have not made.
    Origin,
    /// No token, or a wrong one.
    Token,
}

/// The names under which a port of loopback is reached.
pub(crate) fn names(port: u16) -> [String; 3] {
    [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")]
}

/// The origins of pages that this port itself would serve.
pub(crate) fn origins(port: u16) -> [String; 3] {
    names(port).map(|name| format!("http://{name}"))
}

/// Lets a request through or says why not. `authority`: where the request line names a host. Without a token (in the
/// build for the conformance suite alone) it is not asked for.
pub(crate) fn check(
    headers: &HeaderMap,
    authority: Option<&str>,
    port: u16,
    token: Option<&Token>,
) -> Result<(), Refused> {
    let host = only(headers, &HOST).flatten();
    let ours = |name: &str| names(port).iter().any(|own| own.eq_ignore_ascii_case(name));
    if !host.is_some_and(ours) || !authority.is_none_or(ours) {
        return Err(Refused::Host);
    }
    match only(headers, &ORIGIN) {
        Some(None) => {}
        Some(Some(origin)) if origins(port).iter().any(|own| own.eq_ignore_ascii_case(origin)) => {}
        Some(Some(_)) | None => return Err(Refused::Origin),
    }
    let Some(token) = token else { return Ok(()) };
    let bearer = only(headers, &AUTHORIZATION).flatten().and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    match bearer {
        Some(secret) if token.is(secret.as_bytes()) => Ok(()),
        Some(_) | None => Err(Refused::Token),
    }
}

/// The one value of a header, or that it is absent; none when there are several or it is not text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn checked(pairs: &[(HeaderName, &str)]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        check(&headers, None, 7777, Token::new(SECRET).as_ref())
    }

    fn bearer() -> (HeaderName, &'static str) {
        (
            AUTHORIZATION,
            concat!("Bearer ", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        )
    }

    #[test]
    fn only_loopback_names_with_our_port_are_served() {
        for host in ["127.0.0.1:7777", "localhost:7777", "LOCALHOST:7777", "[::1]:7777"] {
            assert_eq!(checked(&[(HOST, host), bearer()]), Ok(()), "{host}");
        }
        for host in [
            "127.0.0.1",
            "localhost",
            "127.0.0.1:7778",
            "localhost:77770",
            "localhost.:7777",
            "0.0.0.0:7777",
            "evil.example",
            "evil.example:7777",
            "127.0.0.1.evil.example:7777",
            "127.0.0.2:7777",
            "[::]:7777",
            "",
            "localhost:7777@evil.example",
        ] {
            assert_eq!(checked(&[(HOST, host), bearer()]), Err(Refused::Host), "{host}");
        }
        assert_eq!(checked(&[bearer()]), Err(Refused::Host), "none at all");
        let two = [(HOST, "127.0.0.1:7777"), (HOST, "evil.example"), bearer()];
        assert_eq!(checked(&two), Err(Refused::Host), "two of them");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "127.0.0.1:7777".parse().unwrap());
        let token = Token::new(SECRET).unwrap();
        assert_eq!(check(&headers, Some("evil.example"), 7777, Some(&token)), Err(Refused::Host));
    }

    #[test]
    fn only_pages_of_our_own_are_served_and_programs_that_send_no_origin() {
        let host = (HOST, "127.0.0.1:7777");
        for origin in ["http://127.0.0.1:7777", "http://localhost:7777", "http://[::1]:7777"] {
            assert_eq!(checked(&[host.clone(), (ORIGIN, origin), bearer()]), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1:7778",
            "https://127.0.0.1:7777",
            "http://localhost",
            "file://",
            "http://localhost:7777.evil.example",
        ] {
            let found = checked(&[host.clone(), (ORIGIN, origin), bearer()]);
            assert_eq!(found, Err(Refused::Origin), "{origin}");
        }
        let two =
            [host, (ORIGIN, "http://127.0.0.1:7777"), (ORIGIN, "http://evil.example"), bearer()];
        assert_eq!(checked(&two), Err(Refused::Origin));
    }

    #[test]
    fn every_other_token_is_refused() {
        let host = (HOST, "127.0.0.1:7777");
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic abc",
            "Bearer 0123",
            &format!("Bearer {SECRET}0"),
            &format!("Bearer {}", SECRET.replace('f', "e")),
            SECRET,
        ] {
            assert_eq!(
                checked(&[host.clone(), (AUTHORIZATION, value)]),
                Err(Refused::Token),
                "{value}"
            );
        }
        assert_eq!(checked(std::slice::from_ref(&host)), Err(Refused::Token));
        let value = format!("bearer {SECRET}");
        assert_eq!(checked(&[host, (AUTHORIZATION, &value)]), Ok(()), "the scheme has no case");
        for bad in ["", "short", &"x".repeat(64), &"a".repeat(65)] {
            assert!(Token::new(bad).is_none(), "{bad}");
        }
    }
}
