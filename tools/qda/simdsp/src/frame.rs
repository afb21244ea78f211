// SPDX-License-Identifier: GPL-2.0

//! GLINK frames: encoding and decoding, no I/O.
//!
//! A frame is an 8-byte header `le16 command, le16 param1, le32 param2`, then what the command
//! adds, then padding to 8 bytes (Linux: `drivers/rpmsg/qcom_glink_native.c`, `struct glink_msg`).
//! Channel ids are those of the sender.

use thiserror::Error;

const VERSION: u16 = 0;
const VERSION_ACK: u16 = 1;
const OPEN: u16 = 2;
const CLOSE: u16 = 3;
const OPEN_ACK: u16 = 4;
const INTENT: u16 = 5;
const RX_DONE: u16 = 6;
const RX_INTENT_REQ: u16 = 7;
const RX_INTENT_REQ_ACK: u16 = 8;
const TX_DATA: u16 = 9;
const CLOSE_ACK: u16 = 11;
const TX_DATA_CONT: u16 = 12;
const READ_NOTIF: u16 = 13;
const RX_DONE_W_REUSE: u16 = 14;
const SIGNALS: u16 = 15;

/// Header size in bytes.
pub const HEADER: usize = 8;
/// Header size in bytes of the frames that carry data: 8 more for chunk size and bytes left.
pub const DATA_HEADER: usize = 16;
/// Longest channel name, with its NUL, that Linux takes.
pub const NAME_SIZE: usize = 32;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The sender speaks `version` and can do `features`.
    Version { version: u16, features: u32 },
    /// Agreement to a version.
    VersionAck { version: u16, features: u32 },
    /// The sender opens its end of channel `name` as `cid`.
    Open { cid: u16, name: String },
    /// The receiver's `cid` is open at the other end, too.
    OpenAck { cid: u16 },
    /// The sender closes its end.
    Close { cid: u16 },
    /// The receiver's `cid` is closed at the other end, too.
    CloseAck { cid: u16 },
    /// Buffers (size in bytes, id) that the sender has for data on `cid`.
    Intent { cid: u16, intents: Vec<(u32, u32)> },
    /// The sender is done with an intent of the receiver; `reuse` gives it back.
    RxDone { cid: u16, iid: u32, reuse: bool },
    /// The sender wants an intent of `size` bytes.
    IntentRequest { cid: u16, size: u32 },
    /// Whether the intent was granted.
    IntentRequestAck { cid: u16, granted: bool },
    /// A chunk of a message, with `left` bytes in later ones; `more` when it continues one.
    Data {
        cid: u16,
        iid: u32,
        left: u32,
        payload: Vec<u8>,
        more: bool,
    },
    /// The sender's FIFO is full: the receiver shall interrupt when it has read.
    ReadNotif,
    /// Modem-style control signals.
    Signals { cid: u16, signals: u32 },
}

/// Bytes that are no frame; the byte stream has lost its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// No such command.
    #[error("unknown GLINK command {0}")]
    Command(u16),
    /// A channel name that is empty, longer than [`NAME_SIZE`], not terminated or not UTF-8.
    #[error("bad channel name in GLINK OPEN")]
    Name,
    /// A frame longer than the FIFO that it came through.
    #[error("GLINK frame of {0} bytes is longer than its FIFO")]
    TooLong(usize),
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

