//! One request and its answer, or the fault that was ordered instead.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::record::{Received, Traffic, one_line};
use super::service::{Outcome, Service};
use super::state::Shared;
use super::wire::{Ending, Wire};
use crate::http::{Answer, Request, header, header_line};

/// Headers sent by a header flood.
const FLOOD: usize = 100_000;
/// The length of a body that is dripped.
const DRIP: usize = 48 * 1024;

/// What comes after an exchange.
pub(super) enum Next {
    /// Another request on the same connection.
    Request,
    /// The end of the connection.
    End(Ending),
}

pub(super) struct Exchange<'a, S: Service> {
    shared: &'a Shared<S>,
    wire: &'a mut Wire,
    request: &'a Request,
    connection: usize,
    /// Its place among the requests received.
    place: usize,
    began: Instant,
    fault: Fault<S::Quirk>,
    /// Headers of its answer, whatever that is.
    headers: Vec<(String, String)>,
    /// Its outcome, once it has been served.
    outcome: Option<Outcome<S::Change>>,
    reported: bool,
}

impl<'a, S: Service> Exchange<'a, S> {
    /// Records the request, checks login and limit, and selects the fault.
    pub(super) fn new(
        shared: &'a Shared<S>,
        wire: &'a mut Wire,
        request: &'a Request,
        connection: usize,
        peer: IpAddr,
    ) -> Exchange<'a, S> {
        let began = Instant::now();
        shared.change(|state| {
            state.requests.push(Received {
                connection,
                method: request.method.clone(),
                path: request.path.clone(),
                headers: request.headers.clone(),
                body: request.body.clone(),
                at: began,
                status: None,
            });
            let refusal = state.service.admit(peer, request, began).err();
            let headers = state.service.headers(request, began);
            let fault = state.orders.strike_request(&request.method, &request.path);
            let fault = fault.unwrap_or(Fault::Nothing);
            // In one step with the record, so that a test that waited for a POST finds its change
            // running.
            let outcome = match refusal {
                Some(refusal) => Some(Outcome::Answer(refusal)),
                None => fault.serves_at_once().then(|| state.serve(request, &fault)),
            };
            Exchange {
                shared,
                wire,
                request,
                connection,
                place: state.requests.len() - 1,
                began,
                fault,
                headers,
                outcome,
                reported: false,
            }
        })
    }

    /// Answers the request, or performs the fault.
    pub(super) fn run(mut self) -> Next {
        let fault = self.fault.clone();
        match self.perform(fault) {
            Ok(next) => next,
            Err(_) => Next::End(Ending::Drop),
        }
    }

    fn perform(&mut self, fault: Fault<S::Quirk>) -> io::Result<Next> {
        match fault {
            Fault::Nothing | Fault::Quirk(_) => {
                let answer = self.proper()?;
                self.answer(&answer)
            }
            Fault::Hang | Fault::HangHandshake => {
                self.report(None);
                self.hang()
            }
            Fault::Reset => {
                self.report(None);
                Ok(Next::End(Ending::Reset))
            }
            Fault::Close | Fault::CutHandshake => {
                self.report(None);
                Ok(Next::End(Ending::Close))
            }
            Fault::Truncate => {
                let answer = self.proper()?;
                self.send_head(&answer)?;
                self.wire.send(&answer.body[..answer.body.len() / 2])?;
                Ok(Next::End(Ending::Close))
            }
            Fault::Garbage => self.raw(b"\x00\x15\xff\xfe This is not HTTP \x1b[31m\r\n\r\n"),
            Fault::Raw(bytes) => self.raw(&bytes),
            Fault::Flood { first, again } => {
                self.report(None);
                self.wire.send(&first)?;
                let again = again.repeat(4096_usize.div_ceil(again.len().max(1)));
                loop {
                    self.wire.send(&again)?;
                }
            }
            Fault::Drip { every } => {
                let mut answer = self.proper()?;
                let blanks = DRIP.saturating_sub(answer.body.len());
                answer.body.splice(..0, std::iter::repeat_n(b' ', blanks));
                self.send_head(&answer)?;
                self.drip(every, answer.body.iter().copied())?;
                Ok(self.after_answer())
            }
            Fault::DripHeaders { every } => {
                self.report(None);
                self.wire.send(b"HTTP/1.1 200 OK\r\n")?;
                self.drip(every, b"X-Drip: drop\r\n".iter().copied().cycle())?;
                Ok(Next::End(Ending::Close))
            }
            Fault::Oversize { bytes } => self.oversize(bytes),
            Fault::OversizeAnnounced { bytes } => {
                self.send_head(&json_of(header_line("Content-Length", &bytes.to_string())))?;
                self.wire.send(S::OBJECT.as_bytes())?;
                self.hang()
            }
            Fault::Endless => {
                self.send_head(&json_of(header_line("Transfer-Encoding", "chunked")))?;
                let mut chunk = b"1000\r\n".to_vec();
                chunk.resize(chunk.len() + 0x1000, b' ');
                chunk.extend_from_slice(b"\r\n");
                loop {
                    self.wire.send(&chunk)?;
                }
            }
            Fault::HeaderFlood => {
                let mut answer = self.proper()?;
                let flood = (0..FLOOD).map(|n| header_line(&format!("X-Flood-{n}"), "flood"));
                answer.headers.splice(..0, flood);
                self.answer(&answer)
            }
            Fault::Compressed => {
                let mut answer = self.proper()?.with_header("Content-Encoding", "gzip");
                answer.body = gzip_stored(&answer.body);
                self.answer(&answer)
            }
            Fault::Redirect { status, location } => self.answer(&Answer {
                status,
                headers: vec![header_line("Location", &location)],
                body: Vec::new(),
            }),
            Fault::Answer {
                status,
                headers,
                body,
            } => self.answer(&Answer {
                status,
                headers,
                body,
            }),
            Fault::ApplyThen(then) => {
                self.finish()?;
                self.perform(*then)
            }
            Fault::StartThen(then) => {
                self.start();
                self.perform(*then)
            }
            Fault::WhileSwitching(then) => {
                self.start();
                match self.outcome {
                    Some(Outcome::Began(_)) => self.perform(*then),
                    _ => {
                        self.fault = Fault::Nothing;
                        self.perform(Fault::Nothing)
                    }
                }
            }
            Fault::Snapshot => {
                let answer = self.snapshot()?;
                self.answer(&answer)
            }
            Fault::Delay(time, then) => {
                if !self.shared.pause(time) {
                    return Err(stopping());
                }
                self.perform(*then)
            }
        }
    }

    /// Serves the request, unless it has been served or refused already.
    fn start(&mut self) {
        if self.outcome.is_none() {
            let (request, fault) = (self.request, &self.fault);
            self.outcome = Some(self.shared.change(|state| state.serve(request, fault)));
        }
    }

    /// The correct answer, when the service gives it.
    fn proper(&mut self) -> io::Result<Answer> {
        match S::ANSWERS_WHEN_DONE {
            true => self.finish(),
            false => self.snapshot(),
        }
    }

    /// The correct answer, once the change is done. An error if the service stops before that.
    fn finish(&mut self) -> io::Result<Answer> {
        self.start();
        if let Some(Outcome::Began(change)) = &self.outcome {
            self.shared.wait(None, |state| {
                state.stopping || !state.service.is_running(change)
            });
        }
        self.snapshot()
    }

    /// The answer as it is now, even if the change is still running.
    fn snapshot(&mut self) -> io::Result<Answer> {
        self.start();
        let answer = match &self.outcome {
            None => return Err(stopping()), // Not after start().
            Some(Outcome::Answer(answer)) => return Ok(answer.clone()),
            Some(Outcome::Began(change)) => {
                let state = self.shared.look();
                if state.stopping {
                    return Err(stopping());
                }
                state.service.answer(change, Instant::now())
            }
        };
        // Kept for a fault within a fault, which has to find the same answer.
        self.outcome = Some(Outcome::Answer(answer.clone()));
        Ok(answer)
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<Next> {
        self.send_head(answer)?;
        if self.request.method != "HEAD" {
            self.wire.send(&answer.body)?;
        }
        Ok(self.after_answer())
    }

    fn send_head(&mut self, answer: &Answer) -> io::Result<()> {
        self.report(Some(answer.status));
        let missing = |(name, _): &&(String, String)| header(&answer.headers, name).is_none();
        let extra = self.headers.iter().filter(missing);
        self.wire.send(&answer.head_with(extra))
    }

    fn after_answer(&self) -> Next {
        match self.request.keep_alive {
            true => Next::Request,
            false => Next::End(Ending::Close),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<Next> {
        self.report(None);
        self.wire.send(bytes)?;
        Ok(Next::End(Ending::Close))
    }

    fn hang(&mut self) -> io::Result<Next> {
        self.wire.await_peer_leaving();
        Ok(Next::End(Ending::Drop))
    }

    fn drip(&mut self, every: Duration, bytes: impl Iterator<Item = u8>) -> io::Result<()> {
        for byte in bytes {
            if !self.shared.pause(every) {
                return Err(stopping());
            }
            self.wire.send(&[byte])?;
        }
        Ok(())
    }

    fn oversize(&mut self, bytes: u64) -> io::Result<Next> {
        self.send_head(&json_of(header_line("Content-Length", &bytes.to_string())))?;
        let mut chunk = format!("{}\"ip\":\"", S::OBJECT).into_bytes();
        chunk.resize(16 * 1024, b'4');
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            self.wire.write_all(&chunk[..now])?;
            left -= now as u64;
            chunk.fill(b'4');
        }
        self.wire.flush()?;
        Ok(self.after_answer())
    }

    /// Records the status and sends the event, once.
    fn report(&mut self, status: Option<u16>) {
        if self.reported {
            return;
        }
        self.reported = true;
        let fault = match self.fault {
            Fault::Nothing => None,
            ref fault => Some(fault.name()),
        };
        self.shared.change(|state| {
            state.requests[self.place].status = status;
            state.tell(Traffic::Request {
                connection: self.connection,
                text: one_line(self.request),
                status,
                fault,
                took: self.began.elapsed(),
            });
        });
    }
}

fn stopping() -> io::Error {
    io::Error::other("the service stops")
}

fn json_of(framing: (String, String)) -> Answer {
    Answer {
        status: 200,
        headers: vec![header_line("Content-Type", "application/json"), framing],
        body: Vec::new(),
    }
}

/// The bytes as a gzip file of one stored block (RFC 1952, RFC 1951 section 3.2.4), cut to the size
/// of one; no answer here is that long.
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let bytes = &bytes[..usize::from(length)];
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&u32::from(length).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc32_has_its_known_check_value() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
