//! What `GET /node-details` answers: the current set in the shape that fetch-node-details 16 reads.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use crate::registry::{Member, Set};

/// How members' interfaces are reached by the clients that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS: what browsers need.
    Https,
    /// Without, for a network on one machine.
    Http,
}

/// The body for a set, JSON. A member whose `declaredIp` is no `host[:port]` is left out, since nobody could reach it; the
/// others keep their indices.
pub fn node_details(set: &Set, scheme: Scheme) -> Vec<u8> {
    let prefix = match scheme {
        Scheme::Https => "https://",
        Scheme::Http => "http://",
    };
    let reached: Vec<&Member> = set.members().iter().filter(|member| is_host(member.reach.http.as_str())).collect();
    let endpoints: Vec<Value> =
        reached.iter().map(|member| format!("{prefix}{}/jrpc", member.reach.http).into()).collect();
    let keys: Vec<Value> = reached.iter().map(|member| key(member)).collect();
    let indices: Vec<u8> = reached.iter().map(|member| member.index.get()).collect();
    // The last two are services that this network does not have.
    let details = json!({
        "currentEpoch": set.epoch().to_string(),
        "torusNodeEndpoints": endpoints,
        "torusNodeSSSEndpoints": endpoints,
        "torusNodeRSSEndpoints": [],
        "torusNodeTSSEndpoints": [],
        "torusNodePub": keys,
        "torusIndexes": indices,
        "updated": true,
    });
    json!({ "nodeDetails": details }).to_string().into_bytes()
}

fn key(member: &Member) -> Value {
    let xy = member.identity.to_xy();
    let (x, y) = xy.split_at(32);
    json!({"X": hex::encode(x), "Y": hex::encode(y)})
}

/// A name, an IPv4 address or an IPv6 address in brackets, and a port if there is one.
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        let inner = label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use torus_statement::{Index, Point, Sizes};

    use super::*;
    use crate::address::{Address, Text};
    use crate::registry::Reach;

    fn set(hosts: [&str; 5]) -> Set {
        let member = |(number, host): (u8, &str)| {
            let key = k256::ProjectivePoint::GENERATOR * k256::Scalar::from(u64::from(number));
            let text = |text: &str| Text::new(text).unwrap();
            Member {
                index: Index::new(number).unwrap(),
                account: Address::new([number; 20]).unwrap(),
                identity: Point::new(&key).unwrap(),
                reach: Reach { http: text(host), bft: text("/ip4/192.0.2.1/tcp/1"), p2p: text("/ip4/192.0.2.1/tcp/2") },
            }
        };
        Set::new(7, Sizes::new(5, 3, 1).unwrap(), (1..).zip(hosts).map(member).collect()).unwrap()
    }

    fn details(set: &Set, scheme: Scheme) -> Value {
        let body: Value = serde_json::from_slice(&node_details(set, scheme)).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1);
        body["nodeDetails"].clone()
    }

    #[test]
    fn every_field_is_as_the_client_reads_it() {
        let set = set(["one.example.org", "two.example.org:8443", "192.0.2.3", "192.0.2.4:443", "[2001:db8::5]:443"]);
        let details = details(&set, Scheme::Https);
        assert_eq!(details.as_object().unwrap().len(), 8);
        assert_eq!(details["currentEpoch"], "7");
        assert_eq!(details["updated"], true);
        assert_eq!(details["torusIndexes"], json!([1, 2, 3, 4, 5]));
        let endpoints = json!([
            "https://one.example.org/jrpc",
            "https://two.example.org:8443/jrpc",
            "https://192.0.2.3/jrpc",
            "https://192.0.2.4:443/jrpc",
            "https://[2001:db8::5]:443/jrpc"
        ]);
        assert_eq!(details["torusNodeEndpoints"], endpoints);
        assert_eq!(details["torusNodeSSSEndpoints"], endpoints);
        assert_eq!(details["torusNodeRSSEndpoints"], json!([]));
        assert_eq!(details["torusNodeTSSEndpoints"], json!([]));
        assert_eq!(
            details["torusNodePub"][0],
            json!({
                "X": "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
                "Y": "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
            })
        );
        assert_eq!(
            details["torusNodePub"][1],
            json!({
                "X": "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
                "Y": "1ae168fea63dc339a3c58419466ceaeef7f632653266d0e1236431a950cfe52a"
            })
        );
        assert_eq!(details["torusNodePub"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn a_network_on_one_machine_is_reached_without_tls() {
        let set = set(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5"]);
        assert_eq!(details(&set, Scheme::Http)["torusNodeEndpoints"][4], "http://127.0.0.1:5/jrpc");
    }

    #[test]
    fn who_is_at_no_host_is_left_out_and_the_others_keep_their_indices() {
        let set = set(["one", "\"><script>", "user@three", "four/jrpc?", "five:0"]);
        let details = details(&set, Scheme::Https);
        assert_eq!(details["torusIndexes"], json!([1]));
        assert_eq!(details["torusNodeEndpoints"], json!(["https://one/jrpc"]));
        assert_eq!(details["torusNodePub"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn hosts_are_told_from_other_texts() {
        for host in ["a", "a-b.c", "1.2.3.4", "a:1", "[::1]", "[::1]:65535"] {
            assert!(is_host(host), "{host}");
        }
        for text in
            ["", ".", "a.", "-a", "a:", "a:x", "a:+1", "a:65536", "::1", "[::1", "[a]", "[::1]1", "a_b", "a/b", "a:1:2"]
        {
            assert!(!is_host(text), "{text}");
        }
    }
}
