//! Questions to name servers (RFC 1035): over UDP, and over TCP when an answer
//! did not fit. Every server is asked twice at most; what a domain's records
//! mean is decided elsewhere.
//!
//! The servers are to be recursive ones that are trusted: answers are not
//! checked against DNSSEC. Each question has a port and a number of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::io::{DnsError, DnsRecords, Lookup};

/// How long one server is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// Aliases that are followed.
const MAX_ALIASES: usize = 8;
/// For how many seconds it is remembered that there is nothing.
const NOTHING: u32 = 60;

/// The name servers.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    servers: Arc<[SocketAddr]>,
}

/// What one question came to.
enum Reply {
    Records(DnsRecords),
    /// It goes on under another name.
    Alias(String),
    NoSuchName,
}

impl Resolver {
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        Self {
            servers: servers.into(),
        }
    }

    /// Finds the records of a name.
    pub(super) async fn find(&self, name: &str, lookup: Lookup) -> Result<DnsRecords, DnsError> {
        match lookup {
            Lookup::Mx => self.follow(name, TYPE::MX).await,
            Lookup::Addresses => {
                let (old, new) =
                    tokio::join!(self.follow(name, TYPE::A), self.follow(name, TYPE::AAAA));
                match (old, new) {
                    (Ok(mut old), Ok(new)) => {
                        old.addresses.extend(new.addresses);
                        old.ttl = old.ttl.min(new.ttl);
                        Ok(old)
                    }
                    // Half of an answer is one if it says anything.
                    (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.addresses.is_empty() => {
                        Ok(some)
                    }
                    (Err(error @ DnsError::Temporary(_)), _)
                    | (_, Err(error @ DnsError::Temporary(_)))
                    | (Err(error), _)
                    | (_, Err(error)) => Err(error),
                }
            }
        }
    }

    /// Asks for records of one kind, through aliases.
    async fn follow(&self, name: &str, kind: TYPE) -> Result<DnsRecords, DnsError> {
        let mut name = name.trim_end_matches('.').to_owned();
        for _ in 0..=MAX_ALIASES {
            match self.ask(&name, kind).await? {
                Reply::Records(records) => return Ok(records),
                Reply::NoSuchName => return Err(DnsError::NoSuchName),
                Reply::Alias(other) => name = other,
            }
        }
        Err(DnsError::Temporary(format!("{name}: too many aliases")))
    }

    async fn ask(&self, name: &str, kind: TYPE) -> Result<Reply, DnsError> {
        let mut why = "no name server".to_owned();
        for _ in 0..ROUNDS {
            for server in self.servers.iter() {
                match timeout(PATIENCE, exchange(*server, name, kind)).await {
                    Ok(Ok(reply)) => return Ok(reply),
                    Ok(Err(error)) => why = format!("{server}: {error}"),
                    Err(_) => why = format!("{server}: no answer"),
                }
            }
        }
        Err(DnsError::Temporary(why))
    }
}

/// One question to one server.
async fn exchange(server: SocketAddr, name: &str, kind: TYPE) -> Result<Reply, String> {
    let mut id = [0; 2];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| "no randomness")?;
    let id = u16::from_be_bytes(id);
    let words = |error: std::io::Error| error.to_string();
    let question = question(id, name, kind)?;
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(words)?;
    socket.connect(server).await.map_err(words)?;
    socket.send(&question).await.map_err(words)?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await.map_err(words)?;
        // What is no answer to this question may be forged: the true one can
        // still come.
        let Some(packet) = answer_to(&buffer[..n], id, name, kind) else {
            continue;
        };
        if !packet.has_flags(PacketFlag::TRUNCATION) {
            return read(&packet, name, kind);
        }
        break;
    }
    let mut stream = TcpStream::connect(server).await.map_err(words)?;
    let length = u16::try_from(question.len()).map_err(|e| e.to_string())?;
    stream
        .write_all(&length.to_be_bytes())
        .await
        .map_err(words)?;
    stream.write_all(&question).await.map_err(words)?;
    let length = stream.read_u16().await.map_err(words)?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await.map_err(words)?;
    match answer_to(&buffer, id, name, kind) {
        Some(packet) => read(&packet, name, kind),
        None => Err("the answer is to another question".to_owned()),
    }
}

fn question(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, String> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).map_err(|error| format!("{name}: {error:?}"))?;
    packet.questions.push(Question::new(
        name,
        QTYPE::TYPE(kind),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet
        .build_bytes_vec()
        .map_err(|error| format!("{error:?}"))
}

/// The packet, if it answers this question.
fn answer_to<'a>(bytes: &'a [u8], id: u16, name: &str, kind: TYPE) -> Option<Packet<'a>> {
    let packet = Packet::parse(bytes).ok()?;
    let question = packet.questions.first()?;
    let same = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && question.qtype == QTYPE::TYPE(kind)
        && is(&question.qname, name);
    same.then_some(packet)
}