impl Frame {
    /// Appends the frame, padded to 8 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut header = |command: u16, p1: u16, p2: u32| {
            out.extend_from_slice(&command.to_le_bytes());
            out.extend_from_slice(&p1.to_le_bytes());
            out.extend_from_slice(&p2.to_le_bytes());
        };
        match self {
            Self::Version { version, features } => header(VERSION, *version, *features),
            Self::VersionAck { version, features } => header(VERSION_ACK, *version, *features),
            Self::Open { cid, name } => {
                header(OPEN, *cid, name.len() as u32 + 1);
                out.extend_from_slice(name.as_bytes());
                out.push(0);
            }
            Self::OpenAck { cid } => header(OPEN_ACK, *cid, 0),
            Self::Close { cid } => header(CLOSE, *cid, 0),
            Self::CloseAck { cid } => header(CLOSE_ACK, *cid, 0),
            Self::Intent { cid, intents } => {
                header(INTENT, *cid, intents.len() as u32);
                for (size, iid) in intents {
                    out.extend_from_slice(&size.to_le_bytes());
                    out.extend_from_slice(&iid.to_le_bytes());
                }
            }
            Self::RxDone { cid, iid, reuse } => {
                let command = if *reuse { RX_DONE_W_REUSE } else { RX_DONE };
                header(command, *cid, *iid);
            }
            Self::IntentRequest { cid, size } => header(RX_INTENT_REQ, *cid, *size),
            Self::IntentRequestAck { cid, granted } => {
                header(RX_INTENT_REQ_ACK, *cid, u32::from(*granted));
            }
            Self::Data {
                cid,
                iid,
                left,
                payload,
                more,
            } => {
                header(if *more { TX_DATA_CONT } else { TX_DATA }, *cid, *iid);
                out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                out.extend_from_slice(&left.to_le_bytes());
                out.extend_from_slice(payload);
            }
            Self::ReadNotif => header(READ_NOTIF, 0, 0),
            Self::Signals { cid, signals } => header(SIGNALS, *cid, *signals),
        }
        let len = out.len() - start;
        out.resize(start + padded(len), 0);
    }

    /// Decodes the first frame of `bytes`: the frame and its length with padding.
    ///
    /// `None` when more bytes are needed. `limit` is the size of the FIFO in bytes, which no frame
    /// can exceed.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] when no later bytes could make it a frame.
    pub fn decode(bytes: &[u8], limit: usize) -> Result<Option<(Self, usize)>, BadFrame> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let command = u16::from_le_bytes([header[0], header[1]]);
        let p1 = u16::from_le_bytes([header[2], header[3]]);
        let p2 = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let word = |at: usize| {
            let b = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(b.try_into().ok()?))
        };

        let len = match command {
            // The upper half of param2 is a priority.
            OPEN => HEADER + (p2 & 0xffff) as usize,
            INTENT => HEADER + (p2 as usize).saturating_mul(8),
            TX_DATA | TX_DATA_CONT => match word(HEADER) {
                Some(chunk) => DATA_HEADER + chunk as usize,
                None => return Ok(None),
            },
            _ => HEADER,
        };
        if len > limit {
            return Err(BadFrame::TooLong(len));
        }
        let Some(body) = bytes.get(HEADER..len) else {
            return Ok(None);
        };
        // The padding is part of the same write as the frame.
        if bytes.len() < padded(len) {
            return Ok(None);
        }

        let cid = p1;
        let frame = match command {
            VERSION => Self::Version {
                version: p1,
                features: p2,
            },
            VERSION_ACK => Self::VersionAck {
                version: p1,
                features: p2,
            },
            OPEN => Self::Open {
                cid,
                name: channel_name(body)?,
            },
            OPEN_ACK => Self::OpenAck { cid },
            CLOSE => Self::Close { cid },
            CLOSE_ACK => Self::CloseAck { cid },
            INTENT => Self::Intent {
                cid,
                intents: (0..p2 as usize)
                    .filter_map(|i| Some((word(HEADER + 8 * i)?, word(HEADER + 8 * i + 4)?)))
                    .collect(),
            },
            RX_DONE | RX_DONE_W_REUSE => Self::RxDone {
                cid,
                iid: p2,
                reuse: command == RX_DONE_W_REUSE,
            },
            RX_INTENT_REQ => Self::IntentRequest { cid, size: p2 },
            RX_INTENT_REQ_ACK => Self::IntentRequestAck {
                cid,
                granted: p2 != 0,
            },
            TX_DATA | TX_DATA_CONT => Self::Data {
                cid,
                iid: p2,
                left: word(HEADER + 4).unwrap_or(0),
                payload: body[DATA_HEADER - HEADER..].to_vec(),
                more: command == TX_DATA_CONT,
            },
            READ_NOTIF => Self::ReadNotif,
            SIGNALS => Self::Signals { cid, signals: p2 },
            other => return Err(BadFrame::Command(other)),
        };
        Ok(Some((frame, padded(len))))
    }
}

