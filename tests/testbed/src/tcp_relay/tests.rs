//! What passes, and what does not, between a client and a server of the test.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};

use socket2::SockRef;

use super::*;

const LONG: Duration = Duration::from_secs(20);

struct Scene {
    server: TcpListener,
    relay: TcpRelay,
}

impl Scene {
    fn new() -> Scene {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = TcpRelay::to(server.local_addr().unwrap().port()).unwrap();
        Scene { server, relay }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.relay.port()))?;
        stream.set_read_timeout(Some(LONG))?;
        Ok(stream)
    }

    /// Both ends of a new connection.
    fn connected(&self) -> (TcpStream, TcpStream) {
        let client = self.connect().unwrap();
        let (server, _) = self.server.accept().unwrap();
        server.set_read_timeout(Some(LONG)).unwrap();
        (client, server)
    }
}

#[track_caller]
fn arrives(bytes: &[u8], mut from: &TcpStream, mut at: &TcpStream) {
    from.write_all(bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    at.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
}

#[track_caller]
fn was_reset(mut stream: &TcpStream) {
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_and_their_end_pass_in_both_directions() {
    let scene = Scene::new();
    let (mut client, mut server) = scene.connected();
    arrives(b"question", &client, &server);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    // More than fits into all buffers, so that the relay has to wait for the reader.
    let answer = vec![7; 16 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            server.write_all(&answer).unwrap();
            server.shutdown(Shutdown::Both).unwrap();
        });
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert!(read == answer);
    });
    assert_eq!(scene.relay.connections(), 1);
}

#[test]
fn refused_connections_come_back_on_the_same_port_and_old_ones_live_on() {
    let scene = Scene::new();
    let (client, server) = scene.connected();
    scene.relay.set(State::Refuse);
    let error = scene.connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    arrives(b"still", &client, &server);
    scene.relay.set(State::Open);
    let (client, server) = scene.connected();
    arrives(b"again", &client, &server);
}

#[test]
fn nothing_passes_while_it_stalls_and_everything_afterwards() {
    let scene = Scene::new();
    let (client, mut server) = scene.connected();
    scene.relay.set(State::Stall);
    (&client).write_all(b"late").unwrap();
    let mut second = scene.connect().unwrap();
    second.write_all(b"too").unwrap();
    // When a connection that was made later is seen, those bytes could have passed.
    assert!(scene.relay.wait_for_connections(2, LONG));
    let third = scene.connect().unwrap();
    assert!(scene.relay.wait_for_connections(3, LONG));
    server.set_nonblocking(true).unwrap();
    let error = server.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    scene.server.set_nonblocking(true).unwrap();
    let error = scene.server.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    scene.server.set_nonblocking(false).unwrap();
    server.set_nonblocking(false).unwrap();

    scene.relay.set(State::Open);
    let mut read = [0; 4];
    server.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"late");
    let (mut server, _) = scene.server.accept().unwrap();
    let mut read = [0; 3];
    server.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"too");
    drop(third);
}

#[test]
fn a_cut_resets_both_ends_in_every_state() {
    let scene = Scene::new();
    for state in [State::Open, State::Refuse, State::Stall] {
        scene.relay.set(State::Open);
        let (client, server) = scene.connected();
        scene.relay.set(state);
        scene.relay.cut();
        was_reset(&client);
        was_reset(&server);
    }
    scene.relay.set(State::Open);
    let (client, server) = scene.connected();
    arrives(b"new", &client, &server);
}

#[test]
fn an_end_that_leaves_takes_the_other_with_it() {
    let scene = Scene::new();
    let (client, server) = scene.connected();
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    was_reset(&server);
    // A server that is down cannot refuse any more, since the relay has accepted.
    let Scene { server, relay } = scene;
    drop(server);
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    assert!(!matches!(client.read(&mut [0]), Ok(1)));
}

#[test]
fn dropping_it_resets_connections_and_frees_the_port() {
    let scene = Scene::new();
    let (client, server) = scene.connected();
    scene.relay.set(State::Stall);
    let port = scene.relay.port();
    drop(scene.relay);
    was_reset(&client);
    was_reset(&server);
    let error = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
