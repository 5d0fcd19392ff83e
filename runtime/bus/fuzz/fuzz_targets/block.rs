//! Any bytes as a block: refused, or a block that is written as it was read. The checksums are put right first,
//! so that what they cover is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bus::block::{Block, BlockHeader, HEADER_BYTES, body_slices, pack};
use tidemill_bus::transaction::NewBlock;

fuzz_target!(|bytes: &[u8]| {
    let _ = Block::decode(bytes);
    let mut bytes = bytes.to_vec();
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let body_crc = crc32c(&bytes[HEADER_BYTES..]);
    bytes[28..32].copy_from_slice(&body_crc.to_le_bytes());
    bytes[..4].copy_from_slice(b"TMBK");
    let crc = crc32c(&bytes[8..HEADER_BYTES]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let Ok(header) = BlockHeader::decode(&bytes) else { return };
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    assert_eq!(BlockHeader::decode(&encoded), Ok(header));
    let Ok(block) = Block::decode(&bytes) else { return };
    if header.is_compressed {
        // The same body may be compressed in more than one way.
        assert!(block.columns.iter().count() <= header.count as usize);
        let (packed, body) = pack(&block, |_| true);
        assert!(packed.is_packed && packed.byte_len() == (HEADER_BYTES + body.len()) as u64);
        return;
    }
    if header.is_packed {
        assert!(block.columns.iter().count() <= header.count as usize);
        let (packed, body) = pack(&block, |_| true);
        assert_eq!((packed, &body[..]), (header, &bytes[HEADER_BYTES..HEADER_BYTES + body.len()]));
        return;
    }
    assert_eq!(block.columns.iter().count(), header.count as usize);
    let written = NewBlock {
        target: header.target,
        columns: block.columns,
        cause: block.cause,
        body_crc: header.body_crc,
    };
    let body: Vec<u8> = body_slices(&written).iter().flat_map(|part| part.iter().copied()).collect();
    assert_eq!(body, bytes[HEADER_BYTES..HEADER_BYTES + body.len()]);
});

/// CRC32C, bit by bit: the fuzzer's own, so that it depends on nothing of what it tests.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}
