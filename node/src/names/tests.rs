//! A name server of the test's own, by TCP, and the resolver that asks it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::place::Place;

type Zone = BTreeMap<Name, Vec<IpAddr>>;

pub(crate) struct Server {
    at: SocketAddr,
    known: Arc<Mutex<Zone>>,
    asked: Arc<AtomicUsize>,
    datagrams: UdpSocket,
}

impl Server {
    /// Knows these names. What else it is asked for does not exist; to `silent.test` it says nothing.
    pub(crate) async fn start(known: &[(&str, &[&str])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let datagrams = UdpSocket::bind(at).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let known = Arc::new(Mutex::new(zone(known)));
        let shared = Arc::clone(&known);
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (known, asked) = (Arc::clone(&shared), Arc::clone(&count));
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut question = vec![0; length.into()];
                        stream.read_exact(&mut question).await.unwrap();
                        asked.fetch_add(1, Ordering::SeqCst);
                        let known = known.lock().unwrap().clone();
                        if let Some(answer) = answer(&question, &known) {
                            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    }
                });
            }
        });
        Self { at, known, asked, datagrams }
    }

    /// From now on these names are all that there are.
    pub(crate) fn set(&self, known: &[(&str, &[&str])]) {
        *self.known.lock().unwrap() = zone(known);
    }

    pub(crate) fn names(&self) -> Names {
        Names::new(&[self.at]).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn no_datagram_came(&self) {
        let mut buffer = [0; 512];
        assert!(self.datagrams.try_recv_from(&mut buffer).is_err(), "a datagram came");
    }
}

fn zone(known: &[(&str, &[&str])]) -> Zone {
    let parse = |(name, ips): &(&str, &[&str])| {
        (Name::from_str(&format!("{name}.")).unwrap(), ips.iter().map(|ip| ip.parse().unwrap()).collect())
    };
    known.iter().map(parse).collect()
}

fn answer(question: &[u8], known: &Zone) -> Option<Vec<u8>> {
    let question = Message::from_bytes(question).unwrap();
    let query = question.queries().first().unwrap().clone();
    let mut answer = Message::new();
    answer.set_id(question.id()).set_message_type(MessageType::Response).set_recursion_available(true);
    if *query.name() == Name::from_str("silent.test.").unwrap() {
        return None;
    }
    let of_type = |ip: &&IpAddr| ip.is_ipv4() == (query.query_type() == RecordType::A);
    match known.get(query.name()) {
        None => drop(answer.set_response_code(ResponseCode::NXDomain)),
        Some(ips) => ips.iter().filter(of_type).for_each(|ip| {
            answer.add_answer(Record::from_rdata(query.name().clone(), 1, RData::from(*ip)));
        }),
    }
    answer.add_query(query);
    Some(answer.to_bytes().unwrap())
}

#[tokio::test]
async fn a_name_is_asked_for_by_tcp_once_and_its_answer_is_kept() {
    let server = Server::start(&[("one.test", &["192.0.2.9", "192.0.2.1", "2001:db8::1"])]).await;
    let names = server.names();
    let expected: Vec<IpAddr> =
        ["192.0.2.1", "192.0.2.9", "2001:db8::1"].into_iter().map(|ip| ip.parse().unwrap()).collect();
    for name in ["one.test", "one.test.", "ONE.test", "one.test"] {
        assert_eq!(names.resolve(name).await.unwrap(), expected, "{name}");
    }
    assert_eq!(server.asked(), 2, "once for each family");
    assert_eq!(names.ports(), [server.at.port()]);
    server.no_datagram_came();
}

#[tokio::test]
async fn an_address_is_its_own_name_and_what_is_no_name_is_not_asked_for() {
    let server = Server::start(&[]).await;
    let names = server.names();
    for ip in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(names.resolve(ip).await.unwrap(), [ip.parse::<IpAddr>().unwrap()]);
    }
    for name in ["", ".", "a..b", "*.test", "a b.test", &"a".repeat(64), &"a.".repeat(128)] {
        let error = names.resolve(name).await.unwrap_err().to_string();
        assert!(error.contains("no name"), "{error}");
    }
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn names_that_do_not_exist_and_servers_that_do_not_answer_are_errors_within_a_bounded_time() {
    let server = Server::start(&[]).await;
    let error = server.names().resolve("missing.test").await.unwrap_err().to_string();
    assert!(error.contains("missing.test"), "{error}");
    let began = Instant::now();
    server.names().resolve("silent.test").await.unwrap_err();
    // Nobody listens there, and nobody answers here.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    Names::new(&[closed]).unwrap().resolve("one.test").await.unwrap_err();
    assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
    server.no_datagram_came();
}

#[tokio::test]
async fn a_second_server_is_asked_where_the_first_is_gone() {
    let server = Server::start(&[("one.test", &["192.0.2.1"])]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let names = Names::new(&[closed, server.at, server.at]).unwrap();
    assert_eq!(names.servers.len(), 2);
    assert_eq!(names.resolve("one.test").await.unwrap().len(), 1);
}

#[tokio::test]
async fn addresses_are_bounded_and_those_of_no_one_host_are_left_out() {
    let many: Vec<String> = (1..=40).map(|last| format!("192.0.2.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let server = Server::start(&[
        ("many.test", &many),
        ("odd.test", &["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "192.0.2.1"]),
        ("none.test", &["0.0.0.0"]),
    ])
    .await;
    let names = server.names();
    assert_eq!(names.resolve("many.test").await.unwrap().len(), ADDRESSES);
    assert_eq!(names.resolve("odd.test").await.unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert!(names.resolve("none.test").await.is_err());
}

#[tokio::test]
async fn a_place_that_is_a_name_has_the_addresses_of_its_family() {
    let server = Server::start(&[("both.test", &["192.0.2.1", "2001:db8::1"]), ("four.test", &["192.0.2.1"])]).await;
    let names = server.names();
    for (place, expected) in [
        ("/dns/both.test/tcp/7", &["192.0.2.1:7", "[2001:db8::1]:7"][..]),
        ("/dns4/both.test/tcp/7", &["192.0.2.1:7"]),
        ("/dns6/both.test/tcp/7", &["[2001:db8::1]:7"]),
        ("/dns6/four.test/tcp/7", &[]),
        ("/ip4/192.0.2.5/tcp/7", &["192.0.2.5:7"]),
    ] {
        let found = Place::parse(place).unwrap().resolve(&names).await.unwrap_or_default();
        let expected: Vec<SocketAddr> = expected.iter().map(|at| at.parse().unwrap()).collect();
        assert_eq!(found, expected, "{place}");
    }
}
