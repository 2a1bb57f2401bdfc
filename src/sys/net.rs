//! This host's addresses, as the kernel has them.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of one of this host's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    pub interface: String,
    pub address: IpAddr,
}

/// All addresses of this host's interfaces.
///
/// # Errors
/// The kernel does not tell.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is ours, and freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: a list of the C library's, which ends with a null pointer.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: as above; names are C strings, and an address is null or one of its family.
        let (name, address) = unsafe { (CStr::from_ptr(entry.ifa_name), ip(entry.ifa_addr)) };
        if let Some(address) = address {
            found.push(InterfaceAddress {
                interface: name.to_string_lossy().into_owned(),
                address,
            });
        }
        next = entry.ifa_next;
    }
    // SAFETY: given back once.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
/// A socket address as large as its family's, or null.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let address = &*address.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let address = &*address.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let found = interface_addresses().unwrap();
        let loopback = found.iter().find(|found| found.address.is_loopback());
        assert_eq!(loopback.unwrap().interface, "lo");
    }
}
