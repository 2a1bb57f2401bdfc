//! Alias IPs.
