//! The fate of packets between two sockets of the test.

use super::*;

const LONG: Duration = Duration::from_secs(20);

struct Scene {
    node: UdpSocket,
    peer: UdpSocket,
    relay: Relay,
    sent: u64,
}

impl Scene {
    fn with_seed(seed: u64) -> Scene {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (node, peer) = (bind(), bind());
        peer.set_read_timeout(Some(LONG)).unwrap();
        let relay = Relay::seeded(peer.local_addr().unwrap().port(), seed);
        node.connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        Scene {
            node,
            peer,
            relay,
            sent: 0,
        }
    }

    /// Sends these, and waits until the relay has had them all.
    fn send(&mut self, packets: impl IntoIterator<Item = u8>) {
        for packet in packets {
            self.node.send(&[packet]).unwrap();
            self.sent += 1;
            // One by one, so that none is lost for want of room.
            assert!(self.relay.wait_for_packets(self.sent, LONG));
        }
    }

    fn receive(&self) -> u8 {
        let mut packet = [0];
        assert_eq!(self.peer.recv(&mut packet).unwrap(), 1);
        packet[0]
    }

    /// Whatever has arrived by now.
    fn arrived(&self) -> Vec<u8> {
        self.peer.set_nonblocking(true).unwrap();
        let mut packets = Vec::new();
        let mut packet = [0];
        while self.peer.recv(&mut packet).is_ok() {
            packets.push(packet[0]);
        }
        self.peer.set_nonblocking(false).unwrap();
        packets
    }
}

#[test]
fn packets_pass_in_order_until_it_is_cut() {
    let mut scene = Scene::with_seed(0);
    scene.send(0..3);
    assert_eq!(scene.arrived(), [0, 1, 2]);
    scene.relay.set_open(false);
    scene.send(3..5);
    scene.relay.set_open(true);
    scene.send(5..6);
    assert_eq!(scene.arrived(), [5]);
}

#[test]
fn loss_and_duplication_follow_from_the_seed_and_the_number_of_the_packet() {
    let quality = Quality {
        loss: 0.3,
        duplication: 0.3,
        ..Quality::default()
    };
    let run = |seed, perfect: u8| {
        let mut scene = Scene::with_seed(seed);
        scene.send(0..perfect);
        scene.relay.set_quality(quality);
        scene.send(perfect..200);
        scene.arrived()
    };
    let once = run(7, 0);
    assert_eq!(once, run(7, 0));
    assert_ne!(once, run(8, 0));
    let copies = |packets: &[u8], wanted| {
        let count = |n| packets.iter().filter(|&&packet| packet == n).count();
        (0..200).filter(|&n| count(n) == wanted).count()
    };
    for wanted in 0..3 {
        assert!(copies(&once, wanted) > 20, "{wanted}: {once:?}");
    }
    let later: Vec<u8> = once.iter().copied().filter(|&n| n >= 50).collect();
    assert!(run(7, 50).ends_with(&later));
}

#[test]
fn delayed_packets_come_late_and_not_at_all_if_it_is_cut_meanwhile() {
    let mut scene = Scene::with_seed(0);
    let delay = Duration::from_millis(50);
    scene.relay.set_quality(Quality {
        delay,
        ..Quality::default()
    });
    let began = Instant::now();
    scene.send(0..2);
    assert_eq!([scene.receive(), scene.receive()], [0, 1]);
    assert!(began.elapsed() >= delay);
    let hour = Duration::from_secs(3600);
    scene.relay.set_quality(Quality {
        delay: hour,
        ..Quality::default()
    });
    scene.send(2..3);
    scene.relay.set_quality(Quality::default());
    scene.send(3..4);
    assert_eq!(scene.receive(), 3);
    // Dropping it does not wait for the other.
    let began = Instant::now();
    drop(scene);
    assert!(began.elapsed() < LONG);
}

#[test]
fn jitter_lets_packets_overtake_each_other() {
    let mut scene = Scene::with_seed(1);
    scene.relay.set_quality(Quality {
        jitter: Duration::from_millis(300),
        ..Quality::default()
    });
    scene.send(0..50);
    let mut packets: Vec<u8> = (0..50).map(|_| scene.receive()).collect();
    assert!(!packets.is_sorted(), "{packets:?}");
    packets.sort_unstable();
    assert!(packets.into_iter().eq(0..50));
}
