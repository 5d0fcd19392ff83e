//! Any bytes as each of the journal's structures: refused, or read and written as the same bytes. The checksum is
//! put right first, so that what it covers is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bus::journal::format::{Entry, FrameHeader, Row, SegmentHeader, StoreFile, Trailer};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    match kind % 5 {
        0 => {
            let _ = FrameHeader::decode(&sealed(b"TMFRAME\0", &mut bytes));
            if let Ok((header, _)) = FrameHeader::decode(&bytes) {
                let mut encoded = Vec::new();
                header.encode(&mut encoded);
                assert_eq!(FrameHeader::decode(&encoded).map(|(header, _)| header), Ok(header));
            }
        }
        1 => {
            let mut bytes = sealed(b"TMSEGMT\0", &mut bytes);
            if let Ok(header) = SegmentHeader::decode(&bytes) {
                bytes.clear();
                header.encode(&mut bytes);
                assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
            }
        }
        2 => {
            let bytes = sealed(b"TMSTORE\0", &mut bytes);
            if let Ok(file) = StoreFile::decode(&bytes) {
                assert_eq!(StoreFile::decode(&file.encode()), Ok(file));
            }
        }
        3 => {
            let mut bytes = sealed(b"TMINDEX\0", &mut bytes);
            if let Some(trailer) = Trailer::decode(&bytes) {
                bytes.clear();
                trailer.encode(&mut bytes);
                assert_eq!(Trailer::decode(&bytes), Some(trailer));
            }
        }
        _ => {
            let _ = Row::decode(&bytes);
            if let Some(entry) = Entry::decode(&bytes) {
                assert!(entry.end() >= entry.first);
            }
        }
    }
});

/// The bytes with this magic number and the checksum that belongs to the rest.
fn sealed(magic: &[u8; 8], bytes: &mut Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().max(16), 0);
    bytes[..8].copy_from_slice(magic);
    let crc = crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes.clone()
}

/// CRC32C, bit by bit: the fuzzer's own, so that it depends on nothing of what it tests.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}
