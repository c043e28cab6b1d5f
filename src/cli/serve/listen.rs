//! Addresses to listen on, as operators write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Parses `IP:PORT`, or `localhost:PORT` for the loopback of IPv4. Other names may mean several addresses, or those of
/// another machine.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = || {
        let (host, port) = text.rsplit_once(':')?;
        let port = port
            .parse()
            .ok()
            .filter(|_| host.eq_ignore_ascii_case("localhost"))?;
        Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    };
    text.parse().ok().or_else(loopback).ok_or_else(|| {
        "give IP:PORT, such as 127.0.0.1:50051 or [::1]:50051, 0.0.0.0:50051 for all addresses of the machine, or \
         localhost:50051"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_or_localhost_and_others_are_told_what_is_taken() {
        for (text, expected) in [
            ("127.0.0.1:50051", "127.0.0.1:50051"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:50051", "127.0.0.1:50051"),
            ("LocalHost:1", "127.0.0.1:1"),
        ] {
            assert_eq!(listen_address(text).unwrap().to_string(), expected);
        }
        for text in [
            ":50051",
            "unix:/run/x",
            "localhost",
            "localhost:99999",
            "example.org:1",
            "::1:5",
            "",
        ] {
            let error = listen_address(text).unwrap_err();
            assert!(
                error.contains("0.0.0.0:50051") && error.contains("localhost:50051"),
                "{text}"
            );
        }
    }
}
