//! Durations, sizes and networks as they are written in a configuration.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Reads `"2 min"`, `"500 ms"`, `"1 d"`: a whole number and a unit out of
/// `ms s min h d`. At most 100 years.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a whole number and one of ms, s, min, h, d, as in \"2 min\"";
    let text = text.trim();
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..end].parse().map_err(|_| EXPECTED.to_owned())?;
    let unit = match text[end..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(EXPECTED.to_owned()),
    };
    let millis = number.saturating_mul(unit);
    if millis > 100 * 366 * 86_400_000 {
        return Err("expected at most 100 years".to_owned());
    }
    Ok(Duration::from_millis(millis))
}

/// Reads `"64 MiB"`, `"10 KiB"`, `"512 B"`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a whole number and one of B, KiB, MiB, GiB, as in \"64 MiB\"";
    let text = text.trim();
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..end].parse().map_err(|_| EXPECTED.to_owned())?;
    let shift = match text[end..].trim() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(EXPECTED.to_owned()),
    };
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| EXPECTED.to_owned())
}

/// A duration as a configuration value.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Span).map_err(de::Error::custom)
    }
}

/// A number of bytes as a configuration value: a number or `"64 MiB"`.
#[derive(Clone, Copy)]
pub(crate) struct Size(pub(crate) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or a text as in \"64 MiB\"")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Size, E> {
                u64::try_from(v)
                    .map(Size)
                    .map_err(|_| E::custom("expected a number of bytes that is not negative"))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Size, E> {
                Ok(Size(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Size, E> {
                size(v).map(Size).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A network in CIDR notation, `"10.0.0.0/8"` or `"::1/128"`; a bare address
/// stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of all addresses that share the first `prefix` bits with
    /// `address`; `None` when there are not that many bits.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether `other` lies within. An IPv4 address mapped into IPv6 counts
    /// as the IPv4 address that it is.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let other = other.to_canonical();
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same_prefix(a.to_bits().into(), b.to_bits().into(), 32 - self.prefix)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                same_prefix(a.to_bits(), b.to_bits(), 128 - self.prefix)
            }
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, tail: u8) -> bool {
    (a ^ b).checked_shr(tail.into()).unwrap_or(0) == 0
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.as_str(), None),
        };
        let address: Option<IpAddr> = address.parse().ok();
        address
            .and_then(|address| {
                let prefix = match prefix {
                    Some(prefix) => prefix.parse().ok()?,
                    None if address.is_ipv4() => 32,
                    None => 128,
                };
                Self::new(address, prefix)
            })
            .ok_or_else(|| de::Error::custom("expected a network as in \"10.0.0.0/8\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("2 min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in [
            "",
            "2",
            "min",
            "-1 s",
            "1.5 s",
            "1 y",
            "99999999999999999999 s",
            "999999999 d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert!(size("99999999999999999 GiB").is_err());
    }

    #[test]
    fn networks() {
        let net = Network::new("127.0.0.0".parse().unwrap(), 8).unwrap();
        assert!(net.contains("127.9.9.9".parse().unwrap()));
        assert!(net.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!net.contains("128.0.0.1".parse().unwrap()));
        let all = Network::new("0.0.0.0".parse().unwrap(), 0).unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        assert!(Network::new("127.0.0.0".parse().unwrap(), 33).is_none());
    }
}
