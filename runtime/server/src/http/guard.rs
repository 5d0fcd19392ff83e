//! Who may speak to the API: a web page from elsewhere must not drive a local runtime. Knows no path.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Kind, Problem};

/// Who makes a request. There are no tokens yet: everybody who reaches the API is the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name, as it stands in the log.
    pub name: Arc<str>,
}

/// The hosts that the API answers to.
#[derive(Clone, Debug)]
pub struct Guard {
    listen: SocketAddr,
    hosts: Vec<String>,
    operator: Principal,
}

impl Guard {
    /// Answers to loopback names, to the address that it listens on, and to `hosts`. Beyond loopback also to any
    /// IP address: a name that an attacker points here is none.
    pub fn new(listen: SocketAddr, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { listen, hosts, operator: Principal { name: Arc::from("operator") } }
    }

    /// Checks `Host` and `Origin`.
    fn check(&self, headers: &HeaderMap, uri_authority: Option<&str>) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let one_host = hosts.next().is_none() && uri_authority.is_none_or(|authority| authority == host);
        if !one_host || !self.answers_to(host) {
            let detail =
                format!("this runtime does not answer to the host {host:?}; name it in `http.hosts`");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let same = origin.to_str().is_ok_and(|origin| {
                origin.strip_prefix("http://").is_some_and(|authority| authority.eq_ignore_ascii_case(host))
            });
            if !same {
                let detail = format!("requests from pages of the origin {origin:?} are refused");
                return Err(Problem::new(Kind::Forbidden, detail));
            }
        }
        Ok(())
    }

    fn answers_to(&self, authority: &str) -> bool {
        let host = without_port(authority).to_ascii_lowercase();
        if host == "localhost" || self.hosts.contains(&host) {
            return true;
        }
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        address
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip == self.listen.ip() || !self.listen.ip().is_loopback())
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Lets a request through if its host and origin are ours, and says who makes it.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    guard.check(request.headers(), authority.as_deref())?;
    request.extensions_mut().insert(guard.operator.clone());
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listen: &str, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        Guard::new(listen.parse().unwrap(), &["Mill.example".to_owned()]).check(&headers, None).is_ok()
    }

    const LOCAL: &str = "127.0.0.1:7070";

    #[test]
    fn loopback_and_named_hosts_are_answered() {
        for host in ["localhost", "localhost:7070", "127.0.0.1:7070", "[::1]:7070", "mill.example:80"] {
            assert!(check(LOCAL, host, None), "{host}");
        }
    }

    #[test]
    fn other_hosts_are_refused() {
        for host in ["", "evil.example", "evil.example:7070", "10.0.0.1:7070", "localhost.evil.example"] {
            assert!(!check(LOCAL, host, None), "{host}");
        }
        assert!(check("0.0.0.0:7070", "10.0.0.1:7070", None));
        assert!(!check("0.0.0.0:7070", "evil.example:7070", None));
    }

    #[test]
    fn only_our_own_pages_may_ask() {
        assert!(check(LOCAL, "localhost:7070", Some("http://localhost:7070")));
        for origin in ["http://evil.example", "http://localhost:3000", "null", "https://localhost:7070"] {
            assert!(!check(LOCAL, "localhost:7070", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_request_without_host_or_with_two_is_refused() {
        let guard = Guard::new(LOCAL.parse().unwrap(), &[]);
        let mut headers = HeaderMap::new();
        assert!(guard.check(&headers, None).is_err());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(guard.check(&headers, Some("evil.example")).is_err());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(guard.check(&headers, None).is_err());
    }
}
