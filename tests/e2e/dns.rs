//! A name server for one test: answers by TCP what it is told to, and counts what comes by datagram.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

/// How long an answer may be kept, in seconds.
const TTL: u32 = 2;
/// The kinds of records that hold addresses.
const A: u16 = 1;
const AAAA: u16 = 28;
const NO_SUCH_NAME: u8 = 3;

/// A running server; it ends with the process.
pub(crate) struct Dns {
    zone: Arc<Mutex<Zone>>,
    datagrams: UdpSocket,
}

#[derive(Default)]
struct Zone {
    hosts: BTreeMap<String, IpAddr>,
    asked: BTreeMap<String, usize>,
}

impl Dns {
    pub(crate) fn start(port: u16) -> Self {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(at).expect("a port for the name server");
        let datagrams = UdpSocket::bind(at).expect("the same port for datagrams");
        datagrams.set_nonblocking(true).expect("a socket that does not wait");
        let zone = Arc::<Mutex<Zone>>::default();
        let shared = Arc::clone(&zone);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let zone = Arc::clone(&shared);
                std::thread::spawn(move || while answer(&stream, &zone).is_some() {});
            }
        });
        Self { zone, datagrams }
    }

    /// From now on these hosts are all that there are.
    pub(crate) fn set(&self, hosts: &[(&str, IpAddr)]) {
        self.zone.lock().unwrap().hosts = hosts.iter().map(|(name, ip)| ((*name).to_owned(), *ip)).collect();
    }

    /// How often a host was asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.zone.lock().unwrap().asked.get(name).copied().unwrap_or_default()
    }

    /// Whether anything came by datagram.
    pub(crate) fn datagram_came(&self) -> bool {
        self.datagrams.recv_from(&mut [0; 512]).is_ok()
    }
}

/// Answers one question; `None` if no more come.
fn answer(mut stream: &TcpStream, zone: &Mutex<Zone>) -> Option<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut asked = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut asked).ok()?;
    let answer = reply(&asked, zone)?;
    let length = u16::try_from(answer.len()).ok()?;
    stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).ok()
}

/// The answer to a message with one question: its own header and question again, and the address if there is one.
fn reply(asked: &[u8], zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*asked.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8(asked.get(at..at + length)?.to_ascii_lowercase()).ok()?);
        at += length;
    }
    let kind = u16::from_be_bytes(asked.get(at..at + 2)?.try_into().ok()?);
    let question = asked.get(12..at + 4)?;
    let name = labels.join(".");
    let mut zone = zone.lock().unwrap();
    *zone.asked.entry(name.clone()).or_default() += 1;
    let host = zone.hosts.get(&name);
    let address = host.filter(|host| kind == if host.is_ipv4() { A } else { AAAA });
    // A response with recursion wanted and available; the code; then how many questions and records there are.
    let code = 0x80 | if host.is_some() { 0 } else { NO_SUCH_NAME };
    let header = [asked.get(..2)?, &[0x81, code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]].concat();
    let mut reply = [&header, question].concat();
    if let Some(address) = address {
        // The name is the one at byte 12.
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        reply.extend([[0xc0, 12], kind.to_be_bytes(), [0, 1]].concat());
        reply.extend(TTL.to_be_bytes());
        reply.extend([0, bytes.len() as u8]);
        reply.extend(bytes);
    }
    Some(reply)
}
