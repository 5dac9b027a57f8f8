//! Which addresses a webhook may go to.
//!
//! Owns the table of ranges. A name that leads to a machine of this network, or to the place where a cloud keeps its
//! credentials, is the oldest way to make a program ask what its user may not: all addresses of a name must be public,
//! or none is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This machine.
    Loopback,
    /// A machine of somebody's own network.
    Private,
    /// Anywhere.
    Public,
    /// What nobody is to be reached at: link-local (cloud metadata is there), multicast, reserved.
    Never,
}

pub(crate) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [127, ..] => Reach::Loopback,
        [10, ..] | [192, 168, ..] => Reach::Private,
        [172, b, ..] if (16..32).contains(&b) => Reach::Private,
        // Shared address space of providers, also used by overlay networks (RFC 6598).
        [100, b, ..] if (64..128).contains(&b) => Reach::Private,
        // "This network", link-local, IETF protocol assignments, the former 6to4 relays, benchmarks,
        // documentation, multicast and reserved (RFC 6890).
        [0, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => Reach::Never,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Loopback;
    }
    if let Some(inner) = embedded(address) {
        // Loopback in another notation is a trick, not an address.
        return match reach_v4(inner) {
            Reach::Loopback => Reach::Never,
            other => other,
        };
    }
    match address.segments() {
        [first, ..] if first & 0xfe00 == 0xfc00 => Reach::Private,
        // Documentation and the Teredo and ORCHID ranges, which carry other addresses.
        [0x2001, second, ..] if second == 0x0db8 || second < 0x0200 => Reach::Never,
        // Global unicast is all of 2000::/3 and nothing else.
        [first, ..] if first & 0xe000 == 0x2000 => Reach::Public,
        _ => Reach::Never,
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff | 0) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(v4(g, h)),
        // 64:ff9b:1::/48 is for a network's own translators.
        (0x64, 0xff9b, 1, ..) => Some(v4(g, h)),
        (0x2002, ..) => Some(v4(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_network_are_public() {
        for (text, expected) in [
            ("127.0.0.1", Reach::Loopback),
            ("127.255.0.9", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.128.0.1", Reach::Public),
            ("fd00::1", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("192.0.2.1", Reach::Never),
            ("198.18.0.1", Reach::Never),
            ("::", Reach::Never),
            ("fe80::1", Reach::Never),
            ("fec0::1", Reach::Never),
            ("ff02::1", Reach::Never),
            ("::ffff:127.0.0.1", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("::ffff:10.0.0.1", Reach::Private),
            ("::127.0.0.1", Reach::Never),
            ("64:ff9b::7f00:1", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("64:ff9b:1::a00:1", Reach::Private),
            ("2002:7f00:1::", Reach::Never),
            ("2002:a9fe:a9fe::1", Reach::Never),
            ("2001:db8::1", Reach::Never),
            ("2001:0:1::1", Reach::Never),
            ("2606:4700::1111", Reach::Public),
            ("1.1.1.1", Reach::Public),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }
}
