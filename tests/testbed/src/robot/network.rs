//! What a failover object is about: a single address, or a subnet that is switched as a whole.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, named by its first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) ip: IpAddr,
    prefix: u8,
}

impl Network {
    /// Without a prefix length, a single IPv4 address or an IPv6 /64.
    pub(super) fn new(ip: IpAddr, prefix: Option<u8>) -> io::Result<Network> {
        let (usual, max) = match ip {
            IpAddr::V4(_) => (32, 32),
            IpAddr::V6(_) => (64, 128),
        };
        let prefix = prefix.unwrap_or(usual);
        if prefix > max {
            return Err(invalid(format!("{ip}/{prefix}: the prefix is too long")));
        }
        let network = Network { ip, prefix };
        if prefix != usual && network.first_address() != ip {
            let first = network.first_address();
            return Err(invalid(format!("{ip}/{prefix}: write {first}/{prefix}")));
        }
        Ok(network)
    }

    /// Whether a request for this address is about this network. An IPv6 subnet is only known by
    /// its network address.
    pub(super) fn is_named_by(&self, ip: IpAddr) -> bool {
        let contains = match (self.netmask(), self.ip, ip) {
            (IpAddr::V4(mask), IpAddr::V4(network), IpAddr::V4(ip)) => ip & mask == network,
            _ => false,
        };
        contains || self.ip == ip
    }

    pub(super) fn netmask(&self) -> IpAddr {
        let hosts = |bits: u8| u32::from(bits - self.prefix);
        match self.ip {
            IpAddr::V4(_) => {
                let mask = u32::MAX.checked_shl(hosts(32)).unwrap_or(0);
                Ipv4Addr::from_bits(mask).into()
            }
            IpAddr::V6(_) => {
                let mask = u128::MAX.checked_shl(hosts(128)).unwrap_or(0);
                Ipv6Addr::from_bits(mask).into()
            }
        }
    }

    fn first_address(&self) -> IpAddr {
        match (self.ip, self.netmask()) {
            (IpAddr::V4(ip), IpAddr::V4(mask)) => (ip & mask).into(),
            (IpAddr::V6(ip), IpAddr::V6(mask)) => (ip & mask).into(),
            _ => self.ip, // A netmask is of its address's family.
        }
    }
}

pub(super) fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn netmasks_follow_from_prefix_lengths() {
        for (address, prefix, mask) in [
            ("4.4.4.4", None, "255.255.255.255"),
            ("4.4.4.0", Some(29), "255.255.255.248"),
            ("4.4.4.0", Some(24), "255.255.255.0"),
            ("0.0.0.0", Some(0), "0.0.0.0"),
            ("2a01:4f8:fff1::", None, "ffff:ffff:ffff:ffff::"),
            ("2a01:4f8:fff1::", Some(56), "ffff:ffff:ffff:ff00::"),
        ] {
            let network = Network::new(ip(address), prefix).unwrap();
            assert_eq!(network.netmask(), ip(mask), "{address} {prefix:?}");
        }
    }

    #[test]
    fn a_subnet_is_named_by_its_network_address() {
        for (address, prefix, reason) in [
            ("4.4.4.4", 29, "4.4.4.4/29: write 4.4.4.0/29"),
            ("4.4.4.4", 33, "too long"),
            ("2a01::1", 129, "too long"),
        ] {
            let error = Network::new(ip(address), Some(prefix)).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn every_address_of_an_ipv4_subnet_names_it() {
        let subnet = Network::new(ip("4.4.4.8"), Some(29)).unwrap();
        for (address, is_inside) in [
            ("4.4.4.7", false),
            ("4.4.4.8", true),
            ("4.4.4.15", true),
            ("4.4.4.16", false),
            ("::", false),
        ] {
            assert_eq!(subnet.is_named_by(ip(address)), is_inside, "{address}");
        }
        let six = Network::new(ip("2a01:4f8:fff1::"), None).unwrap();
        assert!(six.is_named_by(ip("2a01:4f8:fff1::")));
        assert!(!six.is_named_by(ip("2a01:4f8:fff1::1")));
    }
}