/// The name in an OPEN frame, up to its NUL.
fn channel_name(body: &[u8]) -> Result<String, BadFrame> {
    let end = body.iter().position(|b| *b == 0).ok_or(BadFrame::Name)?;
    if end == 0 || end >= NAME_SIZE {
        return Err(BadFrame::Name);
    }
    String::from_utf8(body[..end].to_vec()).map_err(|_| BadFrame::Name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LIMIT: usize = 0x7000;

    fn frame() -> impl Strategy<Value = Frame> {
        let id = any::<u16>;
        prop_oneof![
            (id(), any::<u32>())
                .prop_map(|(version, features)| Frame::Version { version, features }),
            (id(), any::<u32>())
                .prop_map(|(version, features)| Frame::VersionAck { version, features }),
            (id(), "[a-z-]{1,31}").prop_map(|(cid, name)| Frame::Open { cid, name }),
            id().prop_map(|cid| Frame::OpenAck { cid }),
            id().prop_map(|cid| Frame::Close { cid }),
            id().prop_map(|cid| Frame::CloseAck { cid }),
            (id(), vec(any::<(u32, u32)>(), 0..9))
                .prop_map(|(cid, intents)| Frame::Intent { cid, intents }),
            (id(), any::<u32>(), any::<bool>()).prop_map(|(cid, iid, reuse)| Frame::RxDone {
                cid,
                iid,
                reuse
            }),
            (id(), any::<u32>()).prop_map(|(cid, size)| Frame::IntentRequest { cid, size }),
            (id(), any::<bool>())
                .prop_map(|(cid, granted)| Frame::IntentRequestAck { cid, granted }),
            (
                id(),
                any::<u32>(),
                any::<u32>(),
                vec(any::<u8>(), 0..100),
                any::<bool>()
            )
                .prop_map(|(cid, iid, left, payload, more)| Frame::Data {
                    cid,
                    iid,
                    left,
                    payload,
                    more
                }),
            Just(Frame::ReadNotif),
            (id(), any::<u32>()).prop_map(|(cid, signals)| Frame::Signals { cid, signals }),
        ]
    }

    /// What Linux 7.3.4 writes for these, byte by byte.
    #[test]
    fn bytes_of_the_kernel() {
        let cases: [(&[u8], Frame); 4] = [
            (
                b"\x00\x00\x01\x00\x00\x00\x00\x00",
                Frame::Version {
                    version: 1,
                    features: 0,
                },
            ),
            (
                b"\x02\x00\x03\x00\x05\x00\x07\x00name\x00\x00\x00\x00",
                Frame::Open {
                    cid: 3,
                    name: "name".into(),
                },
            ),
            (
                b"\x0b\x00\x02\x00\x00\x00\x00\x00",
                Frame::CloseAck { cid: 2 },
            ),
            (
                b"\x09\x00\x04\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00abc\x00\x00\x00\x00\x00",
                Frame::Data {
                    cid: 4,
                    iid: 0,
                    left: 0,
                    payload: b"abc".to_vec(),
                    more: false,
                },
            ),
        ];
        for (bytes, frame) in cases {
            assert_eq!(Frame::decode(bytes, LIMIT), Ok(Some((frame, bytes.len()))));
        }
    }

    #[test]
    fn refusals() {
        let unknown = [10, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Frame::decode(&unknown, LIMIT), Err(BadFrame::Command(10)));
        let huge = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(matches!(
            Frame::decode(&huge, LIMIT),
            Err(BadFrame::TooLong(_))
        ));
        let unterminated = b"\x02\x00\x01\x00\x08\x00\x00\x00eightbyt";
        assert_eq!(Frame::decode(unterminated, LIMIT), Err(BadFrame::Name));
    }

    proptest! {
        #[test]
        fn round_trip(frames in vec(frame(), 1..8)) {
            let mut bytes = Vec::new();
            for f in &frames {
                f.encode(&mut bytes);
                prop_assert_eq!(bytes.len() % 8, 0);
            }
            let mut at = 0;
            for f in &frames {
                let (back, len) = Frame::decode(&bytes[at..], LIMIT).unwrap().unwrap();
                prop_assert_eq!(&back, f);
                at += len;
            }
            prop_assert_eq!(at, bytes.len());
        }

        #[test]
        fn a_prefix_is_incomplete(f in frame(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            f.encode(&mut bytes);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert_eq!(Frame::decode(&bytes, LIMIT), Ok(None));
        }

        #[test]
        fn any_bytes_decode_within_bounds(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(Some((_, len))) = Frame::decode(&bytes, LIMIT) {
                prop_assert!(len >= HEADER && len <= bytes.len());
            }
        }
    }
}
