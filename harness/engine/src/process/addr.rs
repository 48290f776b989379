//! Addresses of a run: a /24 block of 127/8 of its own, so that runs at the
//! same time never meet.
//!
//! Every party has its own address, from which it is dialled and dials. A
//! link listens on a second address of its destination, on a port of its
//! source: `n1->n2` is at `127.x.y.(64+n2):(base+n1)`. Ports lie below the
//! kernel's ephemeral range and are the same all over the block.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use mailproof_model::party::{Link, Party};

use crate::topology::Addresses;

/// Most transport nodes that a block has room for.
pub const MAX_NODES: u16 = 50;
/// Most nodes with mailboxes that a block has room for.
pub const MAX_STORES: u16 = 10;

/// Ports of a block: one for nodes, one for each source of a link.
const PORTS: u16 = 64;
/// Where the ports of blocks may begin.
const FIRST_PORT: u16 = 10_240;
/// Where they end, below every usual ephemeral range.
const LAST_PORT: u16 = 32_000;
/// A link's listener is this far above its destination's own address.
const ALIAS: u8 = 64;
/// The address with which ports are tried.
const PROBE: u8 = 254;
/// How many blocks and port ranges are tried.
const TRIES: u32 = 64;

/// A block of addresses, this run's as long as the value lives.
#[derive(Debug)]
pub struct Block {
    net: [u8; 3],
    base: u16,
    /// The claim: an abstract socket name that the kernel gives to one
    /// process at a time and takes back when that process ends.
    _claim: UnixListener,
}

impl Block {
    /// Claims a block; which one is drawn from `run`, and drawn again while
    /// others have it.
    ///
    /// # Errors
    /// When no free block was found, with the last reason.
    pub fn claim(run: &str) -> io::Result<Self> {
        let mut last = io::Error::other("no block was tried");
        for attempt in 0..TRIES {
            match Self::try_claim(&draw(run, attempt)) {
                Ok(block) => return Ok(block),
                Err(error) => last = error,
            }
        }
        Err(io::Error::new(
            last.kind(),
            format!("no free block of loopback addresses after {TRIES} tries: {last}"),
        ))
    }

    fn try_claim(draw: &[u8; 32]) -> io::Result<Self> {
        // 127.0 is where everybody else is, 127.255 ends in a broadcast.
        let net = [127, 1 + draw[0] % 254, draw[1]];
        let room = u32::from(LAST_PORT - PORTS - FIRST_PORT);
        let offset = u32::from_le_bytes([draw[2], draw[3], draw[4], draw[5]]) % room;
        let base = FIRST_PORT + u16::try_from(offset).unwrap_or_default();
        let name = format!("mailproof-{}.{}.{}", net[0], net[1], net[2]);
        let claim = UnixListener::bind_addr(&UnixAddr::from_abstract_name(name)?)?;
        let block = Self {
            net,
            base,
            _claim: claim,
        };
        // A listener on 0.0.0.0 would be in the way of just one port.
        for port in base..base + PORTS {
            TcpListener::bind((block.ip(PROBE), port))?;
        }
        Ok(block)
    }

    fn ip(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(self.net[0], self.net[1], self.net[2], host).into()
    }

    /// The address that is the party's own: it listens there and dials from
    /// there.
    #[must_use]
    pub fn own(&self, party: Party) -> IpAddr {
        self.ip(host(party))
    }
}

impl Addresses for Block {
    fn listen(&self, party: Party) -> SocketAddr {
        SocketAddr::new(self.own(party), self.base)
    }

    fn link(&self, link: Link) -> SocketAddr {
        SocketAddr::new(
            self.ip(host(link.to) + ALIAS),
            self.base + u16::from(host(link.from)),
        )
    }

    fn network(&self) -> String {
        format!("{}.{}.{}.0/24", self.net[0], self.net[1], self.net[2])
    }
}

/// The last byte of a party's own address: 1 to 62. Numbers beyond
/// [`MAX_NODES`] and [`MAX_STORES`] have no address; worlds refuse them.
fn host(party: Party) -> u8 {
    let number = |n: u16, most: u16| u8::try_from(n.clamp(1, most)).unwrap_or(1);
    match party {
        Party::Client => 1,
        Party::Mailbox => 2,
        Party::Node(n) => 2 + number(n, MAX_NODES),
        Party::Store(n) => 52 + number(n, MAX_STORES),
    }
}

fn draw(run: &str, attempt: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run.as_bytes());
    hasher.update(&attempt.to_le_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_party_and_link_has_its_own_address() {
        let block = Block::claim("addresses").unwrap();
        let mut parties = vec![Party::Client, Party::Mailbox];
        parties.extend((1..=MAX_NODES).map(Party::Node));
        parties.extend((1..=MAX_STORES).map(Party::Store));
        let own: HashSet<_> = parties.iter().map(|p| block.own(*p)).collect();
        assert_eq!(own.len(), parties.len());
        let mut listeners: HashSet<_> = parties.iter().map(|p| block.listen(*p)).collect();
        for from in &parties {
            for to in &parties {
                assert!(
                    listeners.insert(block.link(Link::new(*from, *to))),
                    "{from}->{to}"
                );
            }
        }
        assert!(
            listeners
                .iter()
                .all(|a| a.port() < LAST_PORT && a.ip().is_loopback())
        );
    }

    #[test]
    fn runs_at_the_same_time_never_share_a_block() {
        // The same id on purpose: all draw the same blocks in the same order.
        let blocks: Vec<Block> = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Block::claim("the same").unwrap()))
                .collect();
            claims
                .into_iter()
                .map(|claim| claim.join().unwrap())
                .collect()
        });
        let networks: HashSet<_> = blocks.iter().map(Block::network).collect();
        assert_eq!(networks.len(), blocks.len());
    }

    #[test]
    fn a_block_given_back_can_be_claimed_again() {
        let run = "given back";
        let first = Block::claim(run).unwrap().network();
        assert_eq!(Block::claim(run).unwrap().network(), first);
    }

    #[test]
    fn a_port_that_somebody_holds_everywhere_is_avoided() {
        let run = "wildcard";
        let base = Block::claim(run).unwrap().base;
        let _taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, base + 5)).unwrap();
        assert_ne!(Block::claim(run).unwrap().base, base);
    }
}