fn is(name: &Name<'_>, text: &str) -> bool {
    name.to_string()
        .trim_end_matches('.')
        .eq_ignore_ascii_case(text.trim_end_matches('.'))
}

fn read(packet: &Packet<'_>, name: &str, kind: TYPE) -> Result<Reply, String> {
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Reply::NoSuchName),
        other => return Err(format!("answered {other:?}")),
    }
    let mut records = DnsRecords {
        ttl: NOTHING,
        ..DnsRecords::default()
    };
    let mut owner = name.to_owned();
    let mut ttl = u32::MAX;
    for _ in 0..=MAX_ALIASES {
        let alias = packet
            .answers
            .iter()
            .find_map(|record| match &record.rdata {
                RData::CNAME(target) if is(&record.name, &owner) => {
                    Some((target.0.to_string(), record.ttl))
                }
                _ => None,
            });
        let Some((target, life)) = alias else { break };
        owner = target;
        ttl = ttl.min(life);
    }
    let mut found = false;
    for record in &packet.answers {
        if !is(&record.name, &owner) {
            continue;
        }
        match &record.rdata {
            RData::MX(mx) if kind == TYPE::MX => {
                records.mx.push((mx.preference, mx.exchange.to_string()));
            }
            RData::A(a) if kind == TYPE::A => {
                records
                    .addresses
                    .push(Ipv4Addr::from_bits(a.address).into());
            }
            RData::AAAA(aaaa) if kind == TYPE::AAAA => {
                records
                    .addresses
                    .push(Ipv6Addr::from_bits(aaaa.address).into());
            }
            _ => continue,
        }
        found = true;
        ttl = ttl.min(record.ttl);
    }
    if found {
        records.ttl = ttl;
    } else if owner != name {
        return Ok(Reply::Alias(owner));
    }
    Ok(Reply::Records(records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME, MX};
    use tokio::net::TcpListener;

    /// What a server of a test says to a question, over UDP or TCP.
    type Script = fn(&str, TYPE, bool) -> Said;

    enum Said {
        Code(RCODE),
        Truncated,
        /// A wrong number first, then the records.
        Forged(Vec<(&'static str, RData<'static>)>),
        Records(Vec<(&'static str, RData<'static>)>),
    }

    fn mx(preference: u16, host: &'static str) -> RData<'static> {
        RData::MX(MX {
            preference,
            exchange: Name::new_unchecked(host),
        })
    }

    fn a(address: [u8; 4]) -> RData<'static> {
        RData::A(A {
            address: Ipv4Addr::from(address).to_bits(),
        })
    }

    fn cname(host: &'static str) -> RData<'static> {
        RData::CNAME(CNAME(Name::new_unchecked(host)))
    }

    /// The answers, in order, to the bytes of a question.
    fn answers(script: Script, bytes: &[u8], tcp: bool) -> Vec<Vec<u8>> {
        let asked = Packet::parse(bytes).unwrap();
        let question = &asked.questions[0];
        let QTYPE::TYPE(kind) = question.qtype else {
            panic!("a question for one type")
        };
        let name = question.qname.to_string();
        let reply = |id: u16| {
            let mut packet = Packet::new_reply(id);
            packet.questions.push(question.clone());
            packet
        };
        let full = |id: u16, records: Vec<(&'static str, RData<'static>)>| {
            let mut packet = reply(id);
            for (name, data) in records {
                let record = ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 77, data);
                packet.answers.push(record);
            }
            packet.build_bytes_vec_compressed().unwrap()
        };
        let id = asked.id();
        match script(&name, kind, tcp) {
            Said::Code(code) => {
                let mut packet = reply(id);
                *packet.rcode_mut() = code;
                vec![packet.build_bytes_vec().unwrap()]
            }
            Said::Truncated => {
                let mut packet = reply(id);
                packet.set_flags(PacketFlag::TRUNCATION);
                vec![packet.build_bytes_vec().unwrap()]
            }
            Said::Forged(records) => vec![
                full(id.wrapping_add(1), vec![("d.test", mx(1, "evil.test"))]),
                b"rubbish".to_vec(),
                full(id, records),
            ],
            Said::Records(records) => vec![full(id, records)],
        }
    }

    /// A name server on loopback that follows a script.
    async fn server(script: Script) -> SocketAddr {
        // Both ports have to be free, so it may take several tries.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let at = udp.local_addr().unwrap();
            if let Ok(tcp) = TcpListener::bind(at).await {
                break (udp, tcp);
            }
        };
        let at = udp.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((n, from)) = udp.recv_from(&mut buffer).await {
                for answer in answers(script, &buffer[..n], false) {
                    let _ = udp.send_to(&answer, from).await;
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut buffer = vec![0; length.into()];
                stream.read_exact(&mut buffer).await.unwrap();
                for answer in answers(script, &buffer, true) {
                    stream.write_u16(answer.len() as u16).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        at
    }

    async fn find(scripts: &[Script], lookup: Lookup) -> Result<DnsRecords, DnsError> {
        let mut servers = Vec::new();
        for script in scripts {
            servers.push(server(*script).await);
        }
        Resolver::new(&servers).find("d.test", lookup).await
    }

    fn list(records: &DnsRecords) -> Vec<(u16, &str)> {
        records.mx.iter().map(|(p, h)| (*p, h.as_str())).collect()
    }

    const TWO: Script = |_, kind, _| match kind {
        TYPE::MX => Said::Records(vec![
            ("d.test", mx(10, "a.test")),
            ("D.TEST", mx(20, "b.test")),
            ("x.test", mx(1, "c.test")),
        ]),
        TYPE::A => Said::Records(vec![("d.test", a([127, 0, 0, 9]))]),
        _ => Said::Records(vec![]),
    };

    #[tokio::test]
    async fn records_of_the_name_that_was_asked_for() {
        let found = find(&[TWO], Lookup::Mx).await.unwrap();
        assert_eq!(list(&found), [(10, "a.test"), (20, "b.test")]);
        assert_eq!(found.ttl, 77);
        let found = find(&[TWO], Lookup::Addresses).await.unwrap();
        assert_eq!(found.addresses, [IpAddr::from([127, 0, 0, 9])]);
    }

    #[tokio::test]
    async fn no_name_no_records_and_a_null_mx_are_three_things() {
        let found = find(&[|_, _, _| Said::Code(RCODE::NameError)], Lookup::Mx).await;
        assert_eq!(found, Err(DnsError::NoSuchName));
        let found = find(&[|_, _, _| Said::Code(RCODE::NameError)], Lookup::Addresses).await;
        assert_eq!(found, Err(DnsError::NoSuchName));
        let found = find(&[|_, _, _| Said::Records(vec![])], Lookup::Mx)
            .await
            .unwrap();
        assert!(found.mx.is_empty());
        let null: Script = |_, _, _| Said::Records(vec![("d.test", mx(0, ""))]);
        let found = find(&[null], Lookup::Mx).await.unwrap();
        assert_eq!(list(&found), [(0, "")]);
    }

    #[tokio::test]
    async fn a_server_that_fails_is_followed_by_the_next() {
        let fails: Script = |_, _, _| Said::Code(RCODE::ServerFailure);
        let found = find(&[fails, TWO], Lookup::Mx).await.unwrap();
        assert_eq!(found.mx.len(), 2);
        let found = find(&[fails], Lookup::Mx).await;
        assert!(matches!(found, Err(DnsError::Temporary(why)) if why.contains("ServerFailure")));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_fit_is_fetched_over_tcp() {
        let script: Script = |_, _, tcp| {
            if tcp {
                Said::Records(vec![("d.test", mx(10, "a.test"))])
            } else {
                Said::Truncated
            }
        };
        let found = find(&[script], Lookup::Mx).await.unwrap();
        assert_eq!(list(&found), [(10, "a.test")]);
    }

    #[tokio::test]
    async fn aliases_are_followed_and_not_for_ever() {
        let inside: Script = |_, _, _| {
            Said::Records(vec![
                ("d.test", cname("e.test")),
                ("e.test", mx(5, "a.test")),
            ])
        };
        assert_eq!(
            list(&find(&[inside], Lookup::Mx).await.unwrap()),
            [(5, "a.test")]
        );
        let outside: Script = |name, _, _| match name {
            "d.test" => Said::Records(vec![("d.test", cname("e.test"))]),
            _ => Said::Records(vec![("e.test", mx(5, "a.test"))]),
        };
        assert_eq!(
            list(&find(&[outside], Lookup::Mx).await.unwrap()),
            [(5, "a.test")]
        );
        let circle: Script = |_, _, _| {
            Said::Records(vec![
                ("d.test", cname("e.test")),
                ("e.test", cname("d.test")),
            ])
        };
        let found = find(&[circle], Lookup::Mx).await;
        assert!(
            !matches!(found, Ok(ref records) if !records.mx.is_empty()),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn what_answers_another_question_is_not_taken() {
        let script: Script = |_, _, _| Said::Forged(vec![("d.test", mx(10, "a.test"))]);
        assert_eq!(
            list(&find(&[script], Lookup::Mx).await.unwrap()),
            [(10, "a.test")]
        );
    }
}
